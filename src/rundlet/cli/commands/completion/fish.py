"""``rundlet completion fish``."""

from __future__ import annotations

from rundlet.cli.commands.completion import NO_DESCRIPTIONS, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Generate the autocompletion script for fish"
ARGS = (0, 0)
FLAGS = (NO_DESCRIPTIONS,)
SCRIPT = """\
# Completion for fish; load it with: PROGRAM completion fish | source
function __PROGRAM_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l files 1
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        switch $line
            case ':4' ':6'
                set files 0
            case ':*'
            case '*'
                echo $line
        end
    end
    if test $files = 1
        __fish_complete_path (commandline -ct)
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"""


def run(call: Invocation) -> int:
    call.context.say(script(call, SCRIPT))
    return 0
