"""What is remembered of signatures."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.trust.simulator import GUN, Repository

from rundlet.trust.cache import MetadataCache
from rundlet.trust.errors import ThresholdError
from rundlet.trust.keys import PublicKey, generate
from rundlet.trust.metadata import TIMESTAMP
from rundlet.trust.proofs import Proofs

PAYLOAD = b"what is signed"


def _verifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: object) -> bool:
        raise AssertionError("a signature was verified again")

    monkeypatch.setattr(PublicKey, "verifies", never)


def test_a_good_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate()
    method, signature = key.sign(PAYLOAD)
    first = Proofs()
    assert first.verifies(key.public, PAYLOAD, method, signature)
    assert first.changed
    _verifies_nothing(monkeypatch)
    again = Proofs(first.found)
    assert again.verifies(key.public, PAYLOAD, method, signature)
    assert not again.changed


def test_anything_else_is_another_signature() -> None:
    key, other = generate(), generate()
    method, signature = key.sign(PAYLOAD)
    first = Proofs()
    assert first.verifies(key.public, PAYLOAD, method, signature)
    again = Proofs(first.found)
    assert not again.verifies(other.public, PAYLOAD, method, signature)
    assert not again.verifies(key.public, PAYLOAD + b".", method, signature)
    assert not again.verifies(key.public, PAYLOAD, "rsapss", signature)
    assert not again.verifies(key.public, PAYLOAD, method, signature[::-1])
    assert again.found == set()


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    key = generate()
    old = Proofs()
    assert old.verifies(key.public, b"old", *key.sign(b"old"))
    new = Proofs(old.found)
    assert new.verifies(key.public, b"new", *key.sign(b"new"))
    assert new.changed
    assert len(new.found) == 1


def test_unchanged_metadata_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository()
    repository.proofs = Proofs()
    first = repository.fetch()
    until = first.vouched_until()
    with monkeypatch.context() as patch:
        _verifies_nothing(patch)
        assert repository.fetch(first.files(), vouched=until).find("v1") == first.find("v1")
    repository.private[TIMESTAMP] = generate()
    repository.publish_timestamp()
    with pytest.raises(ThresholdError):
        repository.fetch(first.files(), vouched=until)


def test_a_good_signature_is_no_leave_to_be_old() -> None:
    """Remembered or not: what was superseded is refused by its version."""
    repository = Repository()
    repository.proofs = Proofs()
    repository.fetch()
    stale = dict(repository.served)
    repository.publish()
    now = repository.fetch()
    repository.served = stale
    with pytest.raises(Exception, match="version"):
        repository.fetch(now.files())


def test_it_is_kept_beside_the_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = MetadataCache(str(tmp_path))
    key = generate()
    method, signature = key.sign(PAYLOAD)
    proofs = cache.proofs(GUN)
    assert proofs.verifies(key.public, PAYLOAD, method, signature)
    (tmp_path / GUN).mkdir(parents=True)
    cache.prove(GUN, proofs)
    _verifies_nothing(monkeypatch)
    assert cache.proofs(GUN).verifies(key.public, PAYLOAD, method, signature)
    note = next(path for path in (tmp_path / GUN).iterdir() if path.is_file())
    assert note.name != note.name.lower()
    note.write_bytes(b"\xff\xfe not what we wrote")
    assert not cache.proofs(GUN).changed


def test_a_pull_that_finds_nothing_new_loads_no_cryptography() -> None:
    program = (
        "import sys, rundlet.cli.trust.pulling as _; print([name for name in sys.modules if 'cryptography' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
