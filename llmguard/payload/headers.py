"""Which headers are the caller's, ours or the provider's. Pairs are lower-case; order and repeats are kept.

Never forwarded upstream: hop-by-hop headers (RFC 9110 §7.6.1), ``Host``, length, content and accepted encodings (bodies
go decoded), credentials, cookies, what a proxy in front adds about the caller, and ``x-llmguard-*``. Never returned:
hop-by-hop headers, length and encoding (ours differ), cookies, and anything in our own name.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def outgoing(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The caller's headers that go upstream."""
    return _kept(pairs, _REQUEST, ("x-forwarded-", OURS))


def returning(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The provider's headers that go back to the caller."""
    return _kept(pairs, _RESPONSE, (OURS,))


def _kept(pairs: Iterable[tuple[str, str]], dropped: frozenset[str], prefixes: tuple[str, ...]) -> Pairs:
    lowered = [(name.lower(), value) for name, value in pairs]
    named = {
        token.strip().lower() for name, value in lowered if name == "connection" for token in value.split(",")
    }  # a Connection header may name further hop-by-hop headers
    return tuple((n, v) for n, v in lowered if n not in dropped and n not in named and not n.startswith(prefixes))


def media_type(pairs: Iterable[tuple[str, str]]) -> str:
    """``application/json`` of ``Content-Type: application/json; charset=utf-8``; empty if absent."""
    for name, value in pairs:
        if name == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""
