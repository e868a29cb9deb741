"""The developers' script explains its verbs without doing them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
VERBS = ("demo", "test", "check", "vm", "docs", "setup")


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help(verb: str, word: str) -> None:
    done = subprocess.run([ROOT / "dev", verb, word], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: ./dev {verb}")


def test_the_jobs_in_the_virtual_machine_are_named() -> None:
    done = subprocess.run([ROOT / "dev", "vm", "--help"], capture_output=True, text=True, check=True, timeout=60)
    jobs = {path.stem.removesuffix("-before") for path in (ROOT / "tests/vm/jobs").glob("*.sh")}
    jobs = {name for name in jobs if name != "common" and not name.endswith("-after")}
    assert jobs <= set(done.stdout.split())
