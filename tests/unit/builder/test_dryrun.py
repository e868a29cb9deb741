"""What ends a build before its first step: what a step would say, and nothing that no step would."""

from collections.abc import Mapping

import pytest

from rundlet.builder import dryrun
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.planning import Base, work_out
from rundlet.builder.request import BuildRequest
from rundlet.oci.config import ContainerConfig, ImageConfig
from rundlet.oci.platform import Platform

IMAGES = {
    "bare": ContainerConfig(),
    "signal": ContainerConfig(env=["S=HUP", "PATH=/bin"]),
    "working": ContainerConfig(working_dir="/work"),
    "triggers": ContainerConfig(on_build=["ARG GIVEN", "ENV S=$GIVEN"]),
    "nonsense": ContainerConfig(on_build=["NONSENSE x"]),
    "bad": ContainerConfig(on_build=["STOPSIGNAL NONE"]),
}
"""Those that are here; of ``unknown`` nobody knows a thing."""


def config_of(base: Base) -> ImageConfig | None:
    found = IMAGES.get(base.image)
    return None if found is None else ImageConfig(architecture="amd64", os="linux", config=found)


def mistake(
    text: str,
    arguments: Mapping[str, str | None] | None = None,
    contexts: Mapping[str, str] | None = None,
    targets: tuple[str, ...] = (),
) -> str:
    """Its line and words; "" for none."""
    request = BuildRequest(
        dockerfile=parse(text.encode()), arguments=arguments or {}, contexts=contexts or {}, buildkit=True
    )
    found = dryrun.mistake(work_out(request, targets), config_of)
    return "" if found is None else f"{found.line}: {found.why}"


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch\nUSER ${PATH:?none}\n",
        "FROM bare\nSTOPSIGNAL ${PATH:+TERM}\n",
        "FROM signal\nSTOPSIGNAL $S\nUSER ${PATH#/bin}${PATH:?}\n",
        "FROM bare\nARG A=1 B=${A:?}\nUSER ${B:?}\n",
        "FROM bare\nARG A\nUSER ${A:-x}\n",
        # A variable of the image goes before an argument.
        "FROM signal\nARG S=NONE\nSTOPSIGNAL $S\n",
        "FROM unknown\nARG S=NONE\nSTOPSIGNAL $S\n",
        # One that the image may have.
        "FROM unknown\nSTOPSIGNAL ${S:?}\n",
        "FROM unknown\nARG A=${S:?}\nENV B=${A:?}\nUSER ${B:?}\n",
        "FROM unknown\nENV $K=1\nENV V=2\nENV W=$V${X:?}\nUSER ${W:?}\n",
        "FROM unknown\nENV PATH=$PATH:/x\nUSER ${PATH:?}\n",
        "FROM unknown\nENV S=NONE\nENV S=${X:?}\nSTOPSIGNAL $S\n",
        "FROM unknown AS a\nFROM a\nSTOPSIGNAL ${S:?}\n",
        # What a stage before has declared, or left for those who stand on it.
        "FROM bare AS a\nARG S=INT\nFROM a\nSTOPSIGNAL $S\n",
        "FROM bare AS a\nONBUILD ENV S=INT\nFROM a\nSTOPSIGNAL $S\n",
        "FROM files\nUSER ${PATH:?}\n",
        "ARG TOP=INT\nFROM bare\nARG TOP\nSTOPSIGNAL $TOP\n",
        # A mount without a target is where the work is.
        "FROM bare\nARG D=w\nWORKDIR $D\nRUN --mount=type=tmpfs true\n",
        "FROM working\nRUN --mount=type=tmpfs true\n",
        "FROM working AS a\nFROM a\nRUN --mount=type=tmpfs true\n",
        "FROM unknown\nRUN --mount=type=tmpfs true\n",
        "FROM unknown\nADD --checksum=sha256:00 $WHERE /\n",
        "FROM bare\nADD --checksum=sha256:00 http://x/f https://x/r.git /\n",
    ],
)
def test_what_works_is_not_refused(text: str) -> None:
    assert mistake(text, contexts={"files": "input:files"}) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM bare\nUSER ${A:?missing}\n", '2: failed to process "${A:?missing}": A: missing'),
        ("FROM bare\nARG B=${A:?missing} A=1\n", '2: failed to process "${A:?missing}": A: missing'),
        ("ARG TOP=INT\nFROM bare\nUSER ${TOP:?missing}\n", '3: failed to process "${TOP:?missing}": TOP: missing'),
        ("FROM bare\nARG S=NONE\nSTOPSIGNAL $S\n", "3: invalid signal: NONE"),
        ("FROM files\nUSER ${A:?missing}\n", '2: failed to process "${A:?missing}": A: missing'),
        # Whatever the image has.
        ("FROM unknown\nSTOPSIGNAL NONE\n", "2: invalid signal: NONE"),
        ("FROM unknown\nENV S=NONE\nSTOPSIGNAL $S\n", "3: invalid signal: NONE"),
        # A base's triggers are where FROM is.
        ("ARG X\nFROM bad\nRUN true\n", "2: invalid signal: NONE"),
        ("FROM triggers\nSTOPSIGNAL ${S:-NONE}\n", "2: invalid signal: NONE"),
        ("FROM bare AS a\nONBUILD USER ${A:?missing}\nFROM a\n", '3: failed to process "${A:?missing}": A: missing'),
        ("FROM bare\nRUN true\nRUN --mount=type=tmpfs true\n", '3: invalid mount target "/"'),
        ("FROM bare\nARG U=http://x/f\nRUN true\nCOPY a $U /\n", "4: source can't be a URL for COPY"),
        ("FROM unknown\nADD --checksum=sha256:00 f /\n", "2: checksum requires HTTP(S) or Git sources"),
        ("FROM working\nWORKDIR ..\nRUN --mount=type=tmpfs true\n", '3: invalid mount target "/"'),
        ("ARG X\nFROM nonsense\n", "2: unknown instruction: NONSENSE"),
    ],
)
def test_what_a_step_would_refuse_is_found(text: str, words: str) -> None:
    assert mistake(text, contexts={"files": "input:files"}) == words


def test_given_arguments_count() -> None:
    text = "FROM triggers\nARG A=${B:?}\nSTOPSIGNAL $S\n"
    assert mistake(text, {"GIVEN": "INT", "A": "x"}) == ""
    assert mistake(text, {"GIVEN": "NONE", "A": "x"}) == "3: invalid signal: NONE"


def test_the_stages_that_are_asked_for_are_looked_at() -> None:
    text = "FROM bare AS a\nSTOPSIGNAL NONE\nFROM bare\nRUN true\n"
    assert mistake(text) == ""
    assert mistake(text, targets=("0", "1")) == "2: invalid signal: NONE"


def test_the_images_platform_is_the_stages() -> None:
    asked: list[Base] = []
    text = "FROM bare\nFROM --platform=linux/s390x bare\nFROM scratch\nCOPY --from=0 / /\nCOPY --from=1 / /\n"

    def config(base: Base) -> None:
        asked.append(base)

    request = BuildRequest(dockerfile=parse(text.encode()), platform=Platform.parse("linux/arm64"), buildkit=True)
    assert dryrun.mistake(work_out(request), config) is None
    assert [(str(base.platform), base.given) for base in asked] == [("linux/arm64", False), ("linux/s390x", True)]
