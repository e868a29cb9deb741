"""pflag's rules."""

import pytest

from rundlet.cli.flags import FlagError, HelpRequested, Parser

TABLE = (
    ("all", "a", "bool", "x"),
    ("interactive", "i", "bool", "x"),
    ("tty", "t", "bool", "x"),
    ("detach", "d", "bool", "x"),
    ("publish", "p", "list", "x"),
    ("last", "n", "int", "x", -1),
    ("sig-proxy", "", "bool", "x", True),
    ("memory", "m", "bytes", "x"),
    ("memory-swap", "", "swap", "x"),
    ("cpus", "", "decimal", "x"),
    ("network", "", "network", "x"),
    ("subnet", "", "strings", "x"),
    ("docker", "", "stringToString", "x"),
    ("time", "", "duration", "x"),
)


def parse(*words: str, interspersed: bool = True) -> tuple[Parser, list[str]]:
    parser = Parser(TABLE, interspersed=interspersed)
    return parser, parser.parse(words)


def test_flags_may_follow_arguments() -> None:
    parser, args = parse("one", "-a", "two", "--last=3", "--", "-t")
    assert args == ["one", "two", "-t"]
    assert parser.values["all"] is True
    assert parser.values["last"] == 3
    assert parser.values["tty"] is False
    assert list(parser.values.given) == ["all", "last"]


def test_a_command_that_stops_at_its_first_argument() -> None:
    parser, args = parse("-it", "image", "-a", "--all", interspersed=False)
    assert args == ["image", "-a", "--all"]
    assert parser.values["interactive"]
    assert parser.values["tty"]
    assert not parser.values["all"]


@pytest.mark.parametrize(
    "words", [["-p80:80"], ["-p", "80:80"], ["-p=80:80"], ["--publish", "80:80"], ["--publish=80:80"]]
)
def test_forms_of_a_value(words: list[str]) -> None:
    assert parse(*words)[0].values["publish"] == ["80:80"]


def test_bundled_letters_end_with_a_value() -> None:
    parser, _ = parse("-itdp80:80", "-n5")
    assert parser.values["publish"] == ["80:80"]
    assert parser.values["detach"]
    assert parser.values["last"] == 5


def test_booleans() -> None:
    parser, args = parse("--sig-proxy=false", "-a=0", "-t", "false")
    assert parser.values["sig-proxy"] is False
    assert parser.values["all"] is False
    assert parser.values["tty"] is True
    assert args == ["false"]


def test_old_names_of_flags() -> None:
    assert parse("--net", "host")[0].values["network"] == [{"Target": "host"}]


@pytest.mark.parametrize(
    ("words", "left", "deprecated"),
    [
        (("--help", "one"), ["one"], False),
        (("one", "--help=1", "-a"), ["one"], False),
        (("-ah",), [], True),
        (("-h", "--help=true"), [], True),
    ],
)
def test_a_question_for_help(words: tuple[str, ...], left: list[str], deprecated: bool) -> None:
    with pytest.raises(HelpRequested) as caught:
        parse(*words)
    assert (caught.value.words, caught.value.deprecated) == (left, deprecated)


def test_help_is_a_flag_like_others() -> None:
    assert parse("--help=false", "-a", "x")[1] == ["x"]
    for words, message in (
        (("--help", "--bogus"), "unknown flag: --bogus"),
        (("--help=x",), 'invalid argument "x" for "--help" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    ):
        with pytest.raises(FlagError) as caught:
            parse(*words)
        assert caught.value.message == message


def test_pairs_come_together() -> None:
    words = ("--docker", "host=a,b=c=d", "--docker=e=1,2")
    assert parse(*words)[0].values["docker"] == [("host", "a"), ("b", "c=d"), ("e", "1,2")]
    for text, said in (("", ""), ("host", "host"), ("a=b,c,d=e", "c")):
        with pytest.raises(FlagError) as caught:
            parse("--docker", text)
        assert caught.value.message.startswith(f'invalid argument "{text}" for "--docker" flag: ')
        assert caught.value.message.endswith(f"flag: {said} must be formatted as key=value")


def test_a_lone_dash_is_an_argument() -> None:
    assert parse("-", "-a")[1] == ["-"]


def test_values() -> None:
    parser, _ = parse(
        "-m", "1.5g", "--memory-swap", "-1", "--cpus", "1.5", "--subnet", "a,b", "--subnet=c", "--time=1m30s"
    )
    assert parser.values["memory"] == 1610612736
    assert parser.values["memory-swap"] == -1
    assert parser.values["cpus"] == 1_500_000_000
    assert parser.values["subnet"] == ["a", "b", "c"]
    assert parser.values["time"] == 90_000_000_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--x"], "unknown flag: --x"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-ax"], "unknown shorthand flag: 'x' in -x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---"], "bad flag syntax: ---"),
        (["-p"], "flag needs an argument: 'p' in -p"),
        (["-ap"], "flag needs an argument: 'p' in -p"),
        (["--publish"], "flag needs an argument: --publish"),
        (
            ["-n", "abc"],
            'invalid argument "abc" for "-n, --last" flag: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            ["--all=maybe"],
            'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (["-m", "abc"], 'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''),
        (["-m", "1x"], 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (["--time", "5"], 'invalid argument "5" for "--time" flag: time: missing unit in duration "5"'),
    ],
)
def test_complaints(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(*words)
    assert caught.value.message == message
    assert caught.value.code == 125


def test_help() -> None:
    with pytest.raises(HelpRequested) as caught:
        parse("--help")
    assert not caught.value.deprecated
    with pytest.raises(HelpRequested) as caught:
        parse("-h")
    assert caught.value.deprecated


@pytest.mark.parametrize(("text", "value"), [("0x10", 16), ("010", 8), ("+5", 5), ("-1", -1), ("1_000", 1000)])
def test_integers_in_go_syntax(text: str, value: int) -> None:
    assert parse(f"--last={text}")[0].values["last"] == value
