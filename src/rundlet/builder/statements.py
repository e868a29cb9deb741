"""Attestations: what was built from what and how (SLSA provenance), and what is in it (SPDX), as in-toto statements.

Pure: facts in, documents out. See: in-toto attestation framework, Statement v0.1; SLSA provenance v0.2 and v1;
SPDX 2.3.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from rundlet.builder.packages import Inventory, Package
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform

STATEMENT: Final = "https://in-toto.io/Statement/v0.1"
PROVENANCE: Final = "https://slsa.dev/provenance/v0.2"
PROVENANCE_1: Final = "https://slsa.dev/provenance/v1"
SPDX: Final = "https://spdx.dev/Document"
BUILD_TYPE: Final = "https://mobyproject.org/buildkit@v1"
"""How the parameters are to be read: as BuildKit's. Version 1 of the predicate knows the same by another name."""
BUILD_TYPE_1: Final = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_TOOL: Final = "Tool: rundlet"


class Subject(msgspec.Struct, frozen=True):
    """The image that is spoken of: its manifest's digest, and the names it has."""

    digest: Digest
    platform: Platform
    names: tuple[str, ...] = ()

    def documents(self) -> list[dict[str, Any]]:
        names = [_image_url(name, self.platform) for name in self.names] or ["_"]
        return [{"name": name, "digest": _digest(self.digest)} for name in names]


class Material(msgspec.Struct, frozen=True):
    """An image that was built on: the name in the Dockerfile and its digest."""

    name: str
    digest: Digest


class Facts(msgspec.Struct, frozen=True):
    """Of one build. Times RFC 3339. ``arguments`` and ``dockerfile`` show only where all is to be told."""

    started: str
    finished: str
    dockerfile_name: str
    dockerfile: str
    target: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    remote: str
    materials: tuple[Material, ...]
    builder: str = ""


def provenance(subject: Subject, facts: Facts, *, everything: bool) -> bytes:
    """The statement of how ``subject`` came to be, version 0.2; ``everything`` is ``mode=max``."""
    source: dict[str, Any] = {"entryPoint": facts.dockerfile_name}
    if facts.remote:
        source["uri"] = facts.remote
    predicate: dict[str, Any] = {
        "builder": {"id": facts.builder},
        "buildType": BUILD_TYPE,
        "materials": _materials(subject, facts),
        "invocation": {
            "configSource": source,
            "parameters": _parameters(facts, everything=everything),
            "environment": {"platform": str(subject.platform)},
        },
        "metadata": {
            "buildStartedOn": facts.started,
            "buildFinishedOn": facts.finished,
            "completeness": {"parameters": everything, "environment": True, "materials": False},
            "reproducible": False,
        },
    }
    if everything:
        predicate["metadata"]["rundlet_source"] = _source(facts)
    return _statement(PROVENANCE, subject, predicate)


def provenance_1(subject: Subject, facts: Facts, *, everything: bool) -> bytes:
    """The same, version 1."""
    source = {"path": facts.dockerfile_name}
    if facts.remote:
        source["uri"] = facts.remote
    metadata: dict[str, Any] = {
        "startedOn": facts.started,
        "finishedOn": facts.finished,
        "rundlet_completeness": {"request": everything, "resolvedDependencies": False},
    }
    if everything:
        metadata["rundlet_source"] = _source(facts)
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE_1,
            "externalParameters": {
                "configSource": source,
                "request": _parameters(facts, everything=everything),
            },
            "internalParameters": {"builderPlatform": str(subject.platform)},
            "resolvedDependencies": _materials(subject, facts),
        },
        "runDetails": {"builder": {"id": facts.builder}, "metadata": metadata},
    }
    return _statement(PROVENANCE_1, subject, predicate)


def _parameters(facts: Facts, *, everything: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"frontend": "dockerfile.v0", "locals": [{"name": "context"}, {"name": "dockerfile"}]}
    arguments = {f"label:{name}": value for name, value in sorted(facts.labels.items())}
    if facts.target:
        arguments["target"] = facts.target
    if everything:
        arguments |= {f"build-arg:{name}": value for name, value in sorted(facts.arguments.items())}
    if arguments:
        parameters["args"] = arguments
    return parameters


def _materials(subject: Subject, facts: Facts) -> list[dict[str, Any]]:
    return [
        {"uri": _image_url(item.name, subject.platform), "digest": _digest(item.digest)} for item in facts.materials
    ]


def _source(facts: Facts) -> dict[str, str]:
    return {"filename": facts.dockerfile_name, "data": facts.dockerfile}


def sbom(subject: Subject, inventory: Inventory, created: str) -> bytes:
    """The statement of what is in ``subject``; ``created`` is RFC 3339."""
    rows = [_package(package, inventory.distribution) for package in inventory.packages]
    contains = [
        {
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relatedSpdxElement": row["SPDXID"],
            "relationshipType": "DESCRIBES",
        }
        for row in rows
    ]
    name = subject.names[0] if subject.names else str(subject.digest)
    predicate = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:rundlet:sbom:{subject.digest.encoded}",
        # SPDX wants whole seconds.
        "creationInfo": {"creators": [_TOOL], "created": f"{created.rstrip('Z').partition('.')[0]}Z"},
        "packages": rows,
        "relationships": contains,
    }
    return _statement(SPDX, subject, predicate)


def _statement(kind: str, subject: Subject, predicate: dict[str, Any]) -> bytes:
    document = {"_type": STATEMENT, "predicateType": kind, "subject": subject.documents(), "predicate": predicate}
    return msgspec.json.encode(document)


def _package(package: Package, distribution: str) -> dict[str, Any]:
    url = package.purl(distribution)
    return {
        "name": package.name,
        "SPDXID": f"SPDXRef-Package-{package.kind}-{hashlib.sha256(url.encode()).hexdigest()[:16]}",
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}],
    }


def _image_url(name: str, platform: Platform) -> str:
    """``pkg:docker/name@tag?platform=linux%2Famd64``."""
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    return f"pkg:docker/{quote(path, safe='/')}@{quote(tag, safe='')}?platform={quote(str(platform), safe='')}"


def _digest(digest: Digest) -> dict[str, str]:
    return {digest.algorithm: digest.encoded}
