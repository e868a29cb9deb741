"""Private keys as files, in Docker's form: PEM with the headers ``role`` and ``gun`` around PKCS#8.

Notary knows one kind of encryption in PKCS#8: PBES2 with AES-256-CBC and a key from PBKDF2 with HMAC-SHA-1.
``cryptography`` does not write that kind, and refuses the version number that Notary gives a key, so this container is
put together and taken apart here, with its primitives; every other kind is left to it.
See: RFC 1421 (headers), RFC 5958, RFC 8018.
"""

import base64
import os
import re
from typing import Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from rundlet.trust.errors import BadKeyError, PassphraseError
from rundlet.trust.keys import PrivateKey, PublicKey, public_key

ITERATIONS: Final = 600_000
"""Of PBKDF2: about a quarter of a second for each guess."""
ITERATIONS_LIMIT: Final = 20_000_000
FILE_LIMIT: Final = 1 << 20

_BLOCK: Final = re.compile(rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----\r?\n(?P<body>.*?)-----END (?P=kind)-----", re.DOTALL)
_LEGACY: Final = frozenset(("EC PRIVATE KEY", "RSA PRIVATE KEY"))
_PKCS8: Final = frozenset(("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_AES256_CBC = bytes.fromhex("060960864801650304012a")


class Block(NamedTuple):
    """A PEM block: its kind, its headers, what is in it."""

    kind: str
    headers: dict[str, str]
    data: bytes

    @property
    def encrypted(self) -> bool:
        return self.kind == "ENCRYPTED PRIVATE KEY" or "DEK-Info" in self.headers

    @property
    def role(self) -> str:
        return self.headers.get("role", "")

    @property
    def gun(self) -> str:
        return self.headers.get("gun", "")


def parse(data: bytes) -> Block:
    """The first PEM block. Raises BadKeyError."""
    match = _BLOCK.search(data[:FILE_LIMIT])
    if match is None:
        raise BadKeyError("no valid private key found")
    headers: dict[str, str] = {}
    lines = match["body"].decode("ascii", "replace").splitlines()
    while lines and ":" in lines[0]:
        name, _, value = lines.pop(0).partition(":")
        headers[name.strip()] = value.strip()
    try:
        content = base64.b64decode("".join(line.strip() for line in lines), validate=True)
    except ValueError as exc:
        raise BadKeyError("no valid private key found") from exc
    return Block(match["kind"].decode(), headers, content)


def is_private(block: Block) -> bool:
    return block.kind in _LEGACY or block.kind in _PKCS8


def decode(data: bytes, passphrase: str) -> PrivateKey:
    """``passphrase`` is "" for a key that is not encrypted. Raises PassphraseError, BadKeyError."""
    block = parse(data)
    if not is_private(block):
        raise BadKeyError(f"unsupported key type {block.kind!r}")
    secret = passphrase.encode() if block.encrypted else None
    if block.encrypted and not secret:
        raise PassphraseError
    try:
        if block.kind in _LEGACY:
            found: Any = serialization.load_pem_private_key(_bare(block), secret)
        else:
            found = _load_pkcs8(block.data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        if block.encrypted:
            raise PassphraseError from exc
        raise BadKeyError(f"a private key that can't be read: {exc}") from exc
    if not isinstance(found, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)):
        raise BadKeyError("unsupported key type: want ECDSA, RSA or Ed25519")
    return PrivateKey(found, block.role, block.gun)


def _load_pkcs8(data: bytes, secret: bytes | None) -> Any:
    """Raises ValueError, TypeError, UnsupportedAlgorithm."""
    if secret is None:
        return serialization.load_der_private_key(_first_version(data), None)
    sealed = _notary_kind(data)
    if sealed is None:
        return serialization.load_der_private_key(data, secret)
    derived = PBKDF2HMAC(hashes.SHA1(), 32, sealed.salt, sealed.iterations).derive(secret)  # noqa: S303 - the format
    decryptor = Cipher(algorithms.AES(derived), modes.CBC(sealed.vector)).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain = unpadder.update(decryptor.update(sealed.secret) + decryptor.finalize()) + unpadder.finalize()
    return serialization.load_der_private_key(_first_version(plain), None)


class _Sealed(NamedTuple):
    salt: bytes
    iterations: int
    vector: bytes
    secret: bytes


def _notary_kind(data: bytes) -> _Sealed | None:
    """The parts of Notary's kind of encryption; None for other kinds. Raises ValueError for what is no DER."""
    ((_, whole),) = _items(data)
    (_, scheme), (_, secret) = _items(whole)
    (_, kind), (_, parameters) = _items(scheme)
    if kind != _PBES2[2:]:
        return None
    (_, kdf), (_, cipher) = _items(parameters)
    (_, kdf_kind), (_, kdf_parameters) = _items(kdf)
    (_, cipher_kind), (_, vector) = _items(cipher)
    settings = _items(kdf_parameters)
    # A third setting names another hash than SHA-1.
    if kdf_kind != _PBKDF2[2:] or cipher_kind != _AES256_CBC[2:] or [tag for tag, _ in settings] != [0x04, 0x02]:
        return None
    iterations = int.from_bytes(settings[1][1])
    if not 1 <= iterations <= ITERATIONS_LIMIT:
        raise ValueError("iterations")
    return _Sealed(settings[0][1], iterations, vector, secret)


def _first_version(plain: bytes) -> bytes:
    """Notary writes version 2 (1 in DER) without what that version adds: the same key as version 1.

    Raises ValueError."""
    ((_, whole),) = _items(plain)
    version, *others = _items(whole)
    if version != (0x02, b"\x01") or len(others) != 2:
        return plain
    return _sequence(_integer(0), *(_tagged(tag, content) for tag, content in others))


def _bare(block: Block) -> bytes:
    """A legacy block with the headers that say how it is encrypted, and no others."""
    kept = {name: value for name, value in block.headers.items() if name in ("Proc-Type", "DEK-Info")}
    return _pem(block.kind, kept, block.data)


def encode(key: PrivateKey, passphrase: str, iterations: int = ITERATIONS) -> bytes:
    """An encrypted file; without a passphrase, as Notary has it, a plain one."""
    headers = {name: value for name, value in (("gun", key.gun), ("role", key.role)) if value}
    plain = key.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if not passphrase:
        return _pem("PRIVATE KEY", headers, plain)
    salt, vector = os.urandom(16), os.urandom(16)
    derived = PBKDF2HMAC(hashes.SHA1(), 32, salt, iterations).derive(passphrase.encode())  # noqa: S303 - the format
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(vector)).encryptor()
    secret = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    kdf = _sequence(_PBKDF2, _sequence(_octets(salt), _integer(iterations)))
    scheme = _sequence(_PBES2, _sequence(kdf, _sequence(_AES256_CBC, _octets(vector))))
    return _pem("ENCRYPTED PRIVATE KEY", headers, _sequence(scheme, _octets(secret)))


def encode_plain(key: PrivateKey) -> bytes:
    """For a store that is protected otherwise."""
    return encode(key, "")


def decode_plain(data: bytes) -> PrivateKey:
    return decode(data, "")


def encode_public(key: PublicKey, role: str) -> bytes:
    """The file that a signer hands to a repository's owner."""
    return _pem("PUBLIC KEY", {"role": role} if role else {}, key.public)


def decode_public_file(data: bytes) -> PublicKey:
    """A public key or a certificate. Raises BadKeyError."""
    match = _BLOCK.search(data[:FILE_LIMIT])
    if match is None:
        raise BadKeyError("no valid public key found")
    block = parse(data)
    try:
        if block.kind == "CERTIFICATE":
            from cryptography import x509

            certificate = x509.load_der_x509_certificate(block.data)
            pem = certificate.public_bytes(serialization.Encoding.PEM)
            kind = public_key(certificate.public_key()).keytype
            return PublicKey(f"{kind}-x509", pem)
        if block.kind == "PUBLIC KEY":
            return public_key(serialization.load_der_public_key(block.data))
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise BadKeyError(f"unable to parse pem encoded public key: {exc}") from exc
    raise BadKeyError(f'unsupported PEM block type "{block.kind}", expected CERTIFICATE or PUBLIC KEY')


def _pem(kind: str, headers: dict[str, str], data: bytes) -> bytes:
    text = base64.b64encode(data).decode()
    lines = [f"{name}: {value}" for name, value in sorted(headers.items(), key=lambda item: item[0] != "Proc-Type")]
    lines += [""] if lines else []
    lines += [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode()


# ── the few shapes of DER that the container has ─────────────────────────────────────────────────────────────


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of values that stand side by side. Raises ValueError."""
    found, position = [], 0
    while position < len(data):
        tag, size = data[position], data[position + 1] if position + 1 < len(data) else 0x80
        position += 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 3:
                raise ValueError("a length that is no length")
            size = int.from_bytes(data[position : position + count])
            position += count
        if position + size > len(data):
            raise ValueError("the data end too early")
        found.append((tag, data[position : position + size]))
        position += size
    return found


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _tagged(0x04, content)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1))
