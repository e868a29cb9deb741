"""Go templates: goldens (checked against Docker's own output), errors, and properties."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.util.template import TemplateError, compile_template, functions
from rundlet.util.template.errors import ExecutionError
from rundlet.util.template.lexer import go_quote, tokens
from rundlet.util.template.printf import sprintf

DATA: dict[str, Any] = {
    "Id": "abc",
    "Name": "/web",
    "Count": 3,
    "Ratio": 1.5,
    "On": True,
    "Nothing": None,
    "Args": ["a", "b", "c"],
    "State": {"Status": "running", "Pid": 7, "Inner": {"Deep": "x"}},
    "Labels": {"b": "2", "a": "1", "com.example": "z"},
}

GOLDENS = [
    ("plain", "plain"),
    ("{{.Name}}", "/web"),
    ("{{ .State.Inner.Deep }}", "x"),
    ("{{.Count}} {{.Ratio}} {{.On}} {{.Nothing}}", "3 1.5 true <no value>"),
    ("{{.Args}} {{.Labels}}", "[a b c] map[a:1 b:2 com.example:z]"),
    ("{{json .State}}", '{"Inner":{"Deep":"x"},"Pid":7,"Status":"running"}'),
    ('{{json .Name | printf "<%s>"}}', '<"/web">'),
    ("{{if .On}}yes{{else}}no{{end}}", "yes"),
    ("{{if .Nothing}}yes{{else if eq .Count 3}}three{{else}}no{{end}}", "three"),
    ('{{if and .On (gt .Count 2) (ne .Name "")}}ok{{end}}', "ok"),
    ('{{or .Nothing "default"}}', "default"),
    ("{{not .On}}", "false"),
    ("{{range .Args}}[{{.}}]{{end}}", "[a][b][c]"),
    ("{{range $i, $v := .Args}}{{$i}}={{$v}};{{end}}", "0=a;1=b;2=c;"),
    ("{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}", "a:1 b:2 com.example:z "),
    ("{{range .Nothing}}x{{else}}empty{{end}}", "empty"),
    ('{{range $v := .Args}}{{if eq $v "b"}}{{continue}}{{end}}{{$v}}{{end}}', "ac"),
    ('{{range .Args}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{with .State}}{{.Status}} {{$.Name}}{{end}}", "running /web"),
    ("{{with .Nothing}}x{{else}}y{{end}}", "y"),
    ("{{with .Nothing}}x{{else with .State}}{{.Pid}}{{end}}", "7"),
    ("{{with $x := .State}}{{$x.Pid}}{{end}}", "7"),
    ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
    ("{{$x := 1}}{{if true}}{{$x := 5}}{{end}}{{$x}}", "1"),
    ("{{$x := 1}}{{if true}}{{$x = 5}}{{end}}{{$x}}", "5"),
    ('{{define "t"}}<{{.}}>{{end}}{{template "t" .Name}}{{template "t" 5}}', "</web><5>"),
    ('{{block "b" .Count}}({{.}}){{end}}', "(3)"),
    ("a {{- 1 -}} b", "a1b"),
    ("a {{- /* c */ -}} b", "ab"),
    ("x{{/* c */}}y", "xy"),
    ('{{`raw "x"`}}{{"a\\tb"}}{{\'A\'}}', 'raw "x"a\tb65'),
    ("{{len .Args}} {{len .Name}} {{len .Labels}}", "3 4 3"),
    ('{{index .Args 1}} {{index .Labels "com.example"}} {{index .Labels "no"}}|', "b z <no value>|"),
    ("{{slice .Name 1 3}} {{slice .Args 1}}", "we [b c]"),
    ("{{(index .Args 0)}}", "a"),
    ('{{print 1 2 "x" 3}} {{println 1 "a"}}', "1 2x3 1 a\n"),
    (
        '{{printf "%-6s|%6.2f|%03d|%x|%q|%v|%t|%5d" "ab" 1.5 7 255 "q" .Args true 3}}',
        'ab    |  1.50|007|ff|"q"|[a b c]|true|    3',
    ),
    ('{{html "<a>&\'"}} {{urlquery "a b/c"}} {{js "it\'s"}}', "&lt;a&gt;&amp;&#39; a+b%2Fc it\\'s"),
    ('{{.Name | upper | printf "%s!"}} {{lower "ABC"}} {{title "hello big-world"}}', "/WEB! abc Hello Big-World"),
    ('{{join (split .Name "e") ","}} {{split "a-b" "-"}}', "/w,b [a b]"),
    ('{{pad .Name 1 2}}|{{truncate .Name 2}}|{{truncate "a" 5}}', " /web  |/w|a"),
    (
        '{{eq .Count 1 2 3}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge 1 2}} {{ne "a" "b"}}',
        "true true true true false true",
    ),
    ("{{0x10}} {{1_000}} {{1e3}} {{-5}} {{+1}} {{.5}}", "16 1000 1000 -5 1 0.5"),
    ("{{.Labels.missing}}", "<no value>"),
    ("{{.Name | }}", "/web"),
    ('{{upper "stra\u00dfe"}}', "STRA\u00dfE"),
    ('{{printf "%[2]d %[1]d" 1 2}}', "2 1"),
    ("{{true}} {{false}}", "true false"),
    (
        "{{1e6}} {{123456.5}} {{1234567.0}} {{1e-5}} {{0.0001}} {{1e20}}",
        "1e+06 123456.5 1.234567e+06 1e-05 0.0001 1e+20",
    ),
    ("{{json 1e6}} {{json 1e-5}} {{json 1e-7}} {{json 1e21}}", "1000000 0.00001 1e-7 1e+21"),
    ('{{html .Nope}} {{printf "%q" .Nothing}}', "&lt;no value&gt; %!q(<nil>)"),
    ('{{printf "%#U %U" 97 97}}', "U+0061 'a' U+0061"),
    ('{{define "a"}}a{{end}}{{define "a"}} {{end}}{{template "a"}}', "a"),
    ("{{.Nope}} {{.State.Nope}} {{.Nope.More}}", "<no value> <no value> <no value>"),
]


@pytest.mark.parametrize(("text", "expected"), GOLDENS, ids=[text for text, _ in GOLDENS])
def test_goldens(text: str, expected: str) -> None:
    assert compile_template(text).render(DATA) == expected


PARSE_ERRORS = [
    ("{{.Config}", ":1:9:", "bad character U+007D '}'"),
    ("{{foo .X}}", ":1:2:", 'function "foo" not defined'),
    ("{{if}}x{{end}}", ":1:4:", "missing value for if"),
    ("{{range .Args}}", ":1:15:", "unexpected EOF"),
    ("a\n{{end}}", ":2:2:", "unexpected {{end}}"),
    ("{{else}}", ":1:2:", "unexpected {{else}}"),
    ("{{$x}}", ":1:2:", 'undefined variable "$x"'),
    ("{{| .X}}", ":1:2:", 'unexpected "|" in command'),
    ("é{{foo}}", ":1:4:", 'function "foo" not defined'),
    ("{{(.X}}", ":1:5:", "unclosed left paren"),
    ("{{.X)}}", ":1:4:", "unexpected right paren"),
    ('{{"abc}}', ":1:2:", "unterminated quoted string"),
    ("{{`abc}}", ":1:2:", "unterminated raw quoted string"),
    ("{{.X", ":1:4:", "unclosed action"),
    ("a\n{{.X\n.Y\n", ":4:0:", "unclosed action started at :2"),
    ("{{.X\n@ 'ab'}}", ":2:0:", 'unexpected "@" in operand'),
    ("{{.X\n 'ab'}}", ":2:1:", "malformed character constant: 'ab' in action started at :1"),
    ("{{/* x", ":1:0:", "unclosed comment"),
    ("{{1.2.3}}", ":1:5:", 'unexpected ".3" in operand'),
    ("{{1.X}}", ":1:2:", 'bad number syntax: "1.X"'),
    ("{{0x}}", ":1:2:", 'illegal number syntax: "0x"'),
    ("{{1e}}", ":1:2:", 'illegal number syntax: "1e"'),
    ("{{1e400}}", ":1:2:", 'illegal number syntax: "1e400"'),
    ("{{08}}", ":1:2:", 'integer overflow: "08"'),
    ("{{99999999999999999999}}", ":1:2:", 'integer overflow: "99999999999999999999"'),
    ("{{0.1.E}}", ":1:2:", 'unexpected . after term "0.1"'),
    ("{{foo", ":1:2:", 'function "foo" not defined'),
    ("{{$x += 1}}", ":1:2:", 'undefined variable "$x"'),
    ("{{$x := 1}}{{$x+1}}", ":1:15:", "bad character U+002B '+'"),
    ("{{$x := 1}}{{$x=2}}", ":1:15:", "bad character U+003D '='"),
    ("{{,@%}}", ":1:2:", 'unexpected "," in command'),
    ("{{\x01}}", ":1:2:", "unrecognized character in action: U+0001"),
    ("{{range $k, .}}{{end}}", ":1:12:", "range can only initialize variables"),
    ("{{range $k, 1 := .}}{{end}}", ":1:12:", "range can only initialize variables"),
    ("{{range $k, $v}}{{end}}", ":1:12:", 'undefined variable "$v"'),
    ("{{range $k,}}{{end}}", ":1:11:", "missing value for range"),
    ("{{$a, $b := 1}}", ":1:4:", "too many declarations in command"),
    ("{{range if}}{{end}}", ":1:8:", "unexpected <if> in range"),
    ("{{if .A}}{{else with 1}}{{end}}", ":1:16:", "unexpected <with> in input"),
    ("{{if .A}}{{else 3}}{{end}}", ":1:16:", 'unexpected "3" in else'),
    ("{{printf 3`x`}}", ":1:10:", 'unexpected "`x`" in operand'),
    ("{{template averylongname}}", ":1:11:", 'unexpected "averylongn"... in template clause'),
    ("{{/*/}}", ":1:0:", "unclosed comment"),
    ('{{define "a"}}a{{end}}{{define "a"}}b{{end}}', ":1:42:", 'template: multiple definition of template "a"'),
    ("{{break}}", ":1:2:", "{{break}} outside {{range}}"),
    ("{{if .A}}{{else}}{{else}}{{end}}", ":1:19:", "expected end; found {{else}}"),
    ("{{template .X}}", ":1:11:", "in template clause"),
    ("{{.X | 5}}", ":1:7:", "non executable command in pipeline stage 2"),
    ("{{range $a, $b, $c := .X}}{{end}}", ":1:14:", "too many declarations"),
    ("{{nil.X}}", ":1:2:", "unexpected"),
]


@pytest.mark.parametrize(("text", "where", "message"), PARSE_ERRORS, ids=[row[0] for row in PARSE_ERRORS])
def test_parse_errors_name_the_line_and_know_the_column(text: str, where: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert message in str(caught.value)
    assert where == f":{caught.value.line}:{caught.value.column}:"
    assert str(caught.value).startswith(f"template: :{caught.value.line}: ")


RUN_ERRORS = [
    ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
    ("{{.State.Foo}}", 'template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
    (
        "{{index .Args 5}}",
        'template: :1:2: executing "" at <index .Args 5>: error calling index: index out of range: 5',
    ),
    ("{{len .Name .Args}}", 'template: :1:2: executing "" at <len>: wrong number of args for len: want 1 got 2'),
    ("{{.Name.Foo}}", "can't evaluate field Foo in type interface {}"),
    ("{{.Nope.Foo}}", 'map has no entry for key "Nope"'),
    ("{{with $x := .Nothing}}{{else}}{{$x.Foo}}{{end}}", 'nil data; no entry for key "Foo"'),
    ("{{.Nothing.Foo}}", "nil pointer evaluating interface {}.Foo"),
    ("{{range .Args}}{{.Foo}}{{end}}", "can't evaluate field Foo in type interface {}"),
    ("{{join .Args 1}}", ':1:7: executing "" at <.Args>: wrong type for value; expected []string; got []interface {}'),
    ("{{upper 5}}", ':1:8: executing "" at <5>: expected string; found 5'),
    ('{{truncate .Name "x"}}', 'at <"x">: expected integer; found "x"'),
    ("{{.Count | upper}}", ':1:11: executing "" at <upper>: wrong type for value; expected string; got int'),
    ('{{(index .State.Inner "with a long name that is shown whole").X.Y}}', "nil data; no entry"),
    ("{{index .Args 3}}", "error calling index: reflect: slice index out of range"),
    ("{{gt .On 1}}", "error calling gt: "),
    ("{{call .Name}}", "error calling call: non-function .Name of type string"),
    ("{{eq .Name 1}}", "error calling eq: incompatible types for comparison"),
    ("{{lt .On true}}", "error calling lt: invalid type for comparison"),
    ("{{range .Name}}{{end}}", "range can't iterate over /web"),
    ('{{template "none"}}', 'template "none" not defined'),
    ('{{define "t"}}{{template "t"}}{{end}}{{template "t"}}', "exceeded maximum template depth"),
    ("{{join .Name 1}}", "at <.Name>: wrong type for value; expected []string; got string"),
    ("{{1 2}}", "can't give argument to non-function 1"),
    ("{{(1) 2}}", 'template: :1:2: executing "" at <(1) 2>: can\'t give argument to non-function 1'),
    ("{{call .Nothing `a`}}", "at <call .Nothing `a`>: error calling call: call of nil"),
    ("{{$x = 5}}", "at <5>: undefined variable: $x"),
    ("{{(.State).Nope}}", ':1:3: executing "" at <.State>: map has no entry for key "Nope"'),
    ('{{pad "x" -1 2}}', "error calling pad: strings: negative Repeat count"),
    ('{{slice "abc" 1 2 3}}', "error calling slice: cannot 3-index slice a string"),
    ('{{index "abc" 3}}', "error calling index: reflect: string index out of range"),
]


@pytest.mark.parametrize(("text", "message"), RUN_ERRORS, ids=[text for text, _ in RUN_ERRORS])
def test_errors_while_running(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text).render(DATA, strict=True)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("form", "arguments", "expected"),
    [
        ("%d", ["x"], "%!d(string=x)"),
        ("%s", [], "%!s(MISSING)"),
        ("x", [1], "x%!(EXTRA int=1)"),
        ("%", [], "%!(NOVERB)"),
        ("%%", [], "%"),
        ("%+d % d %x %X %o %b %c %U", [1, 2, 255, 255, 8, 5, 65, 65], "+1  2 ff FF 10 101 A U+0041"),
        ("%*d|%-5s|%5s|%.2s", [4, 7, "a", "b", "abc"], "   7|a    |    b|ab"),
        ("%v %v %v", [None, [1, None], {"b": 1, "a": "x"}], "<nil> [1 <nil>] map[a:x b:1]"),
        ("%q %q", ['a"b\n', ["x"]], '"a\\"b\\n" ["x"]'),
        ("%e %.1f %g %T %T", [1500.0, 2.25, 1e21, 1, "s"], "1.500000e+03 2.2 1e+21 int string"),
        ("%05d %x", [-42, "hi"], "-0042 6869"),
    ],
)
def test_sprintf(form: str, arguments: list[Any], expected: str) -> None:
    assert sprintf(form, arguments) == expected


LITERAL = st.text().filter(lambda text: "{{" not in text and not text.endswith("{"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


@given(LITERAL)
def test_text_without_actions_comes_out_as_it_is(text: str) -> None:
    assert compile_template(text).render({}) == text


@given(JSON)
def test_json_of_anything_reads_back(value: Any) -> None:
    assert json.loads(compile_template("{{json .}}").render(value)) == value


@given(st.text())
def test_a_quoted_string_is_itself(text: str) -> None:
    assert compile_template("{{" + go_quote(text) + "}}").render(None) == text


@given(st.lists(st.text(alphabet="abc")))
def test_range_is_join(parts: list[str]) -> None:
    assert compile_template("{{range .}}{{.}},{{end}}").render(parts) == "".join(f"{part}," for part in parts)


@given(st.text(alphabet="{}-/* \n\t.$|()=:,\"`'x1ifrangeendelsewith"))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    try:
        compile_template(text)
        list(tokens(text))
    except TemplateError as exc:
        assert exc.line >= 1


@given(st.integers(), st.integers(), st.integers(min_value=1))
def test_comparisons_agree(left: int, right: int, _: int) -> None:
    data = {"A": left, "B": right}
    text = compile_template("{{lt .A .B}} {{le .A .B}} {{eq .A .B}} {{ge .A .B}} {{gt .A .B}}").render(data)
    expected = (left < right, left <= right, left == right, left >= right, left > right)
    assert text == " ".join("true" if one else "false" for one in expected)


@given(st.text(alphabet="%+-# 0123456789.*svdqxgeft"), st.lists(st.integers() | st.text() | st.floats() | st.none()))
def test_sprintf_never_fails(form: str, arguments: list[Any]) -> None:
    if not any(len(digits) > 3 for digits in "".join(c if c.isdigit() else " " for c in form).split()):
        sprintf(form, [value for value in arguments if not isinstance(value, int) or abs(value) < 1000])


def test_pad_has_a_limit() -> None:
    with pytest.raises(ExecutionError, match="error calling pad: more than 1048576 blanks"):
        functions.pad("x", 1 << 40, 0)
    assert functions.pad("x", 2, 1) == "  x "


def test_a_template_with_a_name_says_it() -> None:
    with pytest.raises(TemplateError, match=r"^template: version:1: unclosed action"):
        compile_template("{{.X", name="version")
    with pytest.raises(TemplateError, match=r'^template: version:1:2: executing "version" at <\.X>: '):
        compile_template("{{.X}}", name="version").render({}, strict=True)


def test_what_comes_before_an_error_is_written() -> None:
    out: list[str] = []
    with pytest.raises(TemplateError):
        compile_template("a{{.Name}}{{.Nope}}b").execute(DATA, out.append, strict=True)
    assert "".join(out) == "a/web"
