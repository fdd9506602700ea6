"""Slack: one card for each approval, kept up to date in place, with buttons where the channel may decide.

The shapes and their limits are the SDK's classes (``llmguard[slack]``); what travels is ours, for the SDK's clients
follow redirects and obey proxies of the environment. Other people's words stand in ``plain_text`` alone, which knows
no markup, no mention and no emoji names here. Invariant: a button carries the digest and the version of its card.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmguard.channels import CALLS, Channel
from llmguard.notify.card import Card
from llmguard.notify.failure import Undelivered
from llmguard.notify.message import Message
from llmguard.notify.outgoing import Outgoing, as_json
from llmguard.notify.text import mrkdwn, shown

if TYPE_CHECKING:
    from slack_sdk.models.blocks import Block
    from slack_sdk.models.views import View

APPROVE, DENY, CHANGES, OPEN = "approve", "deny", "request_changes", "open"
"""What buttons are called."""
MODAL = "llmguard_request_changes"
REASON = "reason"
"""Block and element of the modal."""
MAX_REASON = 1500
"""Characters of a reason that is typed there."""
_TS = re.compile(r"[0-9]{1,16}\.[0-9]{1,10}")
_PASSING = frozenset(
    [
        *("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"),
        *("team_added_to_org", "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"),
        *("missing_scope", "not_in_channel", "channel_not_found", "is_archived", "access_denied"),
    ]
)
"""Errors that time or an operator can end; all others are about the message."""
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class Slack:
    """Speaks in one conversation. Raises Undelivered where the SDK is not installed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def deliver(self, out: Outgoing, message: Message) -> str:
        """Brings the card up to date, or posts one if people are to be called; then calls them below it."""
        shape = await asyncio.to_thread(self._shape, message)  # the first time, the SDK's classes are loaded
        kept = await self._updated(out, message.former, shape) if message.former else ""
        if not kept and message.call:
            kept = await self._posted(out, shape)
        elif kept and message.call and message.event in CALLS[1:]:
            await self._posted(out, shape, thread_ts=kept, reply_broadcast=True)
        return kept

    async def greet(self, out: Outgoing) -> None:
        await self._posted(out, said(f"llmguard speaks here as {self._channel.name}. Nothing is asked of anybody."))

    def _shape(self, message: Message) -> dict[str, Any]:
        if len(json.dumps(made := blocks(message.card, self._channel))) > 40_000:
            raise Undelivered("too_long", permanent=True)
        return {"text": mrkdwn(f"{message.card.title}: approval {message.card.approval}"), "blocks": made}

    async def _updated(self, out: Outgoing, former: str, shape: Mapping[str, Any]) -> str:
        """The same message, or "" if it is there no more."""
        where = {"channel": self._channel.conversation, "ts": former}
        try:
            await call(out, self._channel, "chat.update", {**where, **shape, **_QUIETLY})
        except Undelivered as e:
            if e.code.removeprefix("slack_") in _GONE:
                return ""
            raise
        return former

    async def _posted(self, out: Outgoing, shape: Mapping[str, Any], **more: Any) -> str:
        arguments = {"channel": self._channel.conversation, **shape, **more, **_QUIETLY}
        answer = await call(out, self._channel, "chat.postMessage", {**arguments, **_PLAINLY})
        ts = answer.get("ts")
        if not isinstance(ts, str) or not _TS.fullmatch(ts):
            raise Undelivered("slack_answer", permanent=True)  # it was posted; a second one would not help
        return ts


_QUIETLY = {"link_names": False, "parse": "none"}
_PLAINLY = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


async def call(
    out: Outgoing, channel: Channel, method: str, arguments: Mapping[str, Any], token: str | None = None
) -> dict[str, Any]:
    """One method of the Web API. Raises Undelivered."""
    headers = {"authorization": f"Bearer {token or channel.token or ''}"}
    try:
        answer = json.loads(await out.post(channel.address + method, as_json(arguments), headers))
    except (ValueError, RecursionError):
        raise Undelivered("slack_answer") from None
    if isinstance(answer, dict) and answer.get("ok") is True:
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    word = error if isinstance(error, str) and re.fullmatch("[a-z_]{1,40}", error) else "unknown"
    raise Undelivered(f"slack_{word}", permanent=word not in _PASSING)


# --------------------------------------------------------------------------- shapes


def blocks(card: Card, channel: Channel) -> list[dict[str, Any]]:
    """Block Kit of a card. Raises Undelivered where the SDK is missing."""
    kit = _kit()
    made: list[Block] = [kit.HeaderBlock(text=kit.PlainTextObject(text=card.title, emoji=False))]
    for start in range(0, len(card.facts), 10):
        fields = [_plain(f"{name}\n{value}", 600) for name, value in card.facts[start : start + 10]]
        made.append(kit.SectionBlock(fields=fields))
    if card.excerpt:
        made.append(kit.SectionBlock(text=_plain(f"Leaves, redacted\n{card.excerpt}", 1200)))
    if buttons := _buttons(card, channel):
        made.append(kit.ActionsBlock(block_id="decide", elements=buttons))
    told = f"Approval {card.approval}, digest {card.digest[:12]}" + (
        f". {card.note}" if card.open and card.note else ""
    )
    made.append(kit.ContextBlock(elements=[_plain(told, 300)]))
    return [block.to_dict() for block in made]


def _buttons(card: Card, channel: Channel) -> list[Any]:
    kit, value = _kit(), ticket(card, channel)
    made: list[Any] = []
    if card.votable:
        made = [
            kit.ButtonElement(
                text=_plain(word, 75), action_id=action, value=value, style=style, confirm=_confirm(card, word)
            )
            for word, action, style in (("Approve", APPROVE, "primary"), ("Deny", DENY, "danger"))
        ]
        made.append(kit.ButtonElement(text=_plain("Request changes", 75), action_id=CHANGES, value=value))
    if card.link:
        made.append(kit.ButtonElement(text=_plain("Open in the inbox", 75), action_id=OPEN, url=card.link))
    return made


def _confirm(card: Card, word: str) -> Any:
    facts = dict(card.facts)
    text = shown(f"{facts['Does']} to {facts['Sends to']}, digest {card.digest[:12]}", 280)
    kit = _kit()
    title, yes, no = _plain(f"{word}?", 100), _plain(word, 30), _plain("Not yet", 30)
    return kit.ConfirmObject(title=title, text=_plain(text, 300), confirm=yes, deny=no)


def ticket(card: Card, channel: Channel) -> str:
    """What a button says it is for."""
    return json.dumps([channel.name, card.approval, card.version, card.digest])


def said(text: str) -> dict[str, Any]:
    """A sentence: as plain text, and where that is not shown, escaped."""
    plain = {"type": "plain_text", "text": shown(text, 1000), "emoji": False}
    return {"text": mrkdwn(text), "blocks": [{"type": "section", "text": plain}]}


def modal(value: str) -> dict[str, Any]:
    """The window that asks for a reason. ``value``: the button's ticket."""
    kit = _kit()
    entry = kit.PlainTextInputElement(action_id=REASON, multiline=True, min_length=1, max_length=MAX_REASON)
    hint = _plain("The caller reads this.", 200)
    view: View = _views().View(
        type="modal",
        callback_id=MODAL,
        title=_plain("Request changes", 24),
        submit=_plain("Send", 24),
        close=_plain("Not yet", 24),
        private_metadata=value,
        blocks=[kit.InputBlock(block_id=REASON, label=_plain("What should change?", 200), element=entry, hint=hint)],
    )
    return view.to_dict()


def _plain(text: str, most: int) -> Any:
    """The one kind of text object that is used; ``most`` counts UTF-16 units, as Slack's own limits may."""
    kept = text
    while len(kept.encode("utf-16-le")) > 2 * most:
        kept = kept[: most - 1 if len(kept) > most else len(kept) - 2] + "…"
    return _kit().PlainTextObject(text=kept, emoji=False)


def _kit() -> Any:
    try:
        from slack_sdk.models import blocks as kit
    except ImportError:
        raise Undelivered("install_llmguard[slack]") from None
    return kit


def _views() -> Any:
    from slack_sdk.models import views

    return views
