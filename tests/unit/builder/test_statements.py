"""Statements of how an image came to be, in both versions of the predicate."""

import json
from typing import Any

import pytest

from rundlet.builder.statements import BUILD_TYPE, BUILD_TYPE_1, Facts, Material, Subject, provenance, provenance_1
from rundlet.engine.builds.attestations import parse
from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform

SUBJECT = Subject(Digest.of(b"manifest"), Platform.parse("linux/amd64"), ("app:1",))
FACTS = Facts(
    started="2026-01-01T00:00:00Z",
    finished="2026-01-01T00:00:01Z",
    dockerfile_name="Dockerfile",
    dockerfile="FROM busybox\n",
    target="last",
    arguments={"token": "x"},
    labels={"a": "b"},
    remote="https://example.org/app.git#main",
    materials=(Material("busybox", Digest.of(b"base")),),
    builder="https://example.org/builder",
)


def _predicate(data: bytes, kind: str) -> Any:
    document = json.loads(data)
    assert document["_type"] == "https://in-toto.io/Statement/v0.1"
    assert document["predicateType"] == f"https://slsa.dev/provenance/{kind}"
    assert document["subject"][0]["digest"] == {"sha256": SUBJECT.digest.encoded}
    return document["predicate"]


@pytest.mark.parametrize("everything", [False, True])
def test_version_1_says_what_version_02_says(everything: bool) -> None:
    old = _predicate(provenance(SUBJECT, FACTS, everything=everything), "v0.2")
    new = _predicate(provenance_1(SUBJECT, FACTS, everything=everything), "v1")
    definition, run = new["buildDefinition"], new["runDetails"]
    assert (definition["buildType"], old["buildType"]) == (BUILD_TYPE_1, BUILD_TYPE)
    assert definition["externalParameters"]["request"] == old["invocation"]["parameters"]
    assert definition["externalParameters"]["configSource"] == {"path": "Dockerfile", "uri": FACTS.remote}
    assert definition["internalParameters"] == {"builderPlatform": "linux/amd64"}
    assert definition["resolvedDependencies"] == old["materials"]
    assert run["builder"] == {"id": FACTS.builder}
    assert (run["metadata"]["startedOn"], run["metadata"]["finishedOn"]) == (FACTS.started, FACTS.finished)
    assert ("rundlet_source" in run["metadata"]) == everything
    assert ("build-arg:token" in definition["externalParameters"]["request"]["args"]) == everything


def test_versions_that_can_be_asked_for() -> None:
    assert parse(["type=provenance"]).version == "v0.2"
    assert parse(["type=provenance,mode=max,version=v1"]).version == "v1"
    with pytest.raises(InvalidParameterError, match="unsupported provenance version v2"):
        parse(["type=provenance,version=v2"])
