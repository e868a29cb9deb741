"""Notation's signatures and what authorities say of certificates, a byte changed: refused, or as good as before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.trust.test_parsers import quick
from tests.unit.trust import test_notation as makers
from tests.unit.trust.test_revocation import BY_LIST, BY_OCSP, CRL, OCSP, answer, crl, status

from rundlet.trust.errors import NotationError
from rundlet.trust.notation import COSE, JWS

SIGNED = {JWS: makers.jws(makers.CHAIN), COSE: makers.cose(makers.CHAIN)}
REVOKED = crl((BY_LIST, None))
REFUSED = answer(BY_OCSP, good=False)
changes = st.tuples(st.integers(0, 1 << 16), st.integers(1, 255), st.booleans())


def _changed(data: bytes, change: tuple[int, int, bool]) -> bytes:
    position, mask, cut = change
    at = position % len(data)
    return data[:at] if cut else data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@pytest.mark.parametrize("kind", sorted(SIGNED))
@quick
@given(change=changes)
def test_envelopes(kind: str, change: tuple[int, int, bool]) -> None:
    try:
        makers.check(_changed(SIGNED[kind], change), makers.ROOT, kind)
    except NotationError:
        pass


@pytest.mark.parametrize("kind", sorted(SIGNED))
@quick
@given(change=changes)
def test_nothing_signs_another_digest(kind: str, change: tuple[int, int, bool]) -> None:
    with pytest.raises(NotationError):
        makers.check(_changed(SIGNED[kind], change), makers.ROOT, kind, "sha256:" + "00" * 32)


@quick
@given(change=changes)
def test_a_revoked_certificate_never_becomes_good(change: tuple[int, int, bool]) -> None:
    with pytest.raises(NotationError):
        status(BY_LIST, {CRL: _changed(REVOKED, change)})
    with pytest.raises(NotationError):
        status(BY_OCSP, {OCSP: _changed(REFUSED, change)})
