"""Who may speak to a plane at all: known ``Host`` names, no foreign ``Origin`` (browsers and DNS rebinding)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def host_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether a ``Host`` header, with or without port, names this guard."""
    return _name(f"//{host}") in LOOPBACK | set(allowed)


def origin_allowed(origin: str | None, host: str) -> bool:
    """An ``Origin`` must be the very host that was asked; requests of programs carry none."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
