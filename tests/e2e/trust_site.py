"""A registry with a trust server over TLS, and users with keys and caches of their own."""

import contextlib
import ipaddress
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.engines import Done, Engine, rundlet_command, succeeded
from tools.own_registry import OwnRegistry, own_registry

SYSTEM_CERTIFICATES = Path("/etc/rundlet/certs.d")
PASSPHRASES = {
    "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "root passphrase",
    "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": "repository passphrase",
    "NOTARY_ROOT_PASSPHRASE": "root passphrase",
    "NOTARY_TARGETS_PASSPHRASE": "repository passphrase",
    "NOTARY_SNAPSHOT_PASSPHRASE": "repository passphrase",
    "NOTARY_DELEGATION_PASSPHRASE": "repository passphrase",
}


class Site:
    """The registry at ``address``; ``authority`` is the path of the certificate that vouches for it."""

    def __init__(self, registry: OwnRegistry, authority: Path) -> None:
        self.registry = registry
        self.authority = authority

    @property
    def address(self) -> str:
        return self.registry.address

    def get(self, path: str) -> bytes | None:
        """What the registry answers over TLS; None for 404."""
        context = ssl.create_default_context(cafile=str(self.authority))
        try:
            with urllib.request.urlopen(f"https://{self.address}{path}", context=context, timeout=20) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as exc:
            if exc.code == 404:
                return None
            raise


@contextlib.contextmanager
def site(directory: Path, *flags: str) -> Iterator[Site]:
    authority, certificate, key = certificates(directory)
    with own_registry(directory / "root", "--tls-cert", str(certificate), "--tls-key", str(key), *flags) as registry:
        known = SYSTEM_CERTIFICATES / registry.address
        made = [path for path in (known, *known.parents) if not path.exists()]
        known.mkdir(parents=True)
        shutil.copy(authority, known / "ca.crt")
        try:
            yield Site(registry, authority)
        finally:
            (known / "ca.crt").unlink()
            for path in made:
                with contextlib.suppress(OSError):  # another test's may be in there
                    path.rmdir()


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def build(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
        )

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = build("test authority", authority_key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = build("localhost", server_key).add_extension(names, critical=False)
    paths = directory / "ca.crt", directory / "server.crt", directory / "server.key"
    directory.mkdir(parents=True, exist_ok=True)
    paths[0].write_bytes(authority.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    paths[1].write_bytes(server.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    paths[2].write_bytes(server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


class User:
    """Someone with a configuration of his own: keys, trust data, the registry's authority. ``program`` is "" for ours.

    Content trust is switched on.
    """

    def __init__(self, engine: Engine, place: Site, directory: Path, program: str = "") -> None:
        self.engine = engine
        self.program = program
        self.config = directory
        self.server = f"https://{place.address}"
        self._authority = place.authority
        known = directory / "tls" / place.address
        known.mkdir(parents=True, exist_ok=True)
        shutil.copy(place.authority, known / "ca.crt")

    def as_program(self, program: str) -> "User":
        """The same user at another command line."""
        made = object.__new__(User)
        made.__dict__ |= self.__dict__ | {"program": program}
        return made

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        command = [self.program] if self.program else rundlet_command()
        environment = {"DOCKER_CONFIG": str(self.config), "DOCKER_CONTENT_TRUST": "1", **PASSPHRASES, **(env or {})}
        return self.engine.run_command([*command, *arguments], env=environment, stdin=stdin)

    def ok(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
        return succeeded(self(*arguments, env=env, stdin=stdin))

    def notary(self, *arguments: str, stdin: str = "") -> Done:
        """Debian's notary with the same keys and trust data as Docker's."""
        command = ["notary", "-s", self.server, "--tlscacert", str(self._authority), "-d", str(self.config / "trust")]
        return self.engine.run_command([*command, *arguments], env=PASSPHRASES, stdin=stdin)

    def notary_ok(self, *arguments: str, stdin: str = "") -> str:
        return succeeded(self.notary(*arguments, stdin=stdin))
