"""``python -m tools.reference``: write the pages. ``--check``: say what is out of date or observed by no test."""

import argparse
import sys
from pathlib import Path

from tools.reference import manual, markdown, observed
from tools.reference.commands import GLOBAL, SAME_TABLE, commands
from tools.reference.endpoints import endpoints

DOCS = observed.ROOT / "docs"
STARTED_BY_FIXTURES = frozenset({GLOBAL, "engine run"})
"""Commands whose words no test needs to write: every call has the first, and every engine is the second."""


def generated() -> dict[Path, str]:
    """Every page that is made here, by where it belongs."""
    made = {
        DOCS / "commands.md": markdown.command_table(),
        DOCS / "engine-api.md": markdown.endpoint_table(),
        DOCS / "commands" / "index.md": markdown.command_index(),
    }
    for command in commands():
        if command.module:
            made[DOCS / "commands" / f"{command.page}.md"] = markdown.command_page(command)
    return made


def gaps() -> list[str]:
    """What no test observes, and what the table of tests says wrongly."""
    flags = {}
    same = {SAME_TABLE[one.module]: one.names for one in commands() if one.module in SAME_TABLE}
    for command in commands():
        names = () if command.name in STARTED_BY_FIXTURES else (*command.names, *same.get(command.module, ()))
        for flag in command.flags:
            if flag.command == command.name:
                flags[flag.key] = observed.flag_wanted(flag.long, flag.short, names or ("",))
    paths = {endpoint.key: observed.path_wanted(endpoint.path) for endpoint in endpoints()}
    return [*observed.problems("flags", flags), *observed.problems("endpoints", paths)]


def outdated() -> list[str]:
    """Committed pages that are not what would be made now, and pages of commands that there are no more."""
    made = generated()
    found = [f"{path} is out of date" for path, text in made.items() if not path.exists() or path.read_text() != text]
    return found + [f"{path} is left over" for path in (DOCS / "commands").glob("*.md") if path not in made]


def write_manual(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in manual.pages():
        (directory / name).write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; say what is wrong")
    parser.add_argument("--man", type=Path, metavar="DIRECTORY", help="write the manual pages there instead")
    options = parser.parse_args()
    if options.man:
        write_manual(options.man)
        return 0
    if options.check:
        problems = [*gaps(), *outdated()]
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
        if problems:
            sys.stderr.write("Tests are named in tests/observed.toml; pages are made by python -m tools.reference\n")
        return 1 if problems else 0
    (DOCS / "commands").mkdir(exist_ok=True)
    for path, text in generated().items():
        path.write_text(text)
    for path in (DOCS / "commands").glob("*.md"):
        if path not in generated():
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
