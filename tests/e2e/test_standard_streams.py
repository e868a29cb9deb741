"""A command line that is started without standard input, output or errors."""

import pytest
from tests.engines import Done, Engine, rundlet_command


def shell(engine: Engine, closed: str, *arguments: str) -> Done:
    return engine.run_command(["sh", "-c", f'exec "$@" {closed}', "sh", *rundlet_command(), *arguments])


def test_without_input(engine: Engine) -> None:
    """No descriptor of the command line's own may take its place: it would read its connection to the engine."""
    done = shell(engine, "<&-", "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo out; echo error >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "error\n")


@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_without_output(engine: Engine, closed: str) -> None:
    done = shell(engine, closed, "run", "--rm", "busybox", "sh", "-c", "echo out; echo error >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "error\n")
    assert shell(engine, closed, "ps", "-q").returncode == 0


def test_without_anything(engine: Engine) -> None:
    everything = "<&- >&- 2>&-"
    assert (
        shell(engine, everything, "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo out; exit 7").returncode == 7
    )
    assert shell(engine, everything, "rm", "no-such-container").returncode == 1


@pytest.mark.parametrize("words", ["images", "inspect busybox", "save busybox", "image history busybox", "version"])
def test_output_that_is_full(engine: Engine, words: str) -> None:
    done = shell(engine, ">/dev/full", *words.split())
    assert (done.returncode, done.stderr) == (1, "write /dev/stdout: no space left on device\n")
