"""Which headers are the caller's, ours or the provider's. Pairs are lower-case; order and repeats are kept.

Never forwarded upstream: hop-by-hop headers (RFC 9110 §7.6.1), ``Host``, length, content and accepted encodings (bodies
go decoded), credentials, cookies, what a proxy in front adds about the caller, and ``x-llmguard-*``. Never returned:
hop-by-hop headers, length and encoding (ours differ), cookies, and anything in our own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmguard.effects import Head
from llmguard.errors import UpstreamError

Pairs = tuple[tuple[str, str], ...]

HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
CREDENTIALS = frozenset(["authorization", "api-key", "x-api-key", "cookie", "cookie2"])
_REQUEST = (
    HOP_BY_HOP
    | CREDENTIALS
    | frozenset(
        [
            "host",
            "content-length",
            "content-encoding",
            "accept-encoding",
            "expect",
            "forwarded",
            "via",
            "x-real-ip",
            "origin",
            "referer",
        ]
    )
)
_RESPONSE = HOP_BY_HOP | frozenset(["content-length", "content-encoding", "set-cookie", "set-cookie2", "alt-svc"])
OURS = "x-llmguard-"
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def outgoing(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The caller's headers that go upstream."""
    return _kept(pairs, _REQUEST, ("x-forwarded-", OURS))


def returning(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The provider's headers that go back to the caller."""
    return _kept(pairs, _RESPONSE, (OURS,))


def received(status: int, raw: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head of a provider's answer, names lower-cased. Raises UpstreamError for one that is none: an answer that
    never ends a request (1xx), or bytes that a careless server would read as further headers."""
    pairs = tuple(raw)
    if not 200 <= status <= 599 or not all(_NAME.fullmatch(n) and not _NO_VALUE.search(v) for n, v in pairs):
        raise UpstreamError("the provider's answer has a status or a header that HTTP does not know")
    return Head(status, tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in pairs))


def _kept(pairs: Iterable[tuple[str, str]], dropped: frozenset[str], prefixes: tuple[str, ...]) -> Pairs:
    lowered = [(name.lower(), value) for name, value in pairs]
    named = {
        token.strip().lower() for name, value in lowered if name == "connection" for token in value.split(",")
    }  # a Connection header may name further hop-by-hop headers
    return tuple((n, v) for n, v in lowered if n not in dropped and n not in named and not n.startswith(prefixes))


def typed(pairs: Pairs, value: str) -> Pairs:
    """The same with another content type."""
    return (*(pair for pair in pairs if pair[0] != "content-type"), ("content-type", value))


def media_type(pairs: Iterable[tuple[str, str]]) -> str:
    """``application/json`` of ``Content-Type: application/json; charset=utf-8``; empty if absent."""
    for name, value in pairs:
        if name == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""
