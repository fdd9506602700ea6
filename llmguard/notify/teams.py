"""Teams: one Adaptive Card (schema 1.5) for each event, by the webhook of a Workflows flow. The button is a link.

Other people's words stand in text runs alone, which know no markup ("Markdown is not supported", schema of TextRun).
"""

from __future__ import annotations

from typing import Any

from llmguard.channels import Channel
from llmguard.notify.card import Card
from llmguard.notify.message import Message
from llmguard.notify.outgoing import Outgoing, as_json

MAX_BYTES = 28 * 1024
"""What Teams takes at most."""
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"


class Teams:
    """Speaks to one flow."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def deliver(self, out: Outgoing, message: Message) -> str:
        await out.post(self._channel.address, as_json(envelope(adaptive(message.card))), {})
        return ""

    async def greet(self, out: Outgoing) -> None:
        body = [_block(f"llmguard speaks to this channel as {self._channel.name}. Nothing is asked of anybody.")]
        await out.post(self._channel.address, as_json(envelope(_card(body, []))), {})


def envelope(card: dict[str, Any]) -> dict[str, Any]:
    """What a flow "when a Teams webhook request is received" expects."""
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def adaptive(card: Card) -> dict[str, Any]:
    """The card of an approval."""
    body = [_block(card.title, weight="Bolder", size="Large"), _block(f"Approval {card.approval}", isSubtle=True)]
    body += [_fact(name, value) for name, value in card.facts]
    if card.excerpt:
        body.append(_fact("Leaves, redacted", card.excerpt))
    if card.open:
        body.append(_block("Decide it in the inbox."))
    link = [{"type": "Action.OpenUrl", "title": "Open in the inbox", "url": card.link}] if card.link else []
    return _card(body, link)


def _card(body: list[dict[str, Any]], actions: list[dict[str, Any]]) -> dict[str, Any]:
    made = {"type": "AdaptiveCard", "$schema": SCHEMA, "version": "1.5", "msteams": {"width": "Full"}, "body": body}
    return made | ({"actions": actions} if actions else {})


def _block(text: str, **looks: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [_run(text, **looks)]}


def _fact(name: str, value: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": "Small", "inlines": [_run(f"{name}: ", weight="Bolder"), _run(value)]}


def _run(text: str, **looks: Any) -> dict[str, Any]:
    """``{{`` would begin a date function."""
    return {"type": "TextRun", "text": text.replace("{{", "{ {"), **looks}
