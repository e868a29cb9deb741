"""HTTP to the outside: one client, proxies and TLS trust from the machine, registry authentication.

Used by ``registry`` and by whatever fetches a URL. Knows no images: strings and bytes in, bytes and typed errors out.
"""

from rundlet.transport.auth import Authorizer, Credentials
from rundlet.transport.errors import TransportError
from rundlet.transport.http import HttpClient, Request, Response

__all__ = ["Authorizer", "Credentials", "HttpClient", "Request", "Response", "TransportError"]
