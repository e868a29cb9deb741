"""Templates over values of Go types: what was decoded by a schema prints, compares and fails as in Go."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rundlet.util.template import TemplateError, compile_template
from rundlet.util.template.decoding import decode, raw_numbers
from rundlet.util.template.schema import Schema
from rundlet.util.template.times import (
    DURATION_METHODS,
    TIME_METHODS,
    duration_text,
    format_time,
    go_date,
    time_text,
)

SCHEMA = Schema(
    """\
time.Duration int64
json.Number string
web.Mode string
web.Port string
web.Ports map[web.Port][]web.Binding
web.Words []string
web.Binding struct
 HostIP string HostIp
 HostPort string
web.Health struct
 Status string
 Log []*web.Binding
web.Base struct
 ID string Id
 Secret string -
web.Limits struct
 Memory int64
 CPUs int64 NanoCpus
web.Limit struct
 Name string
 Most int64
web.Site struct
 +*web.Base
 Created time.Time
 Ports web.Ports
 Health *web.Health ?
 Mode web.Mode
 Words web.Words
 Labels map[string]string
 Size [2]uint
 Init *bool ?
 Every time.Duration ?
 Seen map[string]struct{} ?
 Inner web.Inner
 Anything any ?
 Known map[string]any(web.Inner) ?
 Most []*web.Limit ?
 +web.Limits
web.Inner struct { Name string }
 Name string
""",
    methods={
        "time.Time": TIME_METHODS,
        "time.Duration": DURATION_METHODS,
        "web.Mode": {"IsHost": lambda mode: mode == "host", "Plus": lambda mode, more: f"{mode}+{more}"},
        "web.Port": {"Port": lambda port: port.partition("/")[0]},
    },
    texts_of={
        "time.Time": time_text,
        "time.Duration": duration_text,
        "*web.Limit": lambda limit: f"{limit.values['Name']}={limit.values['Most']}",
    },
)
DOCUMENT: dict[str, Any] = {
    "Id": "abc",
    "Created": "2026-11-23T06:38:48.17Z",
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None},
    "Mode": "bridge",
    "Words": ["a", "b"],
    "Labels": {"x": "1"},
    "Size": [24],
    "Every": 90 * 10**9,
    "Seen": {"/data": {}},
    "Inner": {"Name": "n"},
    "Known": {"one": {"Name": "k"}},
    "Anything": {"deep": [1, None]},
    "Most": [{"Name": "nofile", "Most": 5}],
    "Memory": 64,
    "NanoCpus": 7,
    "Unknown": "is not of the type",
}
SITE = decode(SCHEMA.type("web.Site"), DOCUMENT)
EMPTY = decode(SCHEMA.type("web.Site"), {})

GOLDENS = [
    ("{{.ID}} {{.Base.ID}} {{.Memory}} {{.CPUs}} {{.Most}}", "abc abc 64 7 [nofile=5]"),
    ("{{.Ports}}", "map[53/udp:[] 80/tcp:[{0.0.0.0 8080}]]"),
    ("{{range $p, $b := .Ports}}{{$p.Port}}:{{range $b}}{{.HostPort}}{{end}} {{end}}", "53: 80:8080 "),
    ("{{.Mode}} {{.Mode.IsHost}} {{.Mode.Plus 1}} {{eq .Mode `bridge`}}", "bridge false bridge+1 true"),
    ("{{.Words}} {{join .Words `-`}} {{slice .Words 1}} {{index .Words 0}}", "[a b] a-b [b] a"),
    ("{{.Labels.x}} {{.Labels.y}} [{{index .Labels `y`}}]", "1 <no value> []"),
    ("{{.Size}} {{.Seen}} {{.Inner}} {{.Init}} {{.Health}}", "[24 0] map[/data:{}] {n} <nil> <nil>"),
    ("{{.Every}} {{.Every.Seconds}} {{.Anything}} {{.Anything.deep}}", "1m30s 90 map[deep:[1 <nil>]] [1 <nil>]"),
    ("{{.Known.one.Name}} {{.Known}}", "k map[one:{k}]"),
    ("{{.Created}} {{.Created.Year}}", "2026-11-23 06:38:48.17 +0000 UTC 2026"),
    ("{{with .Health}}{{.Status}}{{else}}none{{end}}{{if .Inner}} always{{end}}", "none always"),
    ("{{index .Most 0}} {{(index .Most 0).Name}}", "nofile=5 nofile"),
    ('{{printf "%T %T %T %T" .Mode .Ports .Init .Size}}', "web.Mode web.Ports *bool [2]uint"),
    ('{{printf "%+v" .Inner}} {{printf "%#v" .Inner}}', '{Name:n} struct { Name string }{Name:"n"}'),
    ('{{printf "%#v" .Ports}}', 'web.Ports{"53/udp":[]web.Binding(nil), '
     '"80/tcp":[]web.Binding{web.Binding{HostIP:"0.0.0.0", HostPort:"8080"}}}'),
    ('{{printf "%#v %#v %#v" .Size .Health .Labels}}',
     '[2]uint{0x18, 0x0} (*web.Health)(nil) map[string]string{"x":"1"}'),
    ('{{printf "%s|%d" .Inner .Words}}', "{n}|[%!d(string=a) %!d(string=b)]"),
    ("{{eq .Init nil}} {{eq .Health .Health}} {{ne .Memory 64}}", "true true false"),
    ("{{json .Ports}}", '{"53/udp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), GOLDENS, ids=[text for text, _ in GOLDENS])
def test_goldens(text: str, expected: str) -> None:
    assert compile_template(text).render(SITE) == expected


def test_json_has_the_fields_of_the_type_in_its_order() -> None:
    shown = compile_template("{{json .}}").render(SITE)
    assert list(json.loads(shown)) == (
        "Id Created Ports Mode Words Labels Size Every Seen Inner Anything Known Most Memory NanoCpus".split()
    )
    assert compile_template("{{json .}}").render(EMPTY) == (
        '{"Id":"","Created":"0001-01-01T00:00:00Z","Ports":null,"Mode":"","Words":null,"Labels":null,'
        '"Size":[0,0],"Inner":{"Name":""},"Memory":0,"NanoCpus":0}'
    )


def test_a_pointer_inside_is_an_address() -> None:
    value = decode(SCHEMA.type("web.Site"), {"Health": {"Status": "ok", "Log": [{}]}})
    shown = compile_template('{{.Health}} {{printf "%v" .Health}}').render(value)
    plain, _, pointed = shown.partition(" &")
    assert plain == pointed
    assert plain.startswith("{ok [0xc0")


ERRORS = [
    ("{{.Nope}}", "can't evaluate field Nope in type web.Site"),
    ("{{.Health.Nope}}", "can't evaluate field Nope in type *web.Health"),
    ("{{.Health.Status}}", "nil pointer evaluating *web.Health.Status"),
    ("{{.Unknown}}", "can't evaluate field Unknown in type web.Site"),
    ("{{index .Ports `80/tcp`}}", "error calling index: value has type string; should be web.Port"),
    ("{{upper .Mode}}", "wrong type for value; expected string; got web.Mode"),
    ("{{upper .Labels.nope}}", "invalid value; expected string"),
    ("{{len .Health}}", "error calling len: len of nil pointer"),
    ("{{range .Health}}{{end}}", "range over nil pointer"),
    ("{{.Known.one.Nope}}", "can't evaluate field Nope in type interface {}"),
    ("{{.Mode `x`}}", "Mode has arguments but cannot be invoked as function"),
    ("{{eq .Words .Words}}", "error calling eq: non-comparable type [a b]: web.Words"),
    ("{{eq .Inner .Words}}", "error calling eq: non-comparable types"),
    ("{{lt .Words .Words}}", "error calling lt: invalid type for comparison"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[text for text, _ in ERRORS])
def test_errors(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text).render(SITE)
    assert str(caught.value).endswith(message) or f"{message} " in str(caught.value)


def test_numbers_of_unknown_json_are_texts() -> None:
    value = raw_numbers({"Size": 5, "Part": 1.5, "On": True, "All": [7]}, SCHEMA.type("json.Number"))
    shown = compile_template('{{.Size}} {{json .}} {{printf "%T" .Size}}').render(value)
    assert shown == '5 {"All":[7],"On":true,"Part":1.5,"Size":5} json.Number'
    with pytest.raises(TemplateError, match="incompatible types"):
        compile_template("{{eq .Size 5}}").render(value)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02T15:04:05Z07:00", "2026-03-09T15:04:05+01:30"),
        ("Mon Jan _2 3:4:5pm 06 MST", "Mon Mar  9 3:4:5pm 26 +0130"),
        ("Monday, 2 January 002 03 PM -0700 -07:00 -07", "Monday, 9 March 068 03 PM +0130 +01:30 +01"),
        ("15h .000 .999999999 Z0700 1", "15h .120 .12 +0130 3"),
    ],
)
def test_times_are_written_as_a_layout_says(layout: str, expected: str) -> None:
    assert format_time("2026-03-09T15:04:05.12+01:30", layout) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"), (1, "1ns"), (1500, "1.5\u00b5s"), (2_000_000, "2ms"), (1_000_000_000, "1s"),
        (3_661_500_000_000, "1h1m1.5s"), (-60_000_000_000, "-1m0s"), (30_000_000_000, "30s"),
    ],
)  # fmt: skip
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


def test_a_date_as_go_writes_it() -> None:
    assert go_date("2026-11-23T06:38:48.17Z") == "time.Date(2026, time.November, 23, 6, 38, 48, 170000000, time.UTC)"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(DOCUMENT)) | st.text(), inner),
    max_leaves=20,
)


@given(ANY_JSON)
@example({"Created": "yesterday"})
@example({"Created": "2026-01-02T03:04:05+99:00"})
@example({"Created": "2026-01-02T03:04:05.1x"})
def test_whatever_an_engine_sends_is_decoded(document: Any) -> None:
    value = decode(SCHEMA.type("web.Site"), document)
    assert compile_template("{{.}}").render(value).startswith("{")
    json.loads(compile_template("{{json .}}").render(value))
