"""Lists that come in pages. See: RFC 8288, distribution-spec."""

from collections.abc import Mapping

from yarl import URL

from rundlet.registry.errors import BadAnswerError
from rundlet.transport.http import origin


def next_page(url: str, headers: Mapping[str, str]) -> str | None:
    """The URL in ``Link: <…>; rel="next"``. Raises BadAnswerError for one on another origin."""
    link = headers.get("Link", "")
    if 'rel="next"' not in link.replace(" ", "") or "<" not in link:
        return None
    target = str(URL(url, encoded=True).join(URL(link.partition("<")[2].partition(">")[0], encoded=True)))
    if origin(target) != origin(url):
        raise BadAnswerError(url, "the list goes on at another server")
    return target
