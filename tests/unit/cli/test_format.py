"""Sizes, spans of time, tables, times, ports."""

import time
from typing import Any

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.format import containers, images
from rundlet.cli.format.containers import display_ports
from rundlet.cli.format.info import info_text
from rundlet.cli.format.natural import natural
from rundlet.cli.format.points import timestamp
from rundlet.cli.format.rows import print_rows
from rundlet.cli.format.table import ellipsis, layout
from rundlet.cli.format.times import go_timestamp, parse_rfc3339
from rundlet.cli.format.units import bytes_size, human_duration, human_size


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 3, "0B"),
        (999, 3, "999B"),
        (1000, 3, "1kB"),
        (1_980_000, 3, "1.98MB"),
        (1_093_000_000, 3, "1.09GB"),
        (1_982_000, 4, "1.982MB"),
    ],
)
def test_human_size(size: int, digits: int, text: str) -> None:
    assert human_size(size, digits) == text


def test_bytes_size() -> None:
    assert bytes_size(25276502016) == "23.54GiB"
    assert bytes_size(643072) == "628KiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3540, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_table() -> None:
    rows = [("NAME", "X", "LAST"), ("a-long-name", "", "1"), ("b", "y", "a longer last cell")]
    assert layout(rows) == (
        "NAME          X         LAST\na-long-name             1\nb             y         a longer last cell\n"
    )


def test_ellipsis() -> None:
    assert ellipsis("abcdef", 6) == "abcdef"
    assert ellipsis("abcdefg", 6) == "abcde…"


def test_times() -> None:
    assert parse_rfc3339("1970-01-01T00:00:00Z") == 0
    assert parse_rfc3339("2024-02-29T12:00:00+02:00") == 1709200800
    assert parse_rfc3339("2026-11-22T15:19:18.5Z") == 1795360758.5


def test_times_of_the_api_as_go_prints_them() -> None:
    assert go_timestamp("2026-01-02T03:04:05.678900Z") == "2026-01-02 03:04:05.6789 +0000 UTC"
    assert go_timestamp("2026-01-02T03:04:05.000Z") == "2026-01-02 03:04:05 +0000 UTC"
    assert go_timestamp("2026-01-02T03:04:05+02:00") == "2026-01-02 03:04:05 +0200 +0200"
    assert go_timestamp("") == ""


def test_raw_rows(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"ID": ("ID", lambda item, full: item[0]), "Ports": ("PORTS", lambda item, full: item[1])}
    raw = (("container_id", "ID"), ("ports", "Ports"))
    context: Any = None
    print_rows(context, [("a", ""), ("b", "80/tcp")], fields, ("ID",), template="raw", raw=raw)
    assert capsys.readouterr().out == "container_id: a\nports:\n\ncontainer_id: b\nports: 80/tcp\n\n"
    print_rows(context, [("a", ""), ("b", "")], fields, ("ID",), template="raw", raw=raw, quiet="ID")
    assert capsys.readouterr().out == "container_id: a\ncontainer_id: b\n"
    print_rows(context, [("a", "")], fields, ("ID",), template="raw")
    assert capsys.readouterr().out == "raw\n"


def test_timestamps_for_the_api() -> None:
    assert timestamp("") == ""
    assert timestamp("1136073600.5") == "1136073600.5"
    assert abs(int(timestamp("10m")) - (time.time() - 600)) < 5
    assert timestamp("2013-01-02T13:23:37Z") == "1357133017.000000000"
    assert timestamp("2026-01-02T13:23:37.123456789Z") == "1767360217.123456789"
    assert timestamp("2026-01-02T13:23:37.5+01:00") == "1767356617.500000000"
    assert timestamp("2026-01-02T13Z") == timestamp("2026-01-02T14:00+01:00") == "1767358800.000000000"
    assert timestamp("2026-01-02Z") == "1767312000.000000000"
    assert timestamp("0") == "0"
    local = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    assert timestamp("2026-01-02T03:04:05.25") == f"{local:.0f}.250000000"
    assert timestamp("2026-01-02T3") == f"{local - 4 * 60 - 5:.0f}.000000000"
    assert timestamp("2026-01-02") == f"{local - 3 * 3600 - 4 * 60 - 5:.0f}.000000000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", 'failed to parse value as time or duration: "soon"'),
        ("1.2.3", 'failed to parse value as time or duration: "1.2.3"'),
        ("-1", 'parsing time "-1" as "2006-01-02": cannot parse "-1" as "2006"'),
        ("2006-1-2", 'parsing time "2006-1-2" as "2006-01-02": cannot parse "1-2" as "01"'),
        ("2006-13-02", 'parsing time "2006-13-02": month out of range'),
        ("2006-02-29", 'parsing time "2006-02-29": day out of range'),
        ("2006-01-02x", 'parsing time "2006-01-02x": extra text: "x"'),
        ("2006-01-02T15:04:0Z", 'as "2006-01-02T15:04:05Z07:00": cannot parse "0Z" as "05"'),
        ("2006-01-02T15:04+1:00", 'as "2006-01-02T15:04Z07:00": cannot parse "+1:00" as "Z07:00"'),
        ("2006-01-02T15:04.5", 'as "2006-01-02T15:04:05.999999999": cannot parse ".5" as ":"'),
    ],
)
def test_times_that_there_are_not(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        timestamp(text)
    assert str(refused.value).endswith(message)


def test_ports() -> None:
    ports = [
        {"PrivatePort": 80, "PublicPort": 8080, "IP": "0.0.0.0", "Type": "tcp"},
        {"PrivatePort": 80, "PublicPort": 8080, "IP": "::", "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
        {"PrivatePort": 9000, "PublicPort": 9000, "IP": "0.0.0.0", "Type": "udp"},
        {"PrivatePort": 9001, "PublicPort": 9001, "IP": "0.0.0.0", "Type": "udp"},
    ]
    assert display_ports(ports) == "443/tcp, 0.0.0.0:9000-9001->9000-9001/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"


ROWS: Any = {"Name": ("NAME", lambda item, full: item), "Platform": ("PLATFORM", lambda item, full: None)}


def rows_shown(capsys: pytest.CaptureFixture[str], template: str) -> str:
    def label(item: str, name: str) -> str:
        return f"{item}-{name}"

    methods = {"Label": label}
    print_rows(None, ["c"], ROWS, ("Name",), template=template, methods=methods, type_name="x.row")  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}} {{.Platform}} {{json .}}", 'c <nil> {"Name":"c","Platform":null}\n'),
        ('table {{.Name}}\t{{.Label "x.y-z"}}', "NAME      y z\nc         c-x.y-z\n"),
        ("table {{json .}}", '\n{"Name":"c","Platform":null}\n'),
        ("table {{upper .Name}}", "NAME\nC\n"),
    ],
)  # fmt: skip
def test_rows_through_templates(capsys: pytest.CaptureFixture[str], template: str, text: str) -> None:
    assert rows_shown(capsys, template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nope}}", "at <.Nope>: can't evaluate field Nope in type *x.row"),
        ("{{.Label}}", "at <.Label>: wrong number of args for Label: want 1 got 0"),
        ("{{.Label 5}}", "at <5>: expected string; found 5"),
    ],
)
def test_what_rows_have_not(capsys: pytest.CaptureFixture[str], template: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        rows_shown(capsys, template)
    assert caught.value.message.endswith(message)


def test_names_are_listed_by_the_numbers_in_them() -> None:
    assert sorted(["b10", "b9", "51a", "9a", "a"], key=natural) == ["9a", "51a", "a", "b9", "b10"]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("é日本", 4, "é日…"),
    ],
)
def test_letters_of_east_asia_are_two_wide(text: str, width: int, shown: str) -> None:
    assert ellipsis(text, width) == shown
    assert layout([("日本語日本語", "x"), ("a", "x")], minimum=0) == "日本語日本語   x\na              x\n"


def test_networks_of_a_container_are_in_order() -> None:
    assert containers.FIELDS["Networks"][1]({"NetworkSettings": {"Networks": {"b": {}, "a": {}}}}, False) == "a,b"


def test_what_an_image_has_alone() -> None:
    for shared, unique in ((-1, "N/A"), (400, "600B"), (None, "N/A")):
        assert images.FIELDS["UniqueSize"][1]({"item": {"Size": 1000, "SharedSize": shared}}, False) == unique


def test_info_of_another_engine() -> None:
    told = {"DefaultAddressPools": [{"Base": "10.0.0.0/8", "Size": 24}], "ProductLicense": "Community"}
    text = info_text({"Version": "1", "Context": "default", "Plugins": []}, told, debug=False)
    assert " Product License: Community\n Default Address Pools:\n   Base: 10.0.0.0/8, Size: 24\n" in text
