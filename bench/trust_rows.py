"""Rows about verification: what it adds to a pull, by the command line's content trust and by the engine's policy."""

import contextlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.certificates import certificate
from tools import images
from tools.own_registry import OwnRegistry, own_registry

from bench.contenders import Contender, Rundlet, run
from bench.rows import Row, milliseconds

PAIRS = 5
AT_MOST = 30.0
_PASSPHRASES = (
    "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=root passphrase",
    "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=repository passphrase",
)


def trust_rows(directory: Path, environment: Path, *, quick: bool) -> list[Row]:
    """In the order of the table."""
    rounds = 1 if quick else 5
    signed, policed = _ContentTrust(directory / "content-trust"), _Policy(directory / "policy", environment)
    return [
        Row("content trust: what verification adds to `pull`", "ms", rounds, signed.adds, before=signed.push,
            after=signed.end, at_most=AT_MOST, without=("podman",)),
        Row("a cosign key in the engine's policy: what verification adds to `pull`", "ms", rounds, policed.adds,
            before=policed.push, after=policed.end, at_most=AT_MOST, without=("docker", "podman")),
    ]  # fmt: skip


class _Site:
    """Rundlet's registry, which is a trust server as well, over TLS; there for as long as anybody needs it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = contextlib.ExitStack()
        self._registry: OwnRegistry | None = None

    @property
    def address(self) -> str:
        if self._registry is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            certificate(self.directory)
            flags = [f"--tls-{name}={self.directory / name}.pem" for name in ("cert", "key")]
            self._registry = self._stack.enter_context(own_registry(self.directory / "root", *flags))
        return self._registry.address

    def close(self) -> None:
        self._stack.close()
        self._registry = None


class _ContentTrust:
    """A signed image for each contender, with keys of its own."""

    def __init__(self, directory: Path) -> None:
        self._site = _Site(directory)

    def push(self, one: Contender) -> None:
        name = self._name(one)
        known = self._site.directory / one.name / "tls" / self._site.address
        known.mkdir(parents=True)
        (known / "ca.crt").write_bytes((self._site.directory / "cert.pem").read_bytes())
        run(one.command("import", str(images.debian_tar()), name))
        run(self._trusting(one, one.push(name)))
        run(self._trusting(one, one.pull(name)))

    def adds(self, one: Contender) -> float:
        pull = one.pull(self._name(one))
        return _difference(self._trusting(one, pull), self._trusting(one, pull, trust=False))

    def end(self, one: Contender) -> None:
        run(one.command("rmi", "-f", self._name(one)))
        if one.name == "docker":  # the last one
            self._site.close()

    def _name(self, one: Contender) -> str:
        return f"{self._site.address}/{one.name}/signed:1"

    def _trusting(self, one: Contender, command: Sequence[str], *, trust: bool = True) -> list[str]:
        configuration = f"DOCKER_CONFIG={self._site.directory / one.name}"
        return ["env", configuration, *_PASSPHRASES, f"DOCKER_CONTENT_TRUST={int(trust)}", *command]


class _Policy:
    """Another engine, with a policy for one of two repositories."""

    def __init__(self, directory: Path, environment: Path) -> None:
        self._site = _Site(directory)
        self._environment = environment
        self._engine: Rundlet | None = None

    def push(self, _one: Contender) -> None:
        address, directory = self._site.address, self._site.directory
        key = ec.generate_private_key(ec.SECP256R1())
        private, public, policy = (directory / name for name in ("key", "key.pub", "policy.json"))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        rule = {"type": "cosign", "keys": [str(public)]}
        policy.write_text(json.dumps({"rules": {f"{address}/signed": rule}}))
        engine = self._engine = Rundlet(
            directory, self._environment, Path("/run/bench-policed"), ("--trust-policy", str(policy))
        )
        engine.start()
        for name in (f"{address}/open/app:1", f"{address}/signed/app:1"):
            run(engine.command("import", str(images.debian_tar()), name))
            run(engine.push(name))
        run(engine.command("trust", "sign", "--cosign", str(private), f"{address}/signed/app:1"))

    def adds(self, _one: Contender) -> float:
        assert self._engine is not None
        address = self._site.address
        return _difference(self._engine.pull(f"{address}/signed/app:1"), self._engine.pull(f"{address}/open/app:1"))

    def end(self, _one: Contender) -> None:
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
        self._site.close()


def _difference(more: Sequence[str], less: Sequence[str]) -> float:
    """Of medians: pulls that change nothing, by turns."""
    pairs = [(milliseconds(more), milliseconds(less)) for _ in range(PAIRS)]
    return statistics.median(pair[0] for pair in pairs) - statistics.median(pair[1] for pair in pairs)
