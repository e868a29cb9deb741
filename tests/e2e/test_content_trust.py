"""Content trust with every command line: what one signs the others verify, and what is not signed is refused."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import docker_programs, need
from tests.e2e.trust_site import Site, User, site
from tests.engines import Engine, rundlet_command
from tools.registry import HTPASSWD, PASSWORD, USER

PROGRAMS = ["", *docker_programs()[:1]]
OFFICIAL = PROGRAMS[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("trust")) as running:
        yield running


@pytest.fixture
def user(engine: Engine, place: Site, tmp_path: Path) -> Callable[..., User]:
    """Makes users: ``user("alice")``, ``user("bob", docker)``."""
    return lambda name, program="": User(engine, place, tmp_path / name, program)


@pytest.fixture
def repository(request: pytest.FixtureRequest, place: Site) -> str:
    """One that no other test has."""
    return f"{place.address}/t/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


def _forget(engine: Engine, *names: str) -> None:
    for name in names:
        engine.cli("rmi", name)


@pytest.fixture(params=PROGRAMS, ids=lambda path: "docker" if path else "rundlet")
def signer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PROGRAMS, ids=lambda path: "by-docker" if path else "by-rundlet")
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_one_signs_the_other_verifies(
    engine: Engine, user: Callable[..., User], repository: str, signer: str, reader: str
) -> None:
    """At first contact and again, after the tag was moved without a signature, and after it was signed anew."""
    alice, bob = user("alice", signer), user("bob", reader)
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    pushed = alice.ok("push", name)
    assert f'Finished initializing "{repository}"' in pushed
    assert pushed.splitlines()[-1] == f"Successfully signed {name}"
    digest = re.search(r"digest: (sha256:\w{64})", pushed)
    assert digest
    _forget(engine, name)
    pulled = bob.ok("pull", name)
    assert f"Pull (1 of 1): {name}@{digest[1]}" in pulled
    assert bob.ok("run", "--rm", name, "echo", "signed") == "signed"

    container = engine.ok("create", "busybox", "sh")
    engine.ok("commit", "-c", "ENV EVIL=1", container, name)
    engine.ok("rm", container)
    engine.ok("push", name)
    assert bob.ok("run", "--rm", "--pull", "always", name, "sh", "-c", "echo is${EVIL}good") == "isgood"

    engine.ok("tag", "busybox", f"{repository}:v2")
    assert "Successfully signed" in alice.ok("push", f"{repository}:v2")
    _forget(engine, name, f"{repository}:v2")
    assert "Pull (2 of 2): " in bob.ok("pull", "-a", repository)
    for tag in ("v1", "v2"):
        _forget(engine, f"{repository}:{tag}")


def test_what_is_not_signed_is_refused(engine: Engine, user: Callable[..., User], repository: str, reader: str) -> None:
    alice, bob = user("alice"), user("bob", reader)
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    engine.ok("push", name)
    missing = f"Error: remote trust data does not exist for {repository}: {repository.partition('/')[0]} does not have"
    for command, code in ((["pull", name], 1), (["create", name], None), (["run", "--rm", name], 125)):
        done = bob(*command)
        assert done.returncode == code or (code is None and done.returncode in (1, 125)), command
        assert missing in done.stderr, done.stderr
    alice.ok("push", name)
    engine.ok("tag", name, f"{repository}:other")
    engine.ok("push", f"{repository}:other")
    done = bob("pull", f"{repository}:other")
    assert (done.returncode, done.stderr.strip()) == (1, "No valid trust data for other")
    # Whoever says so may do without.
    assert bob("pull", "--disable-content-trust", f"{repository}:other").returncode == 0
    assert bob("pull", f"{repository}:other", env={"DOCKER_CONTENT_TRUST": "0"}).returncode == 0
    _forget(engine, name, f"{repository}:other")


def test_builds_begin_with_what_is_signed(
    engine: Engine, user: Callable[..., User], repository: str, tmp_path: Path
) -> None:
    """FROM and --from mean the signed digests; what has none is refused, by the engine too."""
    alice = user("alice")
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    alice.ok("push", name)
    container = engine.ok("create", "busybox", "sh")
    engine.ok("commit", "-c", "ENV EVIL=1", container, name)
    engine.ok("rm", container)
    engine.ok("push", name)
    file = tmp_path / "Dockerfile"
    file.write_text(
        f"FROM {name} AS one\nFROM {name}\nCOPY --from={name} /bin/sh /sh\nRUN echo is${{EVIL}}good > /said\n"
    )
    built = f"{repository}:built"
    alice.ok("build", "-t", built, str(tmp_path))
    assert engine.ok("run", "--rm", built, "cat", "/said") == "isgood"
    for text, words in (
        ("FROM busybox\n", "trust data"),
        (f"FROM {repository}:none\n", "No valid trust data for none"),
        (f"ARG TAG=v1\nFROM {repository}:$TAG\n", "content trust: "),
        (f"FROM {name}\nCOPY \\\n  --from={repository}:built /sh /\n", "content trust: "),
    ):
        file.write_text(text)
        done = alice("build", str(tmp_path), env={"DOCKER_CONTENT_TRUST_SERVER": alice.server})
        assert (done.returncode, words in done.stderr) == (1, True), (text, done.stderr)
    file.write_text("FROM busybox\n")
    alice.ok("build", "--disable-content-trust", str(tmp_path))
    _forget(engine, name, built)


def test_rundlets_own_variable(user: Callable[..., User], repository: str) -> None:
    bob = user("bob")
    for value in ("1", "true", "yes", "tru"):
        done = bob("pull", f"{repository}:1", env={"DOCKER_CONTENT_TRUST": "", "RUNDLET_CONTENT_TRUST": value})
        assert "remote trust data does not exist" in done.stderr, value
    off = bob("pull", f"{repository}:1", env={"DOCKER_CONTENT_TRUST": "1", "RUNDLET_CONTENT_TRUST": "0"})
    assert "trust data" not in off.stderr
    on = bob("pull", "--disable-content-trust=false", f"{repository}:1", env={"DOCKER_CONTENT_TRUST": ""})
    assert "remote trust data does not exist" in on.stderr


@pytest.mark.skipif(not OFFICIAL, reason="needs an official docker")
def test_signers_of_both_kinds(engine: Engine, user: Callable[..., User], repository: str, tmp_path: Path) -> None:
    """One repository, administered and signed by turns with both programs on the same keys."""
    alice = user("alice")
    docker = alice.as_program(OFFICIAL)
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    alice.ok("push", name)
    for program, signer in ((alice, "ann"), (docker, "dora")):
        made = program.ok("trust", "key", "generate", signer, "--dir", str(tmp_path))
        assert made.endswith(f"Corresponding public key available: {tmp_path}/{signer}.pub")
        assert os.stat(tmp_path / f"{signer}.pub").st_mode & 0o777 == 0o600
    for program, signer in ((alice, "dora"), (docker, "ann")):
        added = program.ok("trust", "signer", "add", "--key", str(tmp_path / f"{signer}.pub"), signer, repository)
        assert added.endswith(f"Successfully added signer: {signer} to {repository}")
    for program in (docker, alice):
        assert program.ok("trust", "sign", name).endswith(f"Successfully signed {name}")
    for flags in (["--pretty"], []):
        ours, theirs = (program.ok("trust", "inspect", *flags, repository).splitlines() for program in (alice, docker))
        assert ours == theirs
    rows = json.loads(alice.ok("trust", "inspect", name))[0]
    assert [sorted(row["Signers"]) for row in rows["SignedTags"]] == [["ann", "dora"]]
    bob = user("bob")
    bob.ok("pull", name)
    assert "v1" in bob.notary_ok("list", repository)

    done = alice("trust", "signer", "remove", "nobody", repository)
    assert (done.returncode, f"no signer nobody for repository {repository}" in done.stderr) == (1, True)
    assert "Successfully removed ann" in alice.ok("trust", "signer", "remove", "--force", "ann", repository)
    left = json.loads(docker.ok("trust", "inspect", repository))[0]
    assert [signer["Name"] for signer in left["Signers"]] == ["dora"]
    alice.ok("trust", "sign", "--local", name)
    assert docker.ok("trust", "revoke", name) == f"Successfully deleted signature for {name}"
    engine.ok("tag", name, f"{repository}:v3")
    docker.ok("push", f"{repository}:v3")
    assert alice.ok("trust", "revoke", f"{repository}:v3") == f"Successfully deleted signature for {repository}:v3"
    assert bob("pull", f"{repository}:v3").stderr.strip() == "No valid trust data for v3"
    asked = alice("trust", "revoke", repository, stdin="n\n")
    assert (asked.returncode, asked.stdout.endswith("? [y/N] "), asked.stderr) == (0, True, "")
    assert "Successfully deleted signature" in alice.ok("trust", "revoke", "--yes", repository)
    _forget(engine, name, f"{repository}:v3")


def test_notary_signs_and_rotates_every_key(
    engine: Engine, user: Callable[..., User], repository: str, reader: str
) -> None:
    """Who has seen an early root follows every rotation; who comes new takes the last one."""
    need("notary")
    admin, early = user("admin"), user("early", reader)
    engine.ok("tag", "busybox", f"{repository}:v1")
    pushed = engine.ok("push", f"{repository}:v1")
    found = re.search(r"digest: sha256:(\w{64}) size: (\d+)", pushed)
    assert found
    admin.notary_ok("init", repository)
    admin.notary_ok("addhash", repository, "v1", found[2], "--sha256", found[1], "-p")
    early.ok("pull", f"{repository}:v1")
    for number, rotation in enumerate((["snapshot", "-r"], ["timestamp", "-r"], ["targets"], ["root"]), 2):
        admin.notary_ok("key", "rotate", repository, *rotation, stdin="yes\n")
        assert f"sha256:{found[1]}" in early.ok("pull", f"{repository}:v1"), rotation
        kept = json.loads((early.config / "trust/tuf" / repository / "metadata/root.json").read_bytes())
        # Docker looks for a new root only when something does not fit any more.
        assert kept["signed"]["version"] == number or reader, rotation
    assert f"sha256:{found[1]}" in user("late", reader).ok("pull", f"{repository}:v1")
    admin.notary_ok("remove", repository, "v1", "-p")
    assert early("pull", f"{repository}:v1").stderr.strip() == "No valid trust data for v1"
    _forget(engine, f"{repository}:v1")


def test_notary_reads_and_goes_on_with_what_rundlet_began(
    engine: Engine, user: Callable[..., User], repository: str
) -> None:
    need("notary")
    alice = user("alice")
    engine.ok("tag", "busybox", f"{repository}:v1")
    pushed = alice.ok("push", f"{repository}:v1")
    found = re.search(r"digest: sha256:(\w{64}) size: (\d+)", pushed)
    assert found
    assert found[1] in alice.notary_ok("lookup", repository, "v1")
    alice.notary_ok("addhash", repository, "v2", found[2], "--sha256", found[1], "-p")
    rows = json.loads(alice.ok("trust", "inspect", repository))[0]["SignedTags"]
    assert [row["SignedTag"] for row in rows] == ["v1", "v2"]
    # The snapshot's key comes to the user and goes back: both programs sign with either.
    for rotation, tag in ((["snapshot"], "v3"), (["snapshot", "-r"], "v4")):
        alice.ok("push", f"{repository}:v1")
        alice.notary_ok("key", "rotate", repository, *rotation)
        engine.ok("tag", "busybox", f"{repository}:{tag}")
        alice.ok("push", f"{repository}:{tag}")
        assert found[1] in alice.notary_ok("lookup", repository, tag)
    _forget(engine, *(f"{repository}:{tag}" for tag in ("v1", "v3", "v4")))


# ── keys and passphrases ─────────────────────────────────────────────────────────────────────────────────────

ASKING = {"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE": "", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE": ""}


def test_passphrases_are_asked_for_and_wrong_ones_three_times(
    engine: Engine, user: Callable[..., User], repository: str
) -> None:
    alice = user("alice")
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    answers = ["short", "root phrase", "other phrase", "root phrase", "root phrase", "team phrase", "team phrase"]
    made = alice("push", name, env=ASKING, stdin="".join(f"{line}\n" for line in answers))
    assert made.returncode == 0, made.stderr
    assert "Passphrase is too short" in made.stdout
    assert "Passphrases do not match" in made.stdout
    assert re.search(r"Enter passphrase for new repository key with ID \w{7}: ", made.stdout)
    again = alice("trust", "sign", name, env=ASKING, stdin="wrong\nworse\nteam phrase\n")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Passphrase incorrect. Please retry.") == 2
    given_up = alice("trust", "sign", name, env=ASKING, stdin="wrong\n" * 5)
    assert given_up.returncode == 1
    assert "maximum number of passphrase attempts exceeded" in given_up.stderr
    assert given_up.stdout.count("Enter passphrase") == 3
    silent = alice("trust", "sign", name, env=ASKING)
    assert "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE" in silent.stderr
    wrong = alice("trust", "sign", name)
    assert "does not open the key" in wrong.stderr
    assert all(done.returncode == 1 for done in (silent, wrong))
    _forget(engine, name)


def test_key_files(engine: Engine, user: Callable[..., User], repository: str, tmp_path: Path) -> None:
    alice = user("alice")
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    alice.ok("push", name)
    private = alice.config / "trust/private"
    files = {re.search(r"role: (\w+)", path.read_text())[1]: path for path in private.iterdir()}  # type: ignore[index]
    assert set(files) == {"root", "targets"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
    files["targets"].chmod(0o644)
    warned = alice("trust", "sign", name)
    assert warned.returncode == 0
    assert f"WARNING: others can read the private key {files['targets']}" in warned.stderr
    content = files["targets"].read_text()
    files["targets"].chmod(0o600)
    files["targets"].write_text(content.replace("A", "B"))
    broken = alice("trust", "sign", name)
    assert broken.returncode == 1
    assert len(broken.stderr.strip().splitlines()) == 1
    files["targets"].unlink()
    lost = alice("trust", "sign", name)
    assert lost.returncode == 1
    assert "could not find signing keys for remote repository" in lost.stderr
    _forget(engine, name)

    loose = tmp_path / "loose.key"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", loose], check=True)
    loose.chmod(0o644)
    refused = alice("trust", "key", "load", str(loose))
    assert f"private key file {loose} must not be readable or writable by others" in refused.stderr
    loose.chmod(0o600)
    loaded = alice.ok("trust", "key", "load", "--name", "carol", str(loose))
    assert loaded.endswith(f"Successfully imported key from {loose}")
    assert any("role: carol" in path.read_text() for path in private.iterdir())
    loose.write_text("rubbish")
    assert "is not a supported private key" in alice("trust", "key", "load", str(loose)).stderr
    for arguments in (["key", "generate", "UPPER"], ["signer", "add", "releases", repository]):
        assert alice("trust", *arguments).returncode == 1


# ── servers ──────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _mute_server() -> Iterator[str]:
    """Accepts connections and closes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_servers_that_do_not_serve(engine: Engine, user: Callable[..., User], place: Site, repository: str) -> None:
    """Never is there a fall-back to the unsigned image that the registry has."""
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    engine.ok("push", name)
    _forget(engine, name)
    bob = user("bob")
    stranger = user("stranger")
    (stranger.config / "tls" / place.address / "ca.crt").unlink()
    server = "DOCKER_CONTENT_TRUST_SERVER"
    with _mute_server() as mute:
        answers = {
            "contacting notary server": bob("pull", name, env={server: "https://127.0.0.1:1"}),
            "error contacting notary server: ": bob("pull", name, env={server: f"https://{mute}"}),
        }
    for words, done in answers.items():
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    for url in (f"http://{place.address}", "trust.example", "https://"):
        done = bob("pull", name, env={server: url})
        assert (done.returncode, done.stderr.strip()) == (1, f"valid https URL required for trust server, got {url}")
    assert "No such image" in engine.cli("inspect", name).stderr or engine.cli("inspect", name).returncode == 1


def test_what_was_trusted_serves_while_nobody_answers(
    engine: Engine, user: Callable[..., User], repository: str, reader: str
) -> None:
    """As with Docker's client; who has never seen the repository's keys gets nothing, nor for a tag that is new."""
    alice, bob = user("alice"), user("bob", reader)
    name = f"{repository}:v1"
    engine.ok("tag", "busybox", name)
    alice.ok("push", name)
    _forget(engine, name)
    nobody = {"DOCKER_CONTENT_TRUST_SERVER": "https://127.0.0.1:1"}
    assert bob("pull", name, env=nobody).returncode == 1
    signed = re.search("sha256:[0-9a-f]{64}", bob.ok("pull", name))
    assert signed is not None
    _forget(engine, name)
    again = bob("pull", name, env=nobody)
    assert again.returncode == 0, again.stderr
    assert "might not be the latest" in again.stderr
    assert f"{repository}@{signed[0]}: Pulling from t/" in again.stdout
    assert bob("pull", f"{repository}:v2", env=nobody).returncode == 1
    _forget(engine, name)


def test_a_trust_server_that_was_set_back(engine: Engine, tmp_path: Path) -> None:
    """To a state that was signed rightly and is old: who has seen the newer one refuses, with the words for it."""
    with site(tmp_path / "site") as place:
        alice, bob = (User(engine, place, tmp_path / name) for name in ("alice", "bob"))
        name = f"{place.address}/t/back:v1"
        database = place.registry.root / "registry.db"
        engine.ok("tag", "busybox", name)
        alice.ok("push", name)
        place.registry.stop()
        old = database.read_bytes()
        place.registry.start()
        alice.ok("trust", "sign", "--local", name)
        bob.ok("pull", name)
        place.registry.stop()
        for path in place.registry.root.glob("registry.db*"):
            path.unlink()
        database.write_bytes(old)
        place.registry.start()
        done = bob("pull", name)
        assert done.returncode == 1
        assert "potential malicious behavior - trust data version is lower than expected" in done.stderr
        assert User(engine, place, tmp_path / "new").ok("pull", name)
        _forget(engine, name)


def test_a_server_with_a_wrong_certificate(engine: Engine, user: Callable[..., User], place: Site) -> None:
    """``localhost`` is in its certificate and ``::ffff:…`` is not; and its authority is unknown under another name."""
    bob = user("bob")
    port = place.address.rpartition(":")[2]
    done = bob("pull", f"{place.address}/x:1", env={"DOCKER_CONTENT_TRUST_SERVER": f"https://localhost:{port}"})
    assert done.returncode == 1
    assert "error contacting notary server" in done.stderr
    assert "tls: " in done.stderr


def test_partial_uploads(place: Site, user: Callable[..., User], repository: str) -> None:
    """Cut in the middle, or not a form at all: nothing of it is kept."""
    port = int(place.address.rpartition(":")[2])
    context = ssl.create_default_context(cafile=str(place.authority))
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="root"\r\n\r\n{"signed"'
    for kind, length, end in (
        ("multipart/form-data; boundary=x", len(body) + 500, True),
        ("text/plain", len(body), False),
    ):
        head = (
            f"POST /v2/{repository}/_trust/tuf/ HTTP/1.1\r\nHost: {place.address}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        )
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="127.0.0.1") as raw:
            raw.sendall(head.encode() + body)
            if end:
                raw.shutdown(socket.SHUT_RDWR)
            else:
                assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert place.get(f"/v2/{repository}/_trust/tuf/root.json") is None


def test_a_registry_with_passwords(engine: Engine, tmp_path: Path, reader: str) -> None:
    """The trust server asks for the same login as the registry; who has none gets one line."""
    pytest.importorskip("bcrypt")
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    with site(tmp_path / "site", "--htpasswd", str(users)) as place:
        name = f"{place.address}/t/private:1"
        alice = User(engine, place, tmp_path / "alice", reader)
        engine.ok("tag", "busybox", name)
        alice.ok("login", "-u", USER, "--password-stdin", place.address, stdin=PASSWORD)
        assert "Successfully signed" in alice.ok("push", name)
        # The first to sign becomes the first signer, under the name of the login.
        engine.ok("tag", "busybox", f"{place.address}/t/own:1")
        engine.run_command(
            [*rundlet_command(), "push", f"{place.address}/t/own:1"], env={"DOCKER_CONFIG": str(alice.config)}
        )
        made = alice.ok("trust", "sign", f"{place.address}/t/own:1")
        assert f"Created signer: {USER}" in made
        _forget(engine, name)
        alice.ok("pull", name)
        bob = User(engine, place, tmp_path / "bob")
        done = bob("pull", name)
        assert done.returncode == 1
        assert "you are not authorized to perform this operation" in done.stderr
        _forget(engine, name, f"{place.address}/t/own:1")


def test_a_digest_that_the_registry_does_not_have(engine: Engine, user: Callable[..., User], repository: str) -> None:
    """Signed by mistake, or never pushed: the tag's own image is no substitute."""
    need("notary")
    admin, bob = user("admin"), user("bob")
    engine.ok("tag", "busybox", f"{repository}:v1")
    engine.ok("push", f"{repository}:v1")
    _forget(engine, f"{repository}:v1")
    admin.notary_ok("init", repository)
    admin.notary_ok("addhash", repository, "v1", "500", "--sha256", "ab" * 32, "-p")
    for command in (["pull"], ["run", "--rm"]):
        done = bob(*command, f"{repository}:v1")
        assert done.returncode in (1, 125)
        assert "sha256:" + "ab" * 32 in done.stderr
    assert engine.cli("inspect", f"{repository}:v1").returncode == 1


def test_the_command_line_loads_no_cryptography_without_trust(engine: Engine) -> None:
    code = (
        "import sys\nfrom rundlet.cli.main import main\nmain(['rundlet', 'run', '--rm', 'busybox', 'true'])\n"
        "loaded = [name for name in sys.modules if name.startswith(('cryptography', 'rundlet.trust', 'ssl'))]\n"
        "assert not loaded, loaded"
    )
    done = engine.run_command([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
