"""The manual pages that a wheel brings along."""

import re

from tools.reference import manual

PAGES = dict(manual.pages())


def test_a_page_for_every_name() -> None:
    for name in ("rundlet.1", "rundlet-run.1", "rundlet-container-run.1", "rundlet-ps.1", "rundlet-trust-key-load.1"):
        assert name in PAGES
    for name, text in PAGES.items():
        if text.startswith(".so "):
            assert not PAGES[text.split("/")[1].strip()].startswith(".so "), name
        else:
            assert text.startswith(f'.TH "{name.removesuffix(".1").upper()}" "1"')
            assert [line for line in text.splitlines() if line.startswith(".SH")][:3] == [
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
            ]


def test_no_text_is_taken_for_a_request() -> None:
    known = {".TH", ".SH", ".PP", ".TP", ".br", ".so"}
    for text in PAGES.values():
        requests = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert requests <= known
        assert not re.search(r"\\(?![efI&-]|fB|fR)", text)


def test_what_a_flag_takes_is_said() -> None:
    page = PAGES["rundlet-run.1"]
    assert "\\fB\\-m\\fR, \\fB\\-\\-memory\\fR \\fIbytes\\fR\nMemory limit" in page
