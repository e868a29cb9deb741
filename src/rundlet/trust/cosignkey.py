"""Private keys as ``cosign generate-key-pair`` files them: PKCS#8, sealed by NaCl's secretbox with a key from scrypt.

``cryptography`` has no XSalsa20; PyNaCl, an extra, has. See: cosign's KEY_MANAGEMENT.md; go-securesystemslib,
encrypted.
"""

import base64
import json
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from rundlet.trust import keyfile
from rundlet.trust.errors import BadKeyError, PassphraseError
from rundlet.trust.keyfile import Block
from rundlet.trust.keys import PrivateKey

KINDS: Final = frozenset(("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"))
COMMAND: Final = "pip install 'rundlet[cosign]'"
MEMORY_LIMIT: Final = 1 << 30
"""Bytes that scrypt may take: a file must not be able to take all that the machine has."""
WORK_LIMIT: Final = 4 << 30
"""Bytes that it may write in all."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 24


class _Sealed(NamedTuple):
    """``cost``, ``block`` and ``parallel`` are scrypt's N, r and p."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes


def is_sealed(block: Block) -> bool:
    return block.kind in KINDS


def open_sealed(block: Block, passphrase: str) -> PrivateKey:
    """Raises PassphraseError, BadKeyError (for broken files, and where the library is missing)."""
    library = _library()
    sealed = _read(block.data)
    key = _derived(sealed, passphrase)
    try:
        plain: bytes = library.SecretBox(key).decrypt(sealed.ciphertext, sealed.nonce)
    except library.exc.CryptoError as exc:
        raise PassphraseError from exc
    body = base64.encodebytes(plain).decode()
    return keyfile.decode(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n".encode(), "")


def _read(data: bytes) -> _Sealed:
    try:
        document: Any = json.loads(data)
        kdf, cipher = document["kdf"], document["cipher"]
        costs = [kdf["params"][name] for name in ("N", "r", "p")]
        texts = (kdf["salt"], cipher["nonce"], document["ciphertext"])
        salt, nonce, ciphertext = (base64.b64decode(text, validate=True) for text in texts)
        kinds = (kdf["name"], cipher["name"])
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise BadKeyError("a key of cosign that can't be read") from exc
    if kinds != ("scrypt", "nacl/secretbox") or len(nonce) != _NONCE_BYTES:
        raise BadKeyError("a key of cosign that is sealed in an unknown way")
    if not all(type(cost) is int and 1 <= cost <= MEMORY_LIMIT for cost in costs):
        raise BadKeyError("a key of cosign that can't be read")
    cost, block, parallel = costs
    return _Sealed(cost, block, parallel, salt, nonce, ciphertext)


def _derived(sealed: _Sealed, passphrase: str) -> bytes:
    memory = 128 * sealed.cost * sealed.block
    if memory > MEMORY_LIMIT or memory * sealed.parallel > WORK_LIMIT:
        raise BadKeyError("a key of cosign that would take too much memory or time to open")
    try:
        scrypt = Scrypt(salt=sealed.salt, length=_KEY_BYTES, n=sealed.cost, r=sealed.block, p=sealed.parallel)
        return scrypt.derive(passphrase.encode("utf-8", "surrogateescape"))
    except (ValueError, MemoryError) as exc:
        raise BadKeyError("a key of cosign that can't be opened") from exc


def _library() -> Any:
    try:
        import nacl.secret
    except ImportError as exc:
        raise BadKeyError(
            f"a key in cosign's own encryption needs the pynacl package, which is not installed: {COMMAND}"
        ) from exc
    return nacl.secret
