"""The question before something is removed."""

import io
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rundlet.cli import pruning
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


@pytest.mark.parametrize(
    ("answer", "yes"), [("y", True), (" Y \n", True), ("yes\n", False), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_one_letter_is_a_yes(answer: str, yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert pruning.confirm("Really?") is yes


def test_the_question_names_the_filters_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert (
        main(["docker", "-H", "unix:///nowhere.sock", "system", "prune", "--filter=label=x", "--filter=label!=z"]) == 0
    )
    assert "filtered with:\n  - label!=z\n  - label=x\n\nAre you sure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], [("label", "a"), ("label!", "b=1")]),
        ([("label!", "a")], [("label!", "a"), ("label!", "b=1")]),
        ([("label", "b=1"), ("until", "1h")], [("label", "b=1"), ("until", "1h"), ("label", "a")]),
    ],
)
def test_filters_of_the_configuration_file(given: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    """They hold beside those that are given, and give way to what these say."""

    config = {"pruneFilters": ["label=a", "label!=b=1", "odd"]}
    call = SimpleNamespace(flags={"filter": given}, context=SimpleNamespace(config=config))
    assert pruning.chosen(cast(Any, call)) == wanted
