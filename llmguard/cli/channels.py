"""``llmguard channels``: where people hear of approvals, how that goes, and a harmless message to try one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import click

from llmguard.channels import Channel
from llmguard.cli.screen import console, styled, table, visible
from llmguard.cli.times import now, relative
from llmguard.config import DATABASE, Settings
from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.notify.deliveries import Health, health
from llmguard.notify.failure import Undelivered
from llmguard.notify.outgoing import outgoing
from llmguard.notify.worker import SENDERS
from llmguard.store import Store


@click.group(epilog="Exit codes: 0 done, 1 refused, 2 used wrongly. Set up: docs/notifications.md.")
def channels() -> None:
    """Channels: Slack, Teams, webhooks and e-mail that tell people of approvals."""


@channels.command("list", epilog="Example: llmguard channels list")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
@click.pass_obj
def list_channels(settings: Settings, as_json: bool) -> None:
    """List the configured channels: what they hear, what they lack, and how they do. No secret is shown."""
    found = healths(settings)
    if as_json:
        return click.echo(json.dumps([_row(c, found.get(c.name, Health())) for c in settings.channels]))
    if not settings.channels:
        return click.echo("no channels are configured: [[channels]] in the configuration", err=True)
    shown = table("NAME", "KIND", "HEARS", "GROUPS", "FROM RISK", "WAITING", "STATE")
    for c in settings.channels:
        h = found.get(c.name, Health())
        hears = ", ".join(sorted(c.hears)) if c.events else "the default"
        words = (c.kind, hears, ", ".join(c.groups) or "all", str(c.min_risk), str(h.waiting), state(c, h))
        shown.add_row(visible(c.name), *(styled(word) for word in words))
    return console().print(shown)


@channels.command("test", epilog="Example: llmguard channels test reviewers")
@click.argument("name")
@click.pass_obj
def test_channel(settings: Settings, name: str) -> None:
    """Send a harmless message to the channel NAME, from this machine, at once."""
    channel = next((c for c in settings.channels if c.name == name), None)
    if channel is None:
        names = ", ".join(c.name for c in settings.channels) or "none"
        raise ConfigError(f"there is no channel of that name; configured: {names}")
    if channel.missing:
        raise ConfigError(f"the channel {channel.name} cannot be used: set {', '.join(channel.missing)}")
    try:
        asyncio.run(_greeted(channel))
    except Undelivered as e:
        raise GuardUnavailable(f"the channel {channel.name} did not take it: {explained(e.code)}") from None
    click.echo(f"the channel {channel.name} took a test message", err=True)


async def _greeted(channel: Channel) -> None:
    async with outgoing() as out:
        await SENDERS[channel.kind](channel).greet(out)


def healths(settings: Settings) -> dict[str, Health]:
    """How the channels do, by name; none before the first start."""
    path = settings.data / DATABASE
    if not path.exists() or not settings.channels:
        return {}
    store = Store(path, timeout=2.0)
    try:
        return store.read(lambda tx: {c.name: health(tx, settings.tenant, c.name) for c in settings.channels})
    finally:
        store.close()


def state(channel: Channel, h: Health) -> str:
    """In one line, what is to be said of a channel."""
    if channel.missing:
        return f"not used: set {', '.join(channel.missing)}"
    at = now()
    told = []
    if h.failures:
        told.append(f"does not take messages ({explained(h.problem)}), {_resumes(h, at)}")
    elif h.delivered:
        told.append(f"works, last {relative(h.delivered, at)}")
    else:
        told.append("nothing was sent yet")
    if h.lost:
        told.append(
            f"{h.lost} given up this week, last: {explained(h.problem)}"
            if h.problem
            else f"{h.lost} given up this week"
        )
    return "; ".join(told)


def _resumes(h: Health, at: int) -> str:
    return f"tried again {relative(h.resumes, at)}" if h.resumes > at else "is tried again"


def explained(code: str) -> str:
    """What to do about a failure, where its word does not say so."""
    return f"{code}: {_ADVICE[code]}" if code in _ADVICE else code


_ADVICE = {
    "slack_invalid_auth": "the token is not one of this app",
    "slack_not_in_channel": "invite the app to the conversation",
    "slack_channel_not_found": "the id is of no conversation that the app can see",
    "slack_missing_scope": "the app needs chat:write and commands",
    "redirected": "redirects are not followed; name the final address",
    "unreachable": "look at the address, DNS and the firewall of this host",
    "no_tls": "the server offers no STARTTLS; mail travels encrypted only",
    "install_llmguard[slack]": "pip install 'llmguard[slack]'",
    "too_late": "older than a day",
    "queue_full": "more waited than a channel may have waiting",
}


def _row(channel: Channel, h: Health) -> dict[str, Any]:
    plain = {"name": channel.name, "kind": channel.kind, "hears": sorted(channel.hears), "groups": list(channel.groups)}
    return plain | {"min_risk": channel.min_risk, "missing": list(channel.missing), **asdict(h)}
