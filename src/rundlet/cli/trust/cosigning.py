"""``trust sign --cosign``: a signature in cosign's form, under the tag where every registry can keep it."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64encode

from rundlet.cli import manifests
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import ImageName
from rundlet.cli.trust.names import explained
from rundlet.cli.trust.passphrases import TRIES
from rundlet.trust import cosign, cosignkey, keyfile
from rundlet.trust.errors import AttemptsError, PassphraseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.trust.keys import PrivateKey

VARIABLE = "COSIGN_PASSWORD"
CONFIG = "application/vnd.oci.image.config.v1+json"


def sign_with_cosign(context: Context, name: ImageName, path: str) -> None:
    """Sign what the registry has under ``name`` now. Raises CommandError, ApiError."""
    with explained(name.name):
        key = _load(path)
    found = manifests.fetch(context, name, insecure=False)
    if found is None:
        raise CommandError(f"no such manifest: {name}")
    digest = str(found["Descriptor"]["digest"])
    payload = cosign.simple_payload(name.name, digest)
    layer = {
        **_descriptor(cosign.SIMPLE, payload),
        "annotations": {cosign.ANNOTATION: b64encode(cosign.sign(key.key, payload)).decode()},
    }
    target = ImageName(name.domain, name.path, cosign.signature_tag(digest), "")
    before = manifests.fetch(context, target, insecure=False)
    layers = [*_layers(before), layer]
    config = _config(layers)
    document = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": layers,
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    manifests.push(context, target, data, manifests.OCI_MANIFEST, "", insecure=False, blobs=(config, payload))
    context.say(f"Successfully signed {name.name}@{digest} (signature: {target.tag})")


def _load(path: str) -> PrivateKey:
    try:
        with open(path, "rb") as file:
            data = file.read(keyfile.FILE_LIMIT)
    except OSError as exc:
        raise CommandError(f"unable to read private key: open {path}: {(exc.strerror or '').lower()}") from exc
    block = keyfile.parse(data)
    sealed = cosignkey.is_sealed(block)
    if not block.encrypted and not sealed:
        return keyfile.decode(data, "")
    given = os.environ.get(VARIABLE)
    for _ in range(TRIES if given is None else 1):
        passphrase = _ask(path) if given is None else given
        try:
            return cosignkey.open_sealed(block, passphrase) if sealed else keyfile.decode(data, passphrase)
        except PassphraseError:
            continue
    raise AttemptsError


def _ask(path: str) -> str:
    if not os.isatty(0):
        raise CommandError(f"{path} needs a passphrase: set {VARIABLE}")
    import getpass

    return getpass.getpass(f"Enter passphrase for {path}: ")


def _layers(before: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The signatures that are there already: others' stay."""
    if before is None:
        return []
    found = (before.get("OCIManifest") or {}).get("layers") or []
    return [layer for layer in found if layer.get("mediaType") == cosign.SIMPLE]


def _config(layers: list[dict[str, Any]]) -> bytes:
    """An image's config as registries and tools expect one."""
    document = {
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
