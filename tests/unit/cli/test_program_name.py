"""``docker`` as a link to ``rundlet``: every message says what was typed."""

import re

import pytest

from rundlet.cli.main import main

CASES: tuple[list[str], ...] = (
    [],
    ["--help"],
    ["run", "--help"],
    ["container", "--help"],
    ["container"],
    ["help", "ps"],
    ["nonsense"],
    ["run"],
    ["run", "--nonsense", "x"],
    ["container", "nonsense"],
    ["container", "--nonsense"],
    ["swarm"],
    ["--nonsense"],
    ["run", "--cpu-count", "2", "x"],
    ["rm"],
    ["trust", "key"],
    ["engine", "--help"],
    ["build", "--isolation", "hyperv", "."],
)


@pytest.mark.parametrize("words", CASES, ids=lambda words: " ".join(words) or "nothing")
def test_both_names_say_the_same(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["/usr/bin/rundlet", *words])
    own = "".join(capsys.readouterr())
    assert main(["/usr/local/bin/docker", *words]) == code
    linked = "".join(capsys.readouterr())
    assert own.replace("rundlet", "docker") == linked.replace("rundlet", "docker")
    # The project's name stays, the program's doesn't: usage lines and hints say what was typed.
    for text in ("Usage:  rundlet", "'rundlet ", "rundlet:", "  rundlet "):
        assert text not in linked, linked


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_scripts_read_dockers_release_off_its_name(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docker", flag]) == 0
    assert re.fullmatch(r"Docker version \d+\.\d+\.\d+, build rundlet-\S+\n", capsys.readouterr().out)
    assert main(["rundlet", flag]) == 0
    assert capsys.readouterr().out.startswith("Rundlet version ")
