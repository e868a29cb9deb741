"""References survive their own printing, and no text makes the parser do anything but answer or refuse."""

from hypothesis import given
from hypothesis import strategies as st

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference

_COMPONENT = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
_DOMAIN = st.one_of(
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,5}\.[a-z]{2,3}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"\[[0-9a-f]{0,4}:[0-9a-f:]{1,8}\](:[0-9]{1,5})?", fullmatch=True),
)
_TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_DIGEST = st.binary(max_size=8).map(Digest.of)


@st.composite
def names(draw: st.DrawFn) -> str:
    text = "/".join(draw(st.lists(_COMPONENT, min_size=1, max_size=4)))
    domain = draw(st.none() | _DOMAIN)
    if domain is not None:
        text = f"{domain}/{text}"
    tag, digest = draw(st.none() | _TAG), draw(st.none() | _DIGEST)
    return text + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


@given(names())
def test_round_trips(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidParameterError as exc:
        # A first component with a dot is taken for a host, and a host's name has no underscore.
        first, slash, _ = text.partition("/")
        assert "64-byte hexadecimal" in str(exc) or (slash and "." in first and "_" in first)
        return
    assert Reference.parse(reference.canonical) == reference
    assert Reference.parse(reference.familiar) == reference
    assert reference.canonical.endswith(reference.familiar.removeprefix("docker.io/"))


@given(st.text(max_size=300) | names().flatmap(lambda name: st.text(max_size=2).map(lambda extra: name + extra)))
def test_any_text_is_answered(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidParameterError:
        return
    assert reference.path and len(reference.path) <= 255
    assert "\n" not in reference.canonical
    assert Reference.parse(reference.canonical) == reference
