"""``--change``: every instruction, and Docker's words for what is none."""

import pytest

from rundlet.image.changes import apply_changes
from rundlet.image.errors import BadChangeError
from rundlet.image.words import duration_ns, expand, split_raw
from rundlet.oci.config import ContainerConfig, Healthcheck

BASE = ContainerConfig(env=["PATH=/bin"], cmd=["old"], working_dir="/srv")


def change(*changes: str) -> ContainerConfig:
    return apply_changes(BASE, changes)


def test_commands() -> None:
    assert change('CMD ["/bin/web", "-p"]').cmd == ["/bin/web", "-p"]
    assert change("CMD echo $PATH").cmd == ["/bin/sh", "-c", "echo $PATH"]
    entry = change('ENTRYPOINT ["/init"]')
    assert (entry.entrypoint, entry.cmd) == (["/init"], None)
    both = change('CMD ["a"]', 'ENTRYPOINT ["/init"]')
    assert (both.entrypoint, both.cmd) == (["/init"], ["a"])


def test_environment_and_labels() -> None:
    changed = change("ENV PATH=$PATH:/opt A='b c' D=\"$A\"", "ENV OLD some words", 'LABEL a=1 "b c"="d e"')
    assert changed.env == ["PATH=/bin:/opt", "A=b c", "D=", "OLD=some words"]
    assert changed.labels is not None
    assert changed.labels["a"] == "1"


def test_the_rest() -> None:
    changed = change(
        "EXPOSE 80 53/udp 9000-9001",
        "VOLUME /data /more",
        'VOLUME ["/json"]',
        "WORKDIR app",
        "USER 1000:1000",
        "STOPSIGNAL SIGQUIT",
        "ONBUILD RUN make",
        "HEALTHCHECK --interval=5s --retries=3 CMD curl -f localhost",
    )
    assert sorted(changed.exposed_ports or ()) == ["53/udp", "80/tcp", "9000/tcp", "9001/tcp"]
    assert sorted(changed.volumes or ()) == ["/data", "/json", "/more"]
    assert changed.working_dir == "/srv/app"
    assert (changed.user, changed.stop_signal, changed.on_build) == ("1000:1000", "SIGQUIT", ["RUN make"])
    assert changed.healthcheck == Healthcheck(test=["CMD-SHELL", "curl -f localhost"], interval=5 * 10**9, retries=3)
    assert BASE.volumes is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RUN true", "RUN is not a valid change command"),
        ("BOGUS x", "BOGUS is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("EXPOSE http", "invalid containerPort: http"),
        ("EXPOSE 70000", "invalid range"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("HEALTHCHECK --interval=never CMD x", 'time: invalid duration "never"'),
        ("ENV A", "ENV must have two arguments"),
        ('ENV A="x', "looking for matching double-quote"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(BadChangeError, match=words) as caught:
        change(text)
    assert caught.value.status == 400


def test_words() -> None:
    environment = {"A": "1", "E": ""}
    assert expand("${A}$A-${B:-x}${E:+y}${A+z}", environment) == "11-xz"
    assert expand(r"\$A '$A' \"q\"", environment) == '$A $A "q"'
    assert split_raw(r"a=b\ c 'd e' f") == [r"a=b\ c", "'d e'", "f"]
    assert (duration_ns("1m30s"), duration_ns("1.5h"), duration_ns("5"), duration_ns("")) == (
        90 * 10**9,
        5400 * 10**9,
        None,
        None,
    )
