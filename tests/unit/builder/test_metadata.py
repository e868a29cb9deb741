"""Instructions that change the configuration only."""

import pytest

from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse_instruction
from rundlet.builder.metadata import NOP, apply, go_duration, working_directory
from rundlet.builder.state import StageState
from rundlet.oci.config import ContainerConfig, ImageConfig


def state(**fields: object) -> StageState:
    return StageState(ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(**fields)))  # type: ignore[arg-type]


def after(before: StageState, text: str) -> tuple[ContainerConfig, str]:
    instruction = parse_instruction(text).expanded(Expander(before.environment()))
    change = apply(before, instruction)
    assert change is not None
    return change.state.container, change.said.removeprefix(f"{NOP} ")


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("ENV A=1 B='2 3'", " ENV A=1 B=2 3"),
        ("LABEL x=y", " LABEL x=y"),
        ("EXPOSE 80 53/udp", " EXPOSE 53/udp 80"),
        ("USER app", " USER app"),
        ('CMD ["sh", "-c"]', ' CMD ["sh" "-c"]'),
        ("CMD echo hi", ' CMD ["/bin/sh" "-c" "echo hi"]'),
        ("ENTRYPOINT []", " ENTRYPOINT []"),
        ("VOLUME /a /b", " VOLUME [/a /b]"),
        ("STOPSIGNAL 9", " STOPSIGNAL 9"),
        ("ONBUILD RUN x", " ONBUILD RUN x"),
        ('SHELL ["/bin/bash", "-c"]', " SHELL [/bin/bash -c]"),
        ("HEALTHCHECK NONE", ' HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}'),
        ("MAINTAINER me", " MAINTAINER me"),
    ],
)
def test_history(text: str, comment: str) -> None:
    assert after(state(), text)[1] == comment


def test_variables_keep_their_place() -> None:
    config, _ = after(state(env=["PATH=/bin", "A=1"]), "ENV B=$A A=2 C=$A")
    assert config.env == ["PATH=/bin", "A=2", "B=1", "C=1"]


def test_an_entry_point_takes_the_base_images_command_away() -> None:
    before = state(cmd=["base"])
    assert after(before, 'ENTRYPOINT ["e"]')[0].cmd is None
    change = apply(before, parse_instruction('CMD ["own"]'))
    assert change is not None
    assert after(change.state, 'ENTRYPOINT ["e"]')[0].cmd == ["own"]


def test_the_shell_of_a_stage() -> None:
    change = apply(state(), parse_instruction('SHELL ["/x", "-y"]'))
    assert change is not None
    assert after(change.state, "CMD z")[0].cmd == ["/x", "-y", "z"]


@pytest.mark.parametrize(
    ("before", "path", "directory"),
    [("", "a", "/a"), ("/a", "b/../c", "/a/c"), ("/a", "/b", "/b"), ("/a", "../../..", "/"), ("/", "//x//", "/x")],
)
def test_working_directories(before: str, path: str, directory: str) -> None:
    assert working_directory(state(working_dir=before), path) == directory


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(0, "0s"), (5 * 10**9, "5s"), (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (1_500_000, "1.5ms"), (7, "7ns")],
)
def test_durations(time_ns: int, text: str) -> None:
    assert go_duration(time_ns) == text
