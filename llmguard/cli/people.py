"""``llmguard users`` and ``keys``: who may decide, and who may call.

Until two people are active, the owner of the host works on the data folder directly, and the log says ``bootstrap``.
From then on people change through the control plane, as the person who is logged in. One-time codes and new keys stand
alone on stdout; everything said about them goes to stderr.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any, TypeVar

import click

from llmguard import identity
from llmguard.cli.client import ControlClient, read_credentials, segment
from llmguard.cli.screen import ask_secret, console, moment, table, visible
from llmguard.cli.times import span_option
from llmguard.config import Settings
from llmguard.errors import LLMGuardError, Unauthenticated
from llmguard.identity import Cause, Change, PersonChange, Source
from llmguard.store import Store, Transaction
from llmguard.vault import Keyring, Vault

T = TypeVar("T")
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


def _note(text: str) -> None:
    click.echo(text, err=True)


# --------------------------------------------------------------------------- the data folder


def local(settings: Settings, work: Callable[[Transaction, Vault], T]) -> T:
    """One unit of work on the data folder itself, as the owner of the host."""
    vault = Vault(Keyring.open(settings.data / "keys"))
    with closing(Store(settings.data / "llmguard.db")) as store:
        return store.transact(lambda tx: work(tx, vault), durable=True)


def here(settings: Settings) -> bool:
    """Whether changes are made on the data folder: it is in bootstrap, or nothing was ever set up nor logged in."""
    if (settings.data / "llmguard.db").exists():
        return local(settings, lambda tx, vault: identity.bootstrapping(tx, vault, settings.tenant))
    return read_credentials(settings.credentials) is None


def _client(settings: Settings) -> ControlClient:
    try:
        return ControlClient.of(settings)
    except Unauthenticated:
        raise Unauthenticated(
            "two people are active, so this needs somebody else's approval and goes through the control plane: "
            "llmguard login first (with a code: llmguard users code EMAIL on the guard's host makes one)"
        ) from None


def bootstrap_cause(tx: Transaction, vault: Vault, settings: Settings) -> Cause:
    """Why a change takes effect alone. Asked inside the unit of work: bootstrap may have ended a moment ago."""
    if not identity.bootstrapping(tx, vault, settings.tenant):
        raise Unauthenticated("two people are active by now: llmguard login first")
    return Cause(operator(), bootstrap=True)


def _bootstrap(tx: Transaction, vault: Vault, settings: Settings, change: Change) -> None:
    identity.apply(tx, vault, settings.tenant, change, bootstrap_cause(tx, vault, settings))


def operator() -> str:
    return f"{identity.OPERATOR}:{os.getuid()}"


def _print_code(settings: Settings, email: str, code: str) -> None:
    _note(f"{visible(email)} logs in within 15 minutes, once, with:")
    _note(f"  llmguard login --code {code} --url {settings.control_url}")
    click.echo(code)


def _waiting(approval: dict[str, Any]) -> None:
    id_ = visible(str(approval["id"]))
    _note(f"waits for somebody else's approval: {id_}")
    _note(f"  they run: llmguard approvals show {id_}")


# --------------------------------------------------------------------------- users


@click.group()
def users() -> None:
    """People who approve: add them, list them, let them go."""


@users.command("add", epilog="Example: llmguard users add bo@example.com --group reviewers --group security")
@click.argument("email")
@click.option("--group", "groups", multiple=True, metavar="G", help="Group; several times.  [default: reviewers]")
@click.option("--no-group", is_flag=True, help="In no group: accountable for keys, but decides nothing.")
@click.option(
    "--source",
    type=click.Choice(["guard", "provider"]),
    help="Who says which groups: changes under approval, or the identity provider.  [default: as it is, guard if new]",
)
@click.pass_obj
def add_user(settings: Settings, email: str, groups: tuple[str, ...], no_group: bool, source: Source | None) -> None:
    """Add a person, or set the groups of one, and print a one-time code to log in with.

    Until two people are active this takes effect at once, on the guard's host. Afterwards somebody else approves it,
    and the code is made on the guard's host: llmguard users code EMAIL.
    """
    if groups and no_group:
        raise click.UsageError("--group and --no-group exclude each other")
    if groups and source == "provider":
        raise click.UsageError("--group and --source provider exclude each other: the identity provider says which")
    chosen = () if no_group or source == "provider" else groups or (identity.DEFAULT_GROUP,)
    change = PersonChange(identity.normal_email(email), identity.normal_groups(chosen), source=source)
    if not here(settings):
        with _client(settings) as client:
            asked = {"email": change.email, "groups": list(change.groups), "source": source or ""}
            result = client.post("/people", asked)
        _waiting(result["approval"])
        return _note(f"once approved: {_way_in(change.email, source)}")

    def work(tx: Transaction, vault: Vault) -> str | None:
        _bootstrap(tx, vault, settings, change)
        if source == "provider":
            return None
        cause = Cause(operator(), bootstrap=True)
        return identity.issue_code(tx, vault, settings.tenant, change.email, cause)

    code = local(settings, work)
    return _note(_way_in(change.email, source)) if code is None else _print_code(settings, change.email, code)


def _way_in(email: str, source: Source | None) -> str:
    if source == "provider":
        return f"{email} logs in at the identity provider: llmguard login"
    return f"on the guard's host: llmguard users code {email}"


@users.command("code", epilog="Example, on the guard's host: llmguard users code bo@example.com")
@click.argument("email")
@click.pass_obj
def code_of_user(settings: Settings, email: str) -> None:
    """Print a fresh one-time code for a person. Works on the guard's data folder only; the log says who made it."""
    address = identity.normal_email(email)
    if not (settings.data / "llmguard.db").exists():
        raise LLMGuardError(f"no guard keeps its state in {settings.data}: run this on the guard's host")

    def work(tx: Transaction, vault: Vault) -> str:
        return identity.issue_code(tx, vault, settings.tenant, address, Cause(operator()))

    _print_code(settings, address, local(settings, work))


@users.command("password")
@click.pass_obj
def password_of_user(settings: Settings) -> None:
    """Set one's own password, asked twice, for llmguard login --email. Other sessions end. Needs a recent login."""
    with ControlClient.of(settings) as client:
        client.post("/password", {"password": ask_secret("new password", twice=True)})
    _note("the password is set; other sessions of yours are over")


@users.command("list")
@_JSON
@click.pass_obj
def list_users(settings: Settings, as_json: bool) -> None:
    """List people and their groups."""

    def work(tx: Transaction, vault: Vault) -> list[dict[str, Any]]:
        found = identity.people(tx, vault, settings.tenant)
        told = ("email", "active", "source", "created")
        return [{name: getattr(p, name) for name in told} | {"groups": list(p.groups)} for p in found]

    found = rows(settings, work, "/people", "people")
    if as_json:
        return click.echo(json.dumps(found))
    shown = table("EMAIL", "GROUPS", "BY", "ACTIVE", "SINCE")
    for p in found:
        about = (visible(p["email"]), visible(", ".join(p["groups"])), visible(p["source"]))
        shown.add_row(*about, "yes" if p["active"] else "no", moment(p["created"]))
    return console().print(shown)


@users.command("deactivate")
@click.argument("email")
@click.pass_obj
def deactivate_user(settings: Settings, email: str) -> None:
    """Let a person go: sessions end, votes on what is not spent stop to count. Oneself at once, others by approval."""
    address = identity.normal_email(email)
    if not here(settings):
        with _client(settings) as client:
            result = client.post(f"/people/{segment(address)}/deactivate", {})
        return _note(f"{address} is deactivated") if result["applied"] else _waiting(result["approval"])

    def work(tx: Transaction, vault: Vault) -> None:
        person = identity.person(tx, vault, settings.tenant, address)
        groups = person.groups if person else ()
        _bootstrap(tx, vault, settings, PersonChange(address, groups, active=False))

    local(settings, work)
    return _note(f"{address} is deactivated")


def rows(
    settings: Settings, work: Callable[[Transaction, Vault], list[dict[str, Any]]], path: str, name: str
) -> list[dict[str, Any]]:
    """From the control plane where somebody is logged in, else from the data folder."""
    if read_credentials(settings.credentials) is None:
        return local(settings, work)
    with ControlClient.of(settings) as client:
        return list(client.pages(path, name))


# --------------------------------------------------------------------------- keys


@click.group()
def keys() -> None:
    """Keys of the data plane (lg_…): who may call."""


_HUMAN = click.option(
    "--human", metavar="EMAIL", help="Who is accountable for its calls. Without: two reviewers for each held call."
)
_SCOPE = click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="S",
    help="What it may call: a kind (inference) or a pattern of operations (chat.*, action.db.export); several times.",
)


_EXPIRES = click.option(
    "--expires",
    "lifetime",
    callback=span_option,
    metavar="TIME",
    help="How long it lives, as 30d or 12h.  [default: for ever]",
)


def _limits(scopes: tuple[str, ...], lifetime: int | None) -> dict[str, Any]:
    return {"scopes": list(scopes), **({} if lifetime is None else {"expires_in": lifetime})}


@keys.command("add", epilog="Example: export OPENAI_API_KEY=$(llmguard keys add my-app --human ann@example.com)")
@click.argument("name")
@_HUMAN
@click.option("--agent", is_flag=True, help="The key is an agent's, who acts for --human.")
@_SCOPE
@_EXPIRES
@click.pass_obj
def add_key(settings: Settings, /, name: str, human: str | None, **more: Any) -> None:
    """Make a key and print it alone on stdout; it is shown this once."""
    if not here(settings):
        return _ask_for_key(settings, name, human, **more)

    def work(tx: Transaction, vault: Vault) -> tuple[str, str]:
        token, change = identity.new_key(tx, vault, name, human, **more)
        _bootstrap(tx, vault, settings, change)
        return token, change.id

    token, id_ = local(settings, work)
    _note(f"key {id_} ({name}), accountable: {human or 'nobody, so held calls need two reviewers'}")
    _note("callers send it as their API key; it is not shown again")
    return click.echo(token)


def _ask_for_key(
    settings: Settings, name: str, human: str | None, *, agent: bool, scopes: tuple[str, ...], lifetime: int | None
) -> None:
    asked = {"name": name, "human": human or "", "agent": agent, **_limits(scopes, lifetime)}
    with _client(settings) as client:
        result = client.post("/keys", asked)
    if result["applied"]:
        _note(f"key {visible(result['id'])}: callers send it as their API key; it is not shown again")
    else:
        _waiting(result["approval"])
        _note("the key is not valid before that; it is not shown again (--human YOUR-OWN-ADDRESS needs nobody)")
    click.echo(visible(result["token"]))


@keys.command("link", epilog="Example: llmguard keys link 3f…e1 --human ann@example.com")
@click.argument("digest")
@click.option("--human", metavar="EMAIL", required=True, help="Who is accountable for its calls.")
@_SCOPE
@_EXPIRES
@click.pass_obj
def link_key(settings: Settings, digest: str, human: str, scopes: tuple[str, ...], lifetime: int | None) -> None:
    """Make somebody accountable for a provider's key that is passed through.

    DIGEST stands in the guard's refusal of the key; it reveals nothing of it. Somebody else approves.
    """
    if not here(settings):
        with _client(settings) as client:
            asked = {"digest": digest, "human": human, **_limits(scopes, lifetime)}
            return _waiting(client.post("/keys/link", asked)["approval"])

    def work(tx: Transaction, vault: Vault) -> str:
        change = identity.link_key(tx, digest, human, scopes=scopes, lifetime=lifetime)
        _bootstrap(tx, vault, settings, change)
        return change.id

    return _note(f"key {local(settings, work)}: {visible(human)} is accountable for this provider key")


@keys.command("list")
@_JSON
@click.pass_obj
def list_keys(settings: Settings, as_json: bool) -> None:
    """List keys; their secrets are stored nowhere."""

    def work(tx: Transaction, vault: Vault) -> list[dict[str, Any]]:
        return [asdict(k) for k in identity.keys(tx, vault, settings.tenant)]

    known = rows(settings, work, "/keys", "keys")
    if as_json:
        return click.echo(json.dumps(known))
    shown = table("ID", "NAME", "KIND", "HUMAN", "SCOPES", "SINCE", "EXPIRES", "REVOKED")
    for k in known:
        words = (k["id"], k["name"], k["kind"], k["human"] or "nobody", " ".join(k["scopes"]) or "all")
        shown.add_row(*map(visible, words), *(moment(k[name]) for name in ("created", "expires", "revoked")))
    return console().print(shown)


@keys.command("revoke")
@click.argument("id_", metavar="ID")
@click.pass_obj
def revoke_key(settings: Settings, id_: str) -> None:
    """End a key, at once. Needs nobody's approval."""
    if read_credentials(settings.credentials) is not None:
        with ControlClient.of(settings) as client:
            client.post(f"/keys/{segment(id_.upper())}/revoke", {})
    else:
        local(settings, lambda tx, vault: identity.revoke_key(tx, vault, settings.tenant, id_.upper(), operator()))
    _note(f"key {visible(id_)} is revoked")
