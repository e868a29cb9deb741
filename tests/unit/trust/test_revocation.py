"""What authorities say of their certificates: OCSP answers and lists, good, bad, old, forged and absent."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from tests.unit.trust.test_notation import DAY, DIGEST, NOW, Authority, demands, ended, jws

from rundlet.trust import notation, policy, revocation
from rundlet.trust.notation import NotationError, Verdict
from rundlet.trust.revocation import RevokedError, UnknownStatusError

OCSP, CRL, DELTA = "http://ocsp.example/", "http://crl.example/ca.crl", "http://crl.example/delta.crl"
HOUR = timedelta(hours=1)


def point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)


def _access(url: str) -> x509.AuthorityInformationAccess:
    location = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)])


ROOT = Authority.root()
MIDDLE = ROOT.issue("middle", ca=True)
BY_OCSP = MIDDLE.issue("by-ocsp", more=[_access(OCSP)])
BY_LIST = MIDDLE.issue("by-list", more=[x509.CRLDistributionPoints([point(CRL)])])
BY_BOTH = MIDDLE.issue("by-both", more=[_access(OCSP), x509.CRLDistributionPoints([point(CRL)])])


def status(leaf: Authority, answers: Mapping[str, bytes | None], stamped: datetime | None = None) -> datetime | None:
    """Runs a check of ``leaf``'s chain; what is not among ``answers`` may not be asked for."""
    exchange = revocation.check([leaf.certificate, MIDDLE.certificate, ROOT.certificate], NOW, stamped)
    answer: bytes | None = None
    while True:
        try:
            answer = answers[exchange.send(answer).url]
        except StopIteration as end:
            until: datetime | None = end.value
            return until


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────


def crl(
    *revoked: tuple[Authority, x509.ReasonFlags | None],
    issuer: Authority = MIDDLE,
    start: datetime = NOW - HOUR,
    end: datetime = NOW + HOUR,
    invalid: datetime | None = None,
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    name: x509.Name | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name or issuer.certificate.subject)
        .last_update(start)
        .next_update(end)
    )
    for leaf, reason in revoked:
        entry = (
            x509.RevokedCertificateBuilder().serial_number(leaf.certificate.serial_number).revocation_date(NOW - DAY)
        )
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        if invalid is not None:
            entry = entry.add_extension(x509.InvalidityDate(invalid), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_nobody_to_ask() -> None:
    assert status(MIDDLE.issue("silent"), {}) is None


def test_a_list_without_it() -> None:
    assert status(BY_LIST, {CRL: crl((BY_OCSP, None))}) == NOW + HOUR
    assert status(BY_LIST, {CRL: crl(end=NOW + DAY * 30)}) == NOW + DAY
    pem = x509.load_der_x509_crl(crl()).public_bytes(Encoding.PEM)
    assert status(BY_LIST, {CRL: pem}) == NOW + HOUR


@pytest.mark.parametrize(
    "reason", [None, x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded, x509.ReasonFlags.certificate_hold]
)
def test_a_list_with_it(reason: x509.ReasonFlags | None) -> None:
    with pytest.raises(RevokedError, match=r"the certificate of CN=by-list.* has been revoked"):
        status(BY_LIST, {CRL: crl((BY_LIST, reason))})


def test_what_was_signed_before_the_certificate_became_invalid() -> None:
    data = crl((BY_LIST, x509.ReasonFlags.key_compromise), invalid=NOW - DAY)
    status(BY_LIST, {CRL: data}, stamped=NOW - 2 * DAY)
    for stamped in (None, NOW - HOUR):
        with pytest.raises(RevokedError):
            status(BY_LIST, {CRL: data}, stamped)


def test_an_old_list_knows_who_is_bad_but_not_who_is_good() -> None:
    old: dict[str, Any] = {"start": NOW - 2 * DAY, "end": NOW - HOUR}
    with pytest.raises(UnknownStatusError, match="the list has expired"):
        status(BY_LIST, {CRL: crl(**old)})
    with pytest.raises(RevokedError):
        status(BY_LIST, {CRL: crl((BY_LIST, x509.ReasonFlags.key_compromise), **old)})
    with pytest.raises(UnknownStatusError):
        status(BY_LIST, {CRL: crl((BY_LIST, x509.ReasonFlags.certificate_hold), **old)})


def _scope(**changes: Any) -> tuple[x509.ExtensionType, bool]:
    given: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **changes,
    }
    return x509.IssuingDistributionPoint(**given), True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "no answer"),
        (b"", "no list of revoked"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "no list of revoked"),
        (crl(issuer=ROOT), "not signed by the authority"),
        (crl(issuer=ROOT, name=MIDDLE.certificate.subject), "not signed by the authority"),
        (crl(start=NOW + HOUR, end=NOW + DAY), "is of tomorrow"),
        (crl(more=(_scope(only_contains_ca_certs=True),)), "speaks of other certificates"),
        (crl(more=(_scope(indirect_crl=True),)), "speaks of other certificates"),
        (crl(more=(_scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),)), "speaks of other"),
        (crl(more=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)), "demands what"),
        (crl(more=((x509.CRLNumber(2), False), (x509.DeltaCRLIndicator(1), True))), "is a list of changes"),
    ],
)
def test_lists_that_say_nothing(answer: bytes | None, words: str) -> None:
    with pytest.raises(UnknownStatusError, match=f"can't be found out: {CRL}: .*{words}"):
        status(BY_LIST, {CRL: answer})


def test_a_list_for_users_certificates_only() -> None:
    assert status(BY_LIST, {CRL: crl(more=(_scope(only_contains_user_certs=True),))}) == NOW + HOUR


def _base(*revoked: tuple[Authority, x509.ReasonFlags | None]) -> bytes:
    return crl(*revoked, more=((x509.CRLNumber(5), False), (x509.FreshestCRL([point(DELTA)]), False)))


def _delta(*revoked: tuple[Authority, x509.ReasonFlags | None], since: int = 5, number: int = 6, **more: Any) -> bytes:
    return crl(*revoked, more=((x509.CRLNumber(number), False), (x509.DeltaCRLIndicator(since), True)), **more)


def test_a_list_of_changes() -> None:
    hold, gone = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl
    assert status(BY_LIST, {CRL: _base(), DELTA: _delta(end=NOW + HOUR / 2)}) == NOW + HOUR / 2
    assert status(BY_LIST, {CRL: _base((BY_LIST, hold)), DELTA: _delta((BY_LIST, gone))}) == NOW + HOUR
    for answers in (
        {CRL: _base(), DELTA: _delta((BY_LIST, None))},
        {CRL: _base((BY_LIST, hold)), DELTA: _delta()},
    ):
        with pytest.raises(RevokedError):
            status(BY_LIST, answers)
    for delta in (None, crl(), _delta(since=6), _delta(number=4), _delta(issuer=ROOT), _delta(end=NOW - HOUR / 2)):
        with pytest.raises(UnknownStatusError):
            status(BY_LIST, {CRL: _base(), DELTA: delta})


# ── OCSP ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(
    leaf: Authority = BY_OCSP,
    *,
    good: bool = True,
    unknown: bool = False,
    signer: Authority = MIDDLE,
    certificates: tuple[Authority, ...] = (),
    start: datetime = NOW - HOUR,
    end: datetime | None = NOW + HOUR,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    state = ocsp.OCSPCertStatus.GOOD if good else ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=leaf.certificate,
            issuer=MIDDLE.certificate,
            algorithm=digest or hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.UNKNOWN if unknown else state,
            this_update=start,
            next_update=end,
            revocation_time=None if good or unknown else NOW - DAY,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if certificates:
        builder = builder.certificates([item.certificate for item in certificates])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _responder(*more: x509.ExtensionType, **options: Any) -> Authority:
    return MIDDLE.issue("responder", **{"purpose": ExtendedKeyUsageOID.OCSP_SIGNING, "more": more, **options})


def test_a_good_answer() -> None:
    assert status(BY_OCSP, {OCSP: answer()}) == NOW + HOUR
    assert status(BY_OCSP, {OCSP: answer(end=None)}) == NOW + DAY
    assert status(BY_OCSP, {OCSP: answer(digest=hashes.SHA1())}) == NOW + HOUR


def test_a_bad_answer() -> None:
    with pytest.raises(RevokedError, match="CN=by-ocsp"):
        status(BY_OCSP, {OCSP: answer(good=False)})
    # It is final: a list that knows nothing yet is not asked.
    with pytest.raises(RevokedError, match="CN=by-both"):
        status(BY_BOTH, {OCSP: answer(BY_BOTH, good=False)})


def test_whom_the_authority_has_told_to_answer() -> None:
    responder = _responder(x509.OCSPNoCheck())
    assert status(BY_OCSP, {OCSP: answer(signer=responder, certificates=(responder,))}) == NOW + HOUR
    listed = _responder(x509.CRLDistributionPoints([point(CRL)]))
    answers = {OCSP: answer(signer=listed, certificates=(listed,)), CRL: crl()}
    assert status(BY_OCSP, answers) == NOW + HOUR
    with pytest.raises(RevokedError, match="CN=responder"):
        status(BY_OCSP, {**answers, CRL: crl((listed, None))})
    with pytest.raises(UnknownStatusError):
        status(BY_OCSP, {**answers, CRL: None})


@pytest.mark.parametrize(
    "responder",
    [
        _responder(purpose=ExtendedKeyUsageOID.CODE_SIGNING),
        _responder(x509.OCSPNoCheck(), begin=NOW - 2 * DAY, end=NOW - DAY),
        ROOT.issue("stranger", purpose=ExtendedKeyUsageOID.OCSP_SIGNING, more=[x509.OCSPNoCheck()]),
    ],
    ids=["purpose", "expired", "stranger"],
)
def test_whom_it_has_not(responder: Authority) -> None:
    with pytest.raises(UnknownStatusError, match="not signed by the authority"):
        status(BY_OCSP, {OCSP: answer(signer=responder, certificates=(responder,))})


UNSUCCESSFUL = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "no answer"),
        (b"x", "no OCSP answer"),
        (UNSUCCESSFUL, "it says try later"),
        (answer(BY_LIST), "for another certificate"),
        (answer(signer=ROOT), "not signed by the authority"),
        (answer(start=NOW - DAY, end=NOW - HOUR), "has expired"),
        (answer(start=NOW + HOUR, end=NOW + DAY), "is of tomorrow"),
        (answer(unknown=True), "not known there"),
    ],
)
def test_answers_that_say_nothing(data: bytes | None, words: str) -> None:
    with pytest.raises(UnknownStatusError, match=f"can't be found out: {OCSP}: .*{words}"):
        status(BY_OCSP, {OCSP: data})
    # Where there is a list as well, it decides.
    asked = data if data is None or words != "for another certificate" else answer(BY_OCSP)
    assert status(BY_BOTH, {OCSP: asked, CRL: crl()}) == NOW + HOUR
    with pytest.raises(RevokedError):
        status(BY_BOTH, {OCSP: asked, CRL: crl((BY_BOTH, None))})


# ── in a verification ────────────────────────────────────────────────────────────────────────────────────────


def verify(leaf: Authority, answers: Mapping[str, bytes | None], **level: Any) -> Verdict:
    changes = {"actions": policy.actions_of(level)}
    data = jws([leaf, MIDDLE, ROOT])
    return ended(notation.verify(data, notation.JWS, DIGEST, demands(ROOT, **changes), NOW), answers)


@pytest.mark.parametrize("said", [None, crl((BY_LIST, None))], ids=["unreachable", "revoked"])
def test_levels(said: bytes | None) -> None:
    with pytest.raises(NotationError, match="revoked"):
        verify(BY_LIST, {CRL: said})
    for level in ({"level": "permissive"}, {"level": "audit"}, {"level": "strict", "override": {"revocation": "log"}}):
        verdict = verify(BY_LIST, {CRL: said}, **level)
        assert [line.startswith("revocation: ") for line in verdict.logged] == [True]
    assert verify(BY_LIST, {}, override={"revocation": "skip"}).logged == ()


def test_a_good_verdict_ends_with_the_answer() -> None:
    assert verify(BY_LIST, {CRL: crl()}).until == NOW + HOUR


def test_a_stranger_sends_nobody_anywhere() -> None:
    """The addresses in a certificate that nobody vouches for are not visited, not even where that is only logged."""
    other = Authority(ec.generate_private_key(ec.SECP256R1()), ROOT.certificate)
    stranger = Authority.root()
    leaf = stranger.issue("x", more=[x509.CRLDistributionPoints([point("http://127.0.0.1/")])])
    changes = {"actions": policy.actions_of({"level": "audit"})}
    exchange = notation.verify(jws([leaf, stranger]), notation.JWS, DIGEST, demands(other, **changes), NOW)
    assert [line.partition(":")[0] for line in ended(exchange, {}).logged] == ["authenticity", "revocation"]


def test_addresses_that_are_none() -> None:
    """Only HTTP is spoken; a certificate that names others can't be asked about."""
    leaf = MIDDLE.issue("ldap", more=[x509.CRLDistributionPoints([point("ldap://x/"), point("file:///etc/x")])])
    with pytest.raises(UnknownStatusError, match="no address"):
        status(leaf, {})
