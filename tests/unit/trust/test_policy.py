"""The policy file: which rule counts, what is refused as no policy, and when it is read again."""

import json
import os
from pathlib import Path

import pytest

from rundlet.trust.policy import Policy, PolicyError, PolicyFile, actions_of, parse, read_file

NOTATION = {"type": "notation", "trust-store": "/none"}


def _parse(document: object, files: dict[str, bytes] | None = None) -> Policy:
    def read(path: str) -> bytes:
        if path not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory", path)
        return (files or {})[path]

    return parse("/p", json.dumps(document).encode(), read)


@pytest.mark.parametrize(
    ("repository", "kind"),
    [
        ("docker.io/library/debian", "dct"),
        ("docker.io/library", "dct"),
        ("docker.io/libraryx/debian", "reject"),
        ("docker.io/other/debian", "reject"),
        ("localhost:5000/a/b", "accept-unsigned"),
        ("localhost:5001/a/b", "dct"),
        ("quay.io/x", "dct"),
    ],
)
def test_the_longest_scope_counts(repository: str, kind: str) -> None:
    policy = _parse(
        {
            "default": {"type": "dct"},
            "rules": {
                "docker.io": {"type": "reject"},
                "docker.io/library": {"type": "dct"},
                "localhost:5000": {"type": "accept-unsigned"},
            },
        }
    )
    assert policy.rule_for(repository).kind == kind


def test_without_anything_said_everything_is_accepted() -> None:
    assert _parse({}).rule_for("docker.io/library/debian").accepts_all


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "want {"),
        ({"rule": {}}, "want {"),
        ({"rules": []}, "rules: want a JSON object"),
        ({"rules": {"debian": {"type": "reject"}}}, "'debian' is no registry"),
        ({"rules": {"docker.io/": {"type": "reject"}}}, "is no registry"),
        ({"rules": {"*.io": {"type": "reject"}}}, "is no registry"),
        ({"default": {"type": "signed"}}, "type: want one of reject, accept-unsigned, dct, cosign, notation"),
        ({"default": {}}, "type: want one of"),
        ({"default": "reject"}, "type: want one of"),
        ({"default": {"type": "reject", "why": "x"}}, "reject takes nothing"),
        ({"default": {"type": "cosign"}}, "cosign takes keys or identity, issuer, trust-root"),
        ({"default": {"type": "cosign", "identity": "x"}}, "cosign takes"),
        ({"default": {"type": "cosign", "keys": []}}, "keys: want a list of strings"),
        ({"default": {"type": "cosign", "keys": "/k"}}, "keys: want a list of strings"),
        ({"default": {"type": "cosign", "keys": ["/none"]}}, "/none: no such file or directory"),
        ({"default": {"type": "notation", "trust-store": "/none"}}, "/none: no such file or directory"),
        ({"default": {"type": "notation", "tsa-store": "/c"}}, "notation takes trust-store, [identities], [level]"),
        ({"default": {**NOTATION, "level": "lax"}}, "level: want one of strict, permissive, audit, skip"),
        ({"default": {"type": "notation", "level": "strict"}}, "strict needs a trust-store"),
        ({"default": {"type": "notation", "level": "skip"}}, "not with the default"),
        ({"rules": {"a.b": {**NOTATION, "level": "skip"}}}, "skip goes with nothing else"),
        ({"default": {**NOTATION, "override": []}}, "override: want an object"),
        ({"default": {**NOTATION, "override": {"integrity": "log"}}}, "with some of authenticity, authenticTimestamp"),
        ({"default": {**NOTATION, "override": {"expiry": "skip"}}}, "override: expiry: want one of enforce, log"),
        ({"default": {**NOTATION, "override": {"revocation": 1}}}, "revocation: want one of enforce, log, skip"),
        ({"default": {**NOTATION, "verify-timestamp": "always"}}, "verify-timestamp needs a tsa-store"),
        ({"default": {**NOTATION, "tsa-store": "/c", "verify-timestamp": "no"}}, "want one of always, afterCertExpiry"),
        ({"default": {**NOTATION, "identities": ["O=Team"]}}, "identities: 'O=Team': want"),
        ({"default": {"type": "dct", "server": "http://x"}}, "want an https URL"),
        ({"default": {"type": "dct", "root-keys": [1]}}, "root-keys: want a list of strings"),
    ],
)
def test_what_is_no_policy(document: object, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        _parse(document)
    assert str(caught.value).startswith("trust policy /p: ")
    assert words in str(caught.value)


def test_a_rule_is_another_when_its_key_is() -> None:
    document = {"default": {"type": "cosign", "keys": ["/k"]}}
    first = _parse(document, {"/k": b"one"}).default
    assert first.fingerprint == _parse(document, {"/k": b"one"}).default.fingerprint
    assert first.fingerprint != _parse(document, {"/k": b"two"}).default.fingerprint


def test_levels_of_notation(tmp_path: Path) -> None:
    stores = {}
    for name in ("trust-store", "tsa-store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.crt").write_bytes(name.encode())
        stores[name] = str(tmp_path / name)
    rule = {"type": "notation", **stores, "level": "permissive", "override": {"expiry": "enforce"}}
    document = {"rules": {"a.example": rule, "b.example": {"type": "notation", "level": "skip"}}}
    policy = parse("/p", json.dumps(document).encode(), read_file)
    strict, skipped = policy.rules["a.example"], policy.rules["b.example"]
    assert {name: list(strict.files_in(path).values()) for name, path in stores.items()} == {
        name: [name.encode()] for name in stores
    }
    assert actions_of(strict.settings) == {
        "authenticity": "enforce",
        "authenticTimestamp": "log",
        "expiry": "enforce",
        "revocation": "log",
    }
    assert (str(strict), strict.accepts_all) == ("notation: permissive", False)
    assert (str(skipped), skipped.accepts_all) == ("notation: skip", True)


def _write(path: Path, text: str) -> None:
    """Replaced, as editors do."""
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, key = tmp_path / "policy.json", tmp_path / "key.pub"
    _write(path, '{"default": {"type": "reject"}}')
    file = PolicyFile(str(path), required=True)
    assert file.current().default.kind == "reject"
    _write(key, "one")
    _write(path, json.dumps({"default": {"type": "cosign", "keys": [str(key)]}}))
    before = file.current().default.fingerprint
    assert file.current().default.fingerprint == before
    _write(key, "other")
    assert file.current().default.fingerprint != before


def test_a_policy_that_breaks_lets_nothing_through(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    _write(path, "{}")
    file = PolicyFile(str(path), required=True)
    assert file.current().default.accepts_all
    _write(path, "{")
    for _ in range(2):
        with pytest.raises(PolicyError):
            file.current()
    path.unlink()
    with pytest.raises(PolicyError, match="no such file"):
        file.current()
    _write(path, "{}")
    assert file.current().default.accepts_all


def test_only_the_usual_place_may_be_empty(tmp_path: Path) -> None:
    assert PolicyFile(str(tmp_path / "none"), required=False).current().default.accepts_all
    with pytest.raises(PolicyError):
        PolicyFile(str(tmp_path / "none"), required=True).current()
