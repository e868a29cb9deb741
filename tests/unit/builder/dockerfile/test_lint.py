"""Each rule of ``build --check`` on a file that breaks it and one that doesn't."""

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.lint import Settings, Surroundings, check, fails
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.ignore import Patterns

BAD = {
    "StageNameCasing": ("FROM alpine AS Build", 1, "Stage name 'Build' should be lowercase"),
    "FromAsCasing": ("FROM alpine as build", 1, "'as' and 'FROM' keywords' casing do not match"),
    "NoEmptyContinuation": ("FROM alpine\nRUN a \\\n\n b", 4, "Empty continuation line"),
    "ConsistentInstructionCasing": (
        "FROM alpine\nRUN a\nrun b",
        3,
        "Command 'run' should match the case of the command majority (uppercase)",
    ),
    "DuplicateStageName": (
        "FROM alpine AS a\nFROM alpine AS a",
        2,
        'Duplicate stage name "a", stage names should be unique',
    ),
    "ReservedStageName": (
        "FROM alpine AS scratch",
        1,
        'Stage name should not use the same name as reserved stage "scratch"',
    ),
    "JSONArgsRecommended": (
        "FROM alpine\nCMD npm start",
        2,
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    ),
    "MaintainerDeprecated": (
        "FROM alpine\nMAINTAINER me",
        2,
        "Maintainer instruction is deprecated in favor of using label",
    ),
    "UndefinedArgInFrom": (
        "ARG VERSION=1\nFROM alpine:${VERSOIN:-1}$VERSOIN",
        2,
        "FROM argument 'VERSOIN' is not declared (did you mean VERSION?)",
    ),
    "WorkdirRelativePath": (
        "FROM alpine\nWORKDIR app",
        2,
        'Relative workdir "app" can have unexpected results if the base image changes',
    ),
    "UndefinedVar": ("FROM scratch\nENV PATH=$PAHT:/x", 2, "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
    "MultipleInstructionsDisallowed": (
        'FROM alpine\nCMD ["a"]\nCMD ["b"]',
        2,
        "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
    ),
    "LegacyKeyValueFormat": (
        "FROM alpine\nENV a b",
        2,
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    "RedundantTargetPlatform": (
        "FROM --platform=$TARGETPLATFORM alpine",
        1,
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    "SecretsUsedInArgOrEnv": (
        "FROM alpine\nARG AWS_SECRET_ACCESS_KEY",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ARG "AWS_SECRET_ACCESS_KEY")',
    ),
    "InvalidDefaultArgInFrom": (
        "ARG TAG\nFROM busybox:${TAG}",
        2,
        "Default value for ARG busybox:${TAG} results in empty or invalid base image name",
    ),
    "FromPlatformFlagConstDisallowed": (
        "FROM --platform=linux/amd64 alpine",
        1,
        'FROM --platform flag should not use constant value "linux/amd64"',
    ),
    "CopyIgnoredFile": (
        "# check=experimental=CopyIgnoredFile\nFROM alpine\nCOPY ./tmp/x .",
        3,
        'Attempting to Copy file "./tmp/x" that is excluded by .dockerignore',
    ),
    "InvalidDefinitionDescription": (
        "# check=experimental=all\n\n# what a is\nARG a b\nFROM alpine\n# base is it\nFROM alpine AS base",
        4,
        "Comment for ARG should follow the format: `# <arg_key> <description>`",
    ),
    "ExposeProtoCasing": (
        "FROM alpine\nEXPOSE 80/TcP",
        2,
        "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
    ),
    "ExposeInvalidFormat": (
        "FROM alpine\nEXPOSE 127.0.0.1:80:80",
        2,
        "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
    ),
}

GOOD = [
    "ARG VERSION=1\nFROM alpine:${VERSION} AS build\nFROM build",
    "from alpine as build\nrun a",
    'FROM alpine\nCMD ["a"]\nENTRYPOINT ["b"]',
    'FROM alpine\nSHELL ["/bin/bash", "-c"]\nCMD npm start',
    "FROM alpine\nCMD []",
    "FROM alpine AS base\nWORKDIR /app\nWORKDIR sub\nFROM base\nWORKDIR further",
    "FROM alpine\nWORKDIR $somewhere",
    "FROM scratch\nARG a\nENV b=$a PATH=$PATH:/y\nCOPY $b /z",
    'FROM alpine AS base\nSHELL ["/bin/bash", "-c"]\nFROM base\nCMD npm start',
    "FROM scratch AS base\nONBUILD ENV a=b\nFROM base\nENV c=$a",
    "FROM unknown-base\nENV a=$anything",
    "FROM alpine\nENV a=b\nLABEL c=d",
    "FROM --platform=$BUILDPLATFORM alpine",
    "FROM --platform=linux/arm64 alpine AS build-arm64",
    "FROM alpine\nARG PUBLIC_KEY\nENV MONKEY=1 TOKENS=2",
    "ARG TAG=1\nFROM busybox:${TAG}\nFROM busybox${TAG:-x}",
    "FROM alpine\nCOPY other *.tmp https://x/tmp/y $tmp /\nCOPY --from=0 tmp /",
    "FROM alpine\nEXPOSE 80/tcp 90 $port/udp",
    "FROM alpine\nCOPY ./tmp/x .",
    "# something\nFROM alpine AS base",
    "# check=experimental=all\n\n# base is it\nFROM alpine AS base\n# not about it\n\nARG a\n# any\nFROM alpine",
]


def rules(text: str) -> list[tuple[str, int, str]]:
    around = Surroundings(ignored=Patterns(["tmp"]).ignored)
    return [(one.rule, one.position.line, one.text) for one in check(parse(text.encode()), around)]


@pytest.mark.parametrize("rule", BAD)
def test_broken(rule: str) -> None:
    text, line, message = BAD[rule]
    assert (rule, line, message) in rules(text)


@pytest.mark.parametrize("text", GOOD)
def test_kept(text: str) -> None:
    assert rules(text) == []


def test_variables_of_a_base_image_that_is_known() -> None:
    around = Surroundings(None, lambda name: frozenset(("PYTHON_VERSION",)) if name == "python" else None)
    text = b"FROM python\nENV a=$PYTHON_VERSION c=$PYTHON_VERSON"
    assert [one.text for one in check(parse(text), around)] == [
        "Usage of undefined variable '$PYTHON_VERSON' (did you mean $PYTHON_VERSION?)"
    ]


def test_platforms_of_base_images() -> None:
    around = Surroundings(base_platform=lambda _name, wanted: None if wanted else ("linux/arm64", "linux/amd64"))
    text = b"FROM --platform=$BUILDPLATFORM b\nFROM b\nFROM scratch\nFROM b AS c\nFROM c"
    found = [(one.position.line, one.text) for one in check(parse(text), around)]
    message = 'Base image b was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    assert found == [(2, message), (4, message)]


@pytest.mark.parametrize("name", ["linux", "for-amd64", "my_amd64_stage"])
def test_a_stage_that_is_called_as_its_platform_is_for_that(name: str) -> None:
    rules = [one.rule for one in check(parse(f"FROM --platform=linux/amd64 scratch AS {name}\n".encode()))]
    assert "FromPlatformFlagConstDisallowed" not in rules


def test_what_a_stage_sets_its_children_see() -> None:
    text = b"FROM scratch AS a\nENV x=1\nFROM a\nENV y=$x z=$w"
    assert [one.text for one in check(parse(text))] == ["Usage of undefined variable '$w' (did you mean $x?)"]


def test_the_directive_leaves_rules_out() -> None:
    text = b"# check=skip=JSONArgsRecommended,stagenamecasing;error=true\nFROM alpine AS A\nCMD a\nENV b c"
    file = parse(text)
    found = check(file)
    assert [one.rule for one in found] == ["LegacyKeyValueFormat"]
    assert fails(file, found)
    assert not fails(file, [])
    assert check(parse(b"# check=skip=all\nFROM alpine\nCMD a")) == []
    assert not fails(parse(b"FROM alpine\nCMD a"), found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("what", 'invalid check option "what"'),
        ("skip", 'invalid check option "skip"'),
        ("skp=all", 'invalid check option "skp"'),
        ("error=perhaps", 'failed to parse check option "error=perhaps": strconv.ParseBool: parsing "perhaps": '),
    ],
)
def test_bad_directives(text: str, why: str) -> None:
    with pytest.raises(DockerfileError, match=f"^failed to parse check options: {why}"):
        Settings.parse(text)


def test_a_rule_names_instructions_as_they_are_written() -> None:
    text = 'from alpine\nenv a b\ncmd ["x"]\ncmd ["y"]\nentrypoint z'
    assert [(line, message) for _, line, message in rules(text)] == [
        (2, '"env key=value" should be used instead of legacy "env key value" format'),
        (
            3,
            "Multiple cmd instructions should not be used in the same stage because only the last one will be used",
        ),
        (5, "JSON arguments recommended for entrypoint to prevent unintended behavior related to OS signals"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch\nENV a=${b:-c}", [("UndefinedVar", 2, "Usage of undefined variable '$b'")]),
        ("FROM scratch\nENV a=$HTTP_PROXY", [("UndefinedVar", 2, "Usage of undefined variable '$HTTP_PROXY'")]),
        (
            'FROM alpine\nCMD a b\nSHELL ["x"]',
            [
                (
                    "JSONArgsRecommended",
                    2,
                    "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
                )
            ],
        ),
        (
            "FROM --platform=${TARGETPLATFORM:-x} alpine",
            [
                (
                    "RedundantTargetPlatform",
                    1,
                    "Setting platform to predefined ${TARGETPLATFORM:-x} in FROM is redundant as this is the default "
                    "behavior",
                )
            ],
        ),
        (
            "FROM BusyBox",
            [
                (
                    "InvalidDefaultArgInFrom",
                    1,
                    "Default value for ARG BusyBox results in empty or invalid base image name",
                )
            ],
        ),
    ],
)
def test_rules_reach_as_far_as_dockers(text: str, expected: list[tuple[str, int, str]]) -> None:
    assert rules(text) == expected


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("FROM alpine As build", ["FromAsCasing"]),
        ("from alpine as build", []),
        # Who writes FROM in mixed letters hears of that alone.
        ("FroM alpine as build", ["ConsistentInstructionCasing"]),
    ],
)
def test_the_letters_of_as(line: str, rules: list[str]) -> None:
    assert [one.rule for one in check(parse(line.encode()))] == rules
