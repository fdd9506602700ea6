"""Webhook: events for programs, signed as Standard Webhooks asks (https://www.standardwebhooks.com, specification 1.0).

A receiver checks ``webhook-signature`` over ``id.timestamp.body``, and drops an id that it has seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from llmguard.channels import Channel
from llmguard.notify.failure import Undelivered
from llmguard.notify.message import Message
from llmguard.notify.outgoing import Outgoing, as_json

PREFIX = "whsec_"
LEAST, MOST = 24, 64
"""Bytes of a secret."""


class Webhook:
    """Speaks to one address."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def deliver(self, out: Outgoing, message: Message) -> str:
        data = {**message.body, "id": message.card.approval, "url": message.card.link}
        if message.card.excerpt:
            data["excerpt"] = message.card.excerpt
        await self._send(out, message.id, f"approval.{message.event}", message.at, data)
        return ""

    async def greet(self, out: Outgoing) -> None:
        now = time.time_ns() // 1_000_000
        await self._send(out, f"test_{now}", "test", now, {"channel": self._channel.name})

    async def _send(self, out: Outgoing, id_: str, type_: str, at: int, data: dict[str, Any]) -> None:
        when = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = as_json({"type": type_, "timestamp": when, "data": data})
        name, now = f"msg_{id_}", int(time.time())
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(now),
            "webhook-signature": signatures(keys(self._channel.token or ""), name, now, body),
        }
        await out.post(self._channel.address, body, headers)


def keys(token: str) -> tuple[bytes, ...]:
    """The secrets of a token, apart by spaces: two while one replaces the other. Raises Undelivered."""
    found = []
    for one in token.split():
        try:
            key = base64.b64decode(one.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise Undelivered("secret_is_not_whsec_base64") from None
        if not LEAST <= len(key) <= MOST:
            raise Undelivered("secret_is_not_24_to_64_bytes")
        found.append(key)
    if not found:
        raise Undelivered("secret_is_missing")
    return tuple(found)


def signatures(secrets: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> str:
    """One signature for each secret, apart by spaces."""
    content = f"{id_}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in secrets)
    return " ".join(f"v1,{one}" for one in made)
