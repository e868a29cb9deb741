"""Asks authorities, over the network, what a verification wants to know of them: OCSP answers and revocation lists."""

import asyncio
from collections.abc import Generator

from rundlet.errors import RundletError
from rundlet.transport.http import HttpClient, Request
from rundlet.trust.notation import Verdict
from rundlet.trust.revocation import Question

_OCSP_REQUEST = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}


async def settle(exchange: Generator[Question, bytes | None, Verdict], http: HttpClient) -> Verdict:
    """Runs ``exchange`` to its end. What nobody answers, or not in time, is None to it. Raises TrustError."""
    question = await _step(exchange, None)
    while isinstance(question, Question):
        question = await _step(exchange, await _ask(question, http))
    return question


async def _step(exchange: Generator[Question, bytes | None, Verdict], answer: bytes | None) -> Question | Verdict:
    """Signatures are checked, and lists of megabytes read, outside the event loop."""

    def step() -> Question | Verdict:
        try:
            return exchange.send(answer)
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict

    return await asyncio.to_thread(step)


async def _ask(question: Question, http: HttpClient) -> bytes | None:
    method, headers = ("GET", {}) if question.body is None else ("POST", _OCSP_REQUEST)
    request = Request(method, question.url, headers, question.body, len(question.body or b""))
    try:
        async with asyncio.timeout(question.seconds), http.send(request) as response:
            return await response.read(question.limit) if 200 <= response.status < 300 else None
    except (RundletError, TimeoutError):
        return None
