"""Interactions: what people do in Slack, as acts of the person whose account was linked, over HTTP or Socket Mode.

A button is a ballot, cast the way that every ballot goes; here is only checked who pressed it, where, and whether this
channel may decide it. Invariant: nothing of a message is believed but who sent it, and which card it was on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmguard import audit
from llmguard.approvals import Approvals, ballots
from llmguard.approvals.approvals import Ballot as Verdict
from llmguard.approvals.ballots import Ballot
from llmguard.channels import Channel
from llmguard.errors import Conflict, InvalidRequest, LLMGuardError, NotAllowed
from llmguard.model import Approval, AuditEntry
from llmguard.notify import links, slack
from llmguard.notify.card import elsewhere
from llmguard.notify.failure import Undelivered
from llmguard.notify.links import Account
from llmguard.notify.outgoing import outgoing
from llmguard.notify.text import shown
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

log = logging.getLogger("llmguard")
T = TypeVar("T")
HELP = "Send /llmguard link CODE with a code of the inbox's account page, or /llmguard unlink."
_VERDICTS: Mapping[str, Verdict] = {slack.APPROVE: "approve", slack.DENY: "deny"}
_TICKET = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@dataclass(frozen=True, slots=True)
class Call:
    """A method of Slack's Web API to be called after the answer."""

    channel: Channel
    method: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What Slack is answered, None for nothing but that it arrived; and what is done after that."""

    content: dict[str, Any] | None = None
    then: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which card a button was on."""

    channel: str
    approval: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """Somebody pressed something: who, in which channel of ours, about what, with which reason."""

    account: Account
    channel: Channel
    ticket: Ticket
    reason: str = field(default="", repr=False)


class Interactions:
    """``tenant``: whose people and approvals these are."""

    def __init__(self, store: Store, vault: Vault, approvals: Approvals, tenant: str) -> None:
        self._store = store
        self._vault = vault
        self._approvals = approvals
        self._tenant = tenant

    async def command(self, fields: Mapping[str, Any], channels: Sequence[Channel]) -> Reply:
        """A slash command, whose answer its sender alone sees. Raises InvalidRequest."""
        account = _account(fields.get("team_id"), fields.get("user_id"), channels)
        words = str(fields.get("text", ""))[:200].split()
        try:
            told = await self._commanded(words, account)
        except LLMGuardError as e:
            told = e.message
        return Reply({"response_type": "ephemeral", **slack.said(told)})

    async def _commanded(self, words: list[str], account: Account) -> str:
        if words[:1] == ["link"] and len(words) == 2:
            made = await self._act(lambda tx: links.link(tx, self._vault, self._tenant, words[1], account))
            return f"This account is {made.email} from now on."
        if words == ["unlink"]:
            await self._act(lambda tx: links.unlink(tx, self._tenant, account))
            return "This account is nobody's any more."
        return HELP

    async def interaction(self, payload: Mapping[str, Any], channels: Sequence[Channel]) -> Reply:
        """A button or a window. Raises InvalidRequest for what Slack would not send."""
        team, user = _part(payload, "team").get("id"), _part(payload, "user")
        account = _account(user.get("team_id", team), user.get("id"), channels)
        if payload.get("type") == "view_submission":
            return await self._submitted(_part(payload, "view"), account, channels)
        actions = payload.get("actions")
        if payload.get("type") != "block_actions" or not isinstance(actions, list) or not actions:
            raise InvalidRequest("this kind of interaction is unknown here")
        action = actions[0] if isinstance(actions[0], dict) else {}
        if action.get("action_id") == slack.OPEN:
            return Reply()
        ticket = _ticket(action.get("value"))
        channel = _channel(ticket, channels, account, str(_part(payload, "channel").get("id")))
        return await self._pressed(action, Pressed(account, channel, ticket), payload.get("trigger_id"))

    async def _pressed(self, action: Mapping[str, Any], pressed: Pressed, trigger: Any) -> Reply:
        name = action.get("action_id")
        if name not in (*_VERDICTS, slack.CHANGES):
            raise InvalidRequest("this button is unknown here")
        try:
            if name == slack.CHANGES:
                await asyncio.to_thread(self._store.read, lambda tx: self._votable(tx, pressed))
                view = await asyncio.to_thread(slack.modal, str(action["value"]))
                opened = {"trigger_id": str(trigger)[:200], "view": view}
                return Reply(then=(Call(pressed.channel, "views.open", opened),))
            after = await self._act(lambda tx: self._vote(tx, pressed, _VERDICTS[str(name)]))
        except LLMGuardError as e:
            return _whisper(pressed, e.message)
        open_ = after.state == "PENDING"
        return _whisper(pressed, "Your vote counts; more people are needed." if open_ else "Your vote counts.")

    async def _submitted(self, view: Mapping[str, Any], account: Account, channels: Sequence[Channel]) -> Reply:
        if view.get("callback_id") != slack.MODAL:
            raise InvalidRequest("this window is unknown here")
        ticket = _ticket(view.get("private_metadata"))
        entry = _part(_part(_part(_part(view, "state"), "values"), slack.REASON), slack.REASON)
        reason = str(entry.get("value") or "")[: slack.MAX_REASON]
        pressed = Pressed(account, _channel(ticket, channels, account, None), ticket, reason)
        try:
            await self._act(lambda tx: self._vote(tx, pressed, "request_changes"))
        except LLMGuardError as e:
            return Reply({"response_action": "errors", "errors": {slack.REASON: shown(e.message, 300)}})
        return Reply()

    async def _act(self, work: Callable[[Transaction], T]) -> T:
        return await asyncio.wrap_future(self._store.submit(work, durable=True))

    # ----------------------------------------------------------------- units of work

    def _votable(self, tx: Transaction, pressed: Pressed) -> tuple[Any, Approval]:
        """Who it is here, and what is voted on. Raises NotAllowed or NotFound."""
        who = links.person(tx, self._vault, self._tenant, pressed.account)
        approval = ballots.visible(tx, self._approvals, who, pressed.ticket.approval)
        if approval.state != "PENDING" or approval.expires <= tx.now:
            state = approval.state if approval.expires > tx.now else "EXPIRED"
            raise Conflict(f"nothing is left to decide here: this approval is {state}", approval_id=approval.id)
        if why := elsewhere(approval, pressed.channel):
            raise NotAllowed(f"not from here: {why}", approval_id=approval.id)
        return who, approval

    def _vote(self, tx: Transaction, pressed: Pressed, verdict: Verdict) -> Approval:
        who, _ = self._votable(tx, pressed)
        ticket = pressed.ticket
        said = Ballot(verdict, ticket.digest, pressed.reason, ticket.version)
        after = ballots.cast(tx, self._approvals, who, ticket.approval, said)
        details = {"approval": after.id, "by": who.email, "channel": pressed.channel.name}
        where = {"team": pressed.account.team, "account": pressed.account.id}
        audit.append(tx, [AuditEntry("channel.vote", self._tenant, details | where)])
        return after


async def follow_up(calls: Sequence[Call]) -> None:
    """What comes after the answer. Nothing hangs on it: what fails is in the operator's log."""
    if not calls:
        return
    async with outgoing() as out:
        for one in calls:
            try:
                await slack.call(out, one.channel, one.method, one.arguments)
            except Undelivered as e:
                log.error("the channel %s did not take %s: %s", one.channel.name, one.method, e.code)


# --------------------------------------------------------------------------- what Slack says, believed a little


def _account(team: Any, user: Any, channels: Sequence[Channel]) -> Account:
    """Only people of the very workspace that is configured: guests of a shared conversation are of another."""
    if not isinstance(team, str) or not isinstance(user, str) or not re.fullmatch("[UW][A-Z0-9]{5,20}", user):
        raise InvalidRequest("this says of nobody who it is from")
    if team not in {c.team for c in channels}:
        raise NotAllowed("this workspace is not configured here")
    return Account(team, user)


def _ticket(value: Any) -> Ticket:
    try:
        channel, approval, version, digest = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest("this is no card of ours") from None
    if type(version) is not int or not all(isinstance(text, str) for text in (channel, approval, digest)):
        raise InvalidRequest("this is no card of ours")
    if not _TICKET.fullmatch(approval) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise InvalidRequest("this is no card of ours")
    return Ticket(channel, approval, version, digest)


def _channel(ticket: Ticket, channels: Sequence[Channel], who: Account, conversation: str | None) -> Channel:
    """The channel of ours that the card is in. ``conversation``: where it was pressed, None where that is not said."""
    for channel in channels:
        if (channel.name, channel.team) == (ticket.channel, who.team) and conversation in (None, channel.conversation):
            return channel
    raise NotAllowed("this conversation is not configured here")


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _whisper(pressed: Pressed, text: str) -> Reply:
    """Words for the one who pressed, below the card."""
    arguments = {"channel": pressed.channel.conversation, "user": pressed.account.id, **slack.said(text)}
    return Reply(then=(Call(pressed.channel, "chat.postEphemeral", arguments),))
