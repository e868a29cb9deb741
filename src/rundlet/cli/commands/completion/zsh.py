"""``rundlet completion zsh``."""

from __future__ import annotations

from rundlet.cli.commands.completion import NO_DESCRIPTIONS, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Generate the autocompletion script for zsh"
ARGS = (0, 0)
FLAGS = (NO_DESCRIPTIONS,)
SCRIPT = """\
#compdef PROGRAM
# Completion for zsh; load it with: source <(PROGRAM completion zsh), or put it in a file _PROGRAM on $fpath.
_PROGRAM() {
    local -a found blank
    local line name directive=0
    while IFS= read -r line; do
        case $line in
        :[0-9]*) directive=${line#:} ;;
        *$'\\t'*) name=${line%%$'\\t'*}; found+=("${name//:/\\\\:}:${line#*$'\\t'}") ;;
        *) found+=("${line//:/\\\\:}") ;;
        esac
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( directive & 2 )) && blank=(-S '')
    (( ${#found} )) && _describe -V 'PROGRAM' found "${blank[@]}"
    (( directive & 4 )) || _files
    return 0
}
if [ "$funcstack[1]" = _PROGRAM ]; then _PROGRAM "$@"; else compdef _PROGRAM PROGRAM; fi
"""


def run(call: Invocation) -> int:
    call.context.say(script(call, SCRIPT))
    return 0
