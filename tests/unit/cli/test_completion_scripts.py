"""``rundlet completion bash``, ``zsh`` and ``fish`` with and without descriptions."""

import pytest

from rundlet.cli.main import main

Output = pytest.CaptureFixture[str]


def scripts(capsys: Output, shell: str, *flags: str) -> str:
    assert main(["docker", "completion", shell, *flags]) == 0
    return capsys.readouterr().out


def check(capsys: Output, shell: str, short: str) -> None:
    long = scripts(capsys, shell)
    assert " __complete " in long
    assert "docker" in long and "PROGRAM" not in long
    assert short == long.replace(" __complete ", " __completeNoDesc ")


def test_bash(capsys: Output) -> None:
    check(capsys, "bash", scripts(capsys, "bash", "--no-descriptions"))


def test_zsh(capsys: Output) -> None:
    check(capsys, "zsh", scripts(capsys, "zsh", "--no-descriptions"))


def test_fish(capsys: Output) -> None:
    check(capsys, "fish", scripts(capsys, "fish", "--no-descriptions"))
