"""``rundlet`` and the official ``docker`` CLI, on the same Docker daemon: the same output, errors and exit codes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.dockerd import running_dockerd

pytestmark = pytest.mark.root

SOURCE = Path(__file__).parents[3] / "src"


def _official_client() -> str:
    """The docker CLI, when it is the version whose words are compared."""
    path = shutil.which("docker")
    if path is None:
        lacking("no docker CLI")
    assert path is not None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if "version 28." not in version:
        # Debian has no such package, so a bare machine can't be made to have it.
        pytest.skip(f"the docker CLI is not version 28: {version.strip()}")
    return path


class Pair:
    """Both command lines, on one daemon."""

    def __init__(self, docker: str, host: str, directory: str) -> None:
        self._docker = docker
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": directory,
            "DOCKER_HOST": host,
            "PYTHONPATH": str(SOURCE),
        }

    def run(self, program: list[str], words: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(
            [*program, *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def docker(self, *words: str) -> tuple[int, str, str]:
        return self.run([self._docker], list(words))

    def rundlet(self, *words: str) -> tuple[int, str, str]:
        code, out, error = self.run([sys.executable, "-m", "rundlet"], list(words))
        return code, out.replace("rundlet", "docker"), error.replace("rundlet", "docker")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    docker = _official_client()
    busybox = need("busybox")
    with running_dockerd(docker) as (host, directory):
        both = Pair(docker, host, str(directory))
        _image(both, busybox, str(directory))
        yield both


def _image(both: Pair, busybox: str, directory: str) -> None:
    root = Path(directory) / "image"
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("sh", "echo", "true", "cat", "env", "sleep", "id"):
        (root / "bin" / name).symlink_to("busybox")
    tar = f"{directory}/image.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", tar, "."], check=True)
    assert both.docker("import", tar, "bb")[0] == 0
    assert both.docker("run", "-d", "--name", "c1", "--network", "none", "bb", "true")[0] == 0
    assert both.docker("run", "-d", "--name", "s1", "--network", "none", "bb", "sleep", "10000")[0] == 0


SAME = """
inspect c1
inspect c1 nosuch
inspect --type image nosuch
inspect --type foo bb
inspect --type network bb
inspect -f '{{ if eq .State.Status "exited" }}E{{else}}N{{end}}' c1
inspect -f '{{.Foo}}' c1
inspect -f '{{.State.Foo}}' c1
inspect -f '{{index .Args 5}}' c1
inspect -f '{{len .Name .Path}}' c1
inspect -f '{{.HostConfig.Binds}} {{.Config.Labels}} {{json .State}}' c1
inspect bridge -f '{{.Name}}'
image inspect bb
image inspect -f '{{.Os}}/{{.Architecture}} {{.RootFS.Layers}}' bb
images
images -a --digests --no-trunc
images -q
images nosuch
images --format '{{json .}}'
image ls --format 'table {{.Repository}}\t{{.Size}}'
ps -a
ps -aq --no-trunc
ps -a -s
ps -n 1
ps -a --format 'table {{.ID}}\t{{.Names}}\t{{.Label "x"}}'
ps -a --format json
ps -a --format '{{json .}}'
network ls
network ls --no-trunc -q
network inspect bridge none
network create bridge
network create --subnet 10.0.0.0/24 --gateway 10.1.0.1 n1
network connect nosuch c1
volume ls
volume inspect v1
history bb
history --no-trunc -H=false bb
history --format '{{.ID}} {{.Size}} {{.Comment}}' bb
version --format '{{.Server.Version}}'
info --format '{{.ServerVersion}} {{.NCPU}}'
system df
logs c1
logs nosuch
logs --since foo c1
logs --tail x c1
top c1
top s1 -o pid
port c1
port c1 80
update c1
update --memory x s1
wait nosuch
wait c1
kill c1
pause c1
stop -t 1 nosuch
start nosuch
start -a c1 s1
attach c1
attach nosuch
rename c1
tag bb BAD
tag nosuch foo:2
rmi nosuch
rmi -f nosuch
rmi bb
pull BAD
pull a:b:c
pull -a x:1
commit nosuch
save nosuch -o /tmp/never.tar
save bb -o /nodir/x
load -i /nonexist
import /nonexist
cp c1
cp s1:/nonexist /tmp
cp /tmp/nosuch s1:/tmp
cp /etc/hostname s1:/nodir/x
cp s1:/etc/passwd /tmp/nodir/x
cp /etc/hostname /tmp/x
cp s1:/a s1:/b
exec s1 echo hi
exec s1 sh -c 'echo out; echo err >&2; exit 5'
exec s1 nosuch
exec -w /nosuch s1 true
exec -u nosuch s1 true
exec -d s1 nosuch
exec -it s1 true
exec c1 true
exec s1
exec --foo s1 x
run --network none --rm bb sh -c 'echo out; echo err >&2; exit 3'
run --network none --rm bb nosuch
run --network none --rm bb /etc/passwd
run --network none --rm bb /
run --network none --rm -w /tmp -u 5 bb sh -c 'pwd; id'
run --network none --rm -t bb echo tty
run --network none --rm -i bb cat
run --network none --rm --entrypoint echo bb hi there
run --rm=maybe bb
run -it bb true
run -p x bb true
run -p 99999999:80 bb true
run -p 1.2.3:80:80 bb true
run --expose x bb true
run -v a:b:c:d bb true
run -v /a:relative bb true
run --mount type=foo bb true
run --mount type=bind bb true
run --mount type=bind,source=/nonexist,target=/x bb true
run --mount type=bind,source=/tmp,target=/x,tmpfs-size=1 bb true
run --mount foo bb true
run --mount foo=bar bb true
run --cap-add foo bb true
run -e =x bb true
run --env-file /nonexist bb true
run --env-file /etc bb true
run --label =x bb true
run -m 1m bb true
run -m 1x bb true
run --cpus x bb true
run --cpus 100 bb true
run --ulimit x bb true
run --ulimit nofile=5:1 bb true
run --network nosuch bb true
run --network host --network-alias x bb true
run --restart foo bb true
run --restart on-failure:x bb true
run --rm --restart always bb true
run --name 'a b' bb true
run --name c1 bb true
run --pid foo bb true
run --ipc foo bb true
run --uts foo bb true
run --userns foo bb true
run --cgroupns foo bb true
run --mac-address foo bb true
run --device /dev/nonexist bb true
run --device a:b:c:d bb true
run --device-read-iops /dev/x:foo bb true
run --blkio-weight 70000 bb true
run --blkio-weight-device /dev/x:1 bb true
run --storage-opt a bb true
run --add-host foo bb true
run --add-host foo:bar bb true
run --health-interval x bb true
run --health-retries -1 bb true
run --health-cmd x --no-healthcheck bb true
run --pull foo bb true
run -a foo bb true
run -d -a stdout bb true
run --log-driver none --log-opt a=b bb true
run --security-opt foo bb true
run --security-opt seccomp=/nonexist bb true
run --sysctl foo bb true
run --gpus foo bb true
run --memory-swappiness 200 bb true
run --stop-signal FOO bb true
run --runtime foo bb true
run
run --x
run -Z bb
run -p
run --network
ps x
ps --x
ps -n abc
ps -f x
container
container foo
network --help
ps --help
exec --help
logs --help
cp --help
stats --no-stream nosuch
login
search
events --since x
-H tcp://127.0.0.1:1 ps
-H unix:///nonexist ps
-H foo://x ps
--context nosuch ps
"""


SPAN = re.compile(r"Less than a second|About an? \w+|\d+ (second|minute)s?")


def steady(result: tuple[int, str, str]) -> tuple[int, str, str]:
    """Without how long ago things happened and which of several containers is named: both change between two calls.

    (Docker names any one of the containers that use an image, in the order of a Go map.)
    """
    code, out, error = result
    error = re.sub(r"container [0-9a-f]{12} is using", "container ID is using", error)
    return code, re.sub(" +", " ", SPAN.sub("T", out)) if SPAN.search(out) else out, error


@pytest.mark.parametrize("line", SAME.strip().splitlines())
def test_the_same_words_and_codes(pair: Pair, line: str) -> None:
    words = shlex.split(line)
    official, ours = pair.docker(*words), pair.rundlet(*words)
    assert steady(ours) == steady(official)
