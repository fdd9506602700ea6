"""Memory: what was found in texts that come again, so that a turn of a chat costs its new text.

Owns: findings under keyed digests of the text, one key a process, apart by tenant. Never does: keep text, or say that
nothing was found where nothing was looked for. Invariant: bounded; the least recently used go first.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict

from llmguard.model import Finding

Found = tuple[Finding, ...]


class Memory:
    """Findings by digest. A text without findings weighs one. Safe for threads."""

    def __init__(self, limit: int) -> None:
        """``limit``: findings and texts that are remembered."""
        self._limit = limit
        self._secret = secrets.token_bytes(32)
        self._weight = 0
        self._known: OrderedDict[bytes, Found] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, tenant: bytes, label: str, text: str) -> bytes:
        """The digest of a text under its label. ``tenant``: 16 bytes of whose it is (``salt``)."""
        behind = label.encode("utf-8", "surrogatepass")
        data = b"%d:%s%s" % (len(behind), behind, text.encode("utf-8", "surrogatepass"))
        return hashlib.blake2b(data, digest_size=32, key=self._secret, person=tenant).digest()

    def get(self, key: bytes) -> Found | None:
        """What was found, or None if that is not known."""
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def put(self, key: bytes, found: Found) -> None:
        with self._lock:
            if key in self._known:
                return
            self._known[key] = found
            self._weight += 1 + len(found)
            while self._weight > self._limit:
                _, gone = self._known.popitem(last=False)
                self._weight -= 1 + len(gone)


def salt(tenant: str) -> bytes:
    """16 bytes of a tenant's name."""
    return hashlib.blake2b(tenant.encode(), digest_size=16).digest()
