"""TLS: who is trusted, what insecure means, and the words when it fails."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rundlet.oci.reference import Reference
from rundlet.registry import Credentials, HostsConfig, Registry, RegistryUnreachableError, connection
from rundlet.registry.retry import Retry
from rundlet.transport import HttpClient, Request, TransportError
from rundlet.transport.tls import CertificateError

MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'


def make_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test registry")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "cert.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path


async def answer(request: web.Request) -> web.Response:
    if request.path == "/v2/":
        return web.json_response({})
    return web.Response(body=MANIFEST)


async def serve(context: ssl.SSLContext | None) -> tuple[web.AppRunner, str]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner, f"127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def tls_host(tmp_path: Path) -> AsyncIterator[str]:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    runner, host = await serve(context)
    yield host
    await runner.cleanup()


@pytest.fixture
async def plain_host() -> AsyncIterator[str]:
    runner, host = await serve(None)
    yield host
    await runner.cleanup()


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[HttpClient]:
    client = HttpClient(environment={}, certificate_directories=[str(tmp_path / "certs.d")])
    yield client
    await client.close()


async def get(http: HttpClient, url: str, *, verify: bool = True) -> int:
    async with http.send(Request("GET", url, verify=verify)) as response:
        await response.read(1000)
        return response.status


async def test_unknown_authority(http: HttpClient, tls_host: str) -> None:
    with pytest.raises(TransportError) as caught:
        await get(http, f"https://{tls_host}/v2/")
    assert str(caught.value) == (
        f'Get "https://{tls_host}/v2/": '
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert caught.value.kind == "tls"
    assert await get(http, f"https://{tls_host}/v2/", verify=False) == 200


async def test_authority_of_the_host(http: HttpClient, tls_host: str, tmp_path: Path) -> None:
    directory = tmp_path / "certs.d" / tls_host
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes((tmp_path / "cert.pem").read_bytes())
    assert await get(http, f"https://{tls_host}/v2/") == 200


@pytest.mark.parametrize("name", ["client.cert", "ca.crt"])
async def test_broken_certificates_are_named(http: HttpClient, tls_host: str, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "certs.d" / tls_host
    directory.mkdir(parents=True)
    (directory / name).write_text("nonsense")
    with pytest.raises(CertificateError, match=name):
        await get(http, f"https://{tls_host}/v2/")


async def test_plain_server_asked_for_tls(http: HttpClient, plain_host: str) -> None:
    with pytest.raises(TransportError, match="http: server gave HTTP response to HTTPS client") as caught:
        await get(http, f"https://{plain_host}/v2/")
    assert caught.value.kind == "plain"


async def test_loopback_registry_with_and_without_tls(http: HttpClient, tls_host: str, plain_host: str) -> None:
    registry = Registry(http, retry=Retry(attempts=1))
    for host in (tls_host, plain_host):
        name = Reference.parse(f"{host}/app:1")
        assert (await registry.fetcher(name).resolve(name)).size == len(MANIFEST)


async def test_registry_that_went_away(http: HttpClient) -> None:
    runner, host = await serve(None)
    registry = Registry(http, retry=Retry(attempts=3, base=0.01))
    name = Reference.parse(f"{host}/app:1")
    await registry.fetcher(name).resolve(name)
    await runner.cleanup()
    with pytest.raises(RegistryUnreachableError, match=r"/v2/.*connection refused"):
        await registry.fetcher(name).resolve(name)


class Names:
    """A network in which every name stands for ``address``."""

    def __init__(self, address: str) -> None:
        self.address = address

    def new_socket(self, family: int, kind: int) -> socket.socket:
        return socket.socket(family, kind)

    def resolve(self, host: str, family: int) -> list[tuple[str, int]]:
        return [(self.address, socket.AF_INET)]


@pytest.mark.parametrize("tls", [True, False])
async def test_a_name_that_stands_for_loopback(tls_host: str, plain_host: str, tls: bool) -> None:
    """As Docker: its address decides. Clusters for development call their registries so."""
    host = (tls_host if tls else plain_host).replace("127.0.0.1", "k3d.localhost")
    http = HttpClient(environment={}, outside=Names("127.0.0.1"))
    registry = Registry(http, retry=Retry(attempts=1))
    name = Reference.parse(f"{host}/app:1")
    assert (await registry.fetcher(name).resolve(name)).size == len(MANIFEST)
    assert await registry.is_plain(host) is not tls
    await http.close()


async def test_a_name_that_stands_for_a_block_that_is_listed(plain_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = plain_host.replace("127.0.0.1", "reg.example")
    http = HttpClient(environment={}, outside=Names("127.0.0.1"))
    hosts = HostsConfig(insecure=("10.0.0.0/8", "reg.other"))
    assert [hosts.in_insecure_block(it) for it in ("10.1.2.3", "127.9.9.9", "::1", "192.0.2.1", "nonsense")] == [
        *(True, True, True, False, False)
    ]
    http.addresses = AsyncMock(return_value=["192.0.2.1"])  # type: ignore[method-assign]
    name = Reference.parse(f"{host}/app:1")
    with pytest.raises(TransportError, match="server gave HTTP response to HTTPS client"):
        await Registry(http, hosts, retry=Retry(attempts=1)).fetcher(name).resolve(name)
    monkeypatch.setattr(connection, "RESOLVED", -1)
    registry = Registry(http, hosts, retry=Retry(attempts=1))
    http.addresses = AsyncMock(return_value=["192.0.2.1", "10.1.2.3"])  # type: ignore[method-assign]
    await registry.login(host, Credentials())
    http.addresses = AsyncMock(return_value=["192.0.2.1"])  # type: ignore[method-assign]
    with pytest.raises(TransportError, match="server gave HTTP response to HTTPS client"):
        await registry.login(host, Credentials())
    await http.close()
