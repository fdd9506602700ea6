"""Message: what a channel is given to deliver, and what it has to be able to do. No store, no policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmguard.notify.card import Card
from llmguard.notify.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Message:
    """``id`` is the same for a second try. ``former``: the message that already stands for this approval, or "".

    ``body`` is what was announced when it happened; ``at``: that time, UTC ms. ``call``: people are to be called.
    """

    id: str
    event: str
    card: Card
    body: Mapping[str, Any]
    at: int
    former: str
    call: bool


class Sender(Protocol):
    """A kind of channel."""

    async def deliver(self, out: Outgoing, message: Message) -> str:
        """Returns what the message is known by from now on, or "". Raises Undelivered."""
        ...

    async def greet(self, out: Outgoing) -> None:
        """Sends a harmless message. Raises Undelivered."""
        ...
