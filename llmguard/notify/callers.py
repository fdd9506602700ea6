"""Callers: whether a request was made by Slack, just now, and for the first time.

Source: Slack, "Verifying requests from Slack": ``v0:timestamp:body`` under HMAC-SHA256, over the bytes as they came.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from llmguard.channels import Channel
from llmguard.errors import Unauthenticated
from llmguard.store import Transaction

WINDOW = 300
"""Seconds by which a request may be late, or early."""
_STRANGER = "this was not signed by a workspace that is configured here"


def signed_by(
    channels: Iterable[Channel], timestamp: Sequence[str], signature: Sequence[str], body: bytes
) -> tuple[Channel, ...]:
    """The channels whose secret signed it. Raises Unauthenticated if there is none. Headers as often as they came."""
    if len(timestamp) != 1 or len(signature) != 1 or not re.fullmatch("[0-9]{1,12}", timestamp[0]):
        raise Unauthenticated(_STRANGER)
    given, content = signature[0].encode(), b"v0:" + timestamp[0].encode() + b":" + body
    found = []
    for channel in channels:
        if channel.kind == "slack" and channel.signing_secret and not channel.missing:
            wanted = "v0=" + hmac.new(channel.signing_secret.encode(), content, hashlib.sha256).hexdigest()
            if hmac.compare_digest(given, wanted.encode()):
                found.append(channel)
    if not found:
        raise Unauthenticated(_STRANGER)
    return tuple(found)


def fresh(tx: Transaction, timestamp: int, mark: str) -> None:
    """Notes that a request came; ``mark`` names it. Raises Unauthenticated if it is late, or came before."""
    if abs(tx.now - timestamp * 1000) > WINDOW * 1000:
        raise Unauthenticated("this request is too old, or from the future: look at this host's clock (NTP)")
    once(tx, mark)


def once(tx: Transaction, mark: str) -> None:
    """The same for what carries no time. Raises Unauthenticated."""
    name = hashlib.sha256(mark.encode()).hexdigest()
    until = tx.now + 2 * WINDOW * 1000
    if not tx.run("INSERT OR IGNORE INTO callbacks VALUES (?, ?)", name, until):
        raise Unauthenticated("this request came before")
