"""The question before something is removed."""

import sys

import pytest

from rundlet.cli.main import main


class Interrupted:
    def readline(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("noun", ["volume", "network", "container", "image", "system"])
def test_an_interrupt_is_a_no(noun: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of the engine, which isn't there, and nothing has failed."""
    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert main(["docker", "-H", "unix:///nowhere.sock", noun, "prune"]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith("Are you sure you want to continue? [y/N] \n")
    assert shown.err == ""
