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
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}") current=${COMP_WORDS[COMP_CWORD]} line directive=0
    # bash takes "a:b" and "--a=b" for several words: what it will replace is what comes after the last of these.
    if declare -F _get_comp_words_by_ref >/dev/null; then
        local cur cword
        local -a whole
        _get_comp_words_by_ref -n =: -c cur -w whole -i cword
        words=("${whole[@]:1:cword}") current=$cur
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :[0-9]*) directive=${line#:} ;;
        *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
    if [ "$directive" = 0 ]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
    fi
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$current"; fi
}
complete -F _PROGRAM_complete PROGRAM
"""


def run(call: Invocation) -> int:
    call.context.say(script(call, SCRIPT))
    return 0
