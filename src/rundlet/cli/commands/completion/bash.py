"""``rundlet completion bash``."""

from __future__ import annotations

from rundlet.cli.commands.completion import NO_DESCRIPTIONS, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Generate the autocompletion script for bash"
ARGS = (0, 0)
FLAGS = (NO_DESCRIPTIONS,)
SCRIPT = """\
# Completion for bash; load it with: source <(PROGRAM completion bash)
_PROGRAM_complete() {
    local rest=$COMP_LINE word gap line cut directive=0
    local -a words=()
    # bash takes "a:b" and "--a=b" for several words: what has no blank in between is one.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        gap=${rest%%[![:space:]]*}
        rest=${rest#"$gap"}
        if [ -z "$gap" ] && [ ${#words[@]} -gt 0 ]; then words[-1]+=$word; else words+=("$word"); fi
        rest=${rest#"$word"}
    done
    local current=${words[-1]} program=${BASH_ALIASES[${words[0]}]:-${words[0]}}
    # What bash replaces is what comes after the last of its word breaks.
    cut=${current%"${current##*[$COMP_WORDBREAKS]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :[0-9]*) directive=${line#:} ;;
        *) line=${line%%$'\\t'*} && COMPREPLY+=("${line#"$cut"}") ;;
        esac
    done < <("${program%% *}" __complete "${words[@]:1}" 2>/dev/null)
    if ((directive & 2)); then compopt -o nospace 2>/dev/null; fi
    if ! ((directive & 4)); then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${current#"$cut"}")
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _PROGRAM_complete PROGRAM
# alias docker=PROGRAM
for _PROGRAM_name in "${!BASH_ALIASES[@]}"; do
    if [ "${BASH_ALIASES[$_PROGRAM_name]}" = PROGRAM ]; then complete -F _PROGRAM_complete "$_PROGRAM_name"; fi
done
unset _PROGRAM_name
"""


def run(call: Invocation) -> int:
    call.context.say(script(call, SCRIPT))
    return 0
