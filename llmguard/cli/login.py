"""``llmguard login`` and ``logout``: a session of the control plane, kept in a private file.

Without a code the browser goes to the identity provider, and comes back to a port of this machine with a one-time code
that is worth nothing without the secret that this process keeps.
"""

from __future__ import annotations

import secrets
import webbrowser
from typing import Any
from urllib.parse import urlencode

import click

from llmguard.cli.client import ControlClient, Credentials, read_credentials, write_credentials
from llmguard.cli.loopback import Loopback
from llmguard.cli.screen import ask_secret, moment, visible
from llmguard.config import Settings
from llmguard.errors import Unauthenticated
from llmguard.identity.sessions import s256

WAIT = 300.0
"""Seconds that a person may take in the browser."""


def _note(text: str) -> None:
    click.echo(text, err=True)


@click.command(epilog="Example: llmguard login --url https://guard.example.com")
@click.option("--code", help="A one-time code, instead of an identity provider.")
@click.option("--email", help="Log in with the password of a local account (llmguard users password sets it).")
@click.option("--url", help="Address of the control plane.  [default: control_url of the configuration]")
@click.option("--provider", metavar="NAME", help="Identity provider, where several are configured.")
@click.option("--again", is_flag=True, help="Log in anew at the identity provider, for what needs a fresh login.")
@click.option("--no-browser", is_flag=True, help="Print the address alone on stdout instead of opening a browser.")
@click.option("--timeout", type=click.FloatRange(1, 3600), default=WAIT, show_default=True, help="Seconds to wait.")
@click.pass_obj
def login(settings: Settings, /, code: str | None, email: str | None, url: str | None, **browser: Any) -> None:
    """Log in for 12 hours: in the browser, with --code or with --email. The session is kept in a private file.

    An identity provider sends the browser back to this machine; the browser must run here, too.
    """
    address = url or settings.control_url
    held = read_credentials(settings.credentials)
    with ControlClient(address, held.token if held is not None and held.url == address else None) as client:
        if email is not None:
            traded = {"email": email, "password": ask_secret("password")}
        else:
            traded = {"code": code} if code else _brought(client, address, **browser)
        answer = client.post("/login", traded)
    stored = Credentials(address, str(answer["email"]), str(answer["token"]), int(answer["expires"]))
    write_credentials(settings.credentials, stored)
    groups = visible(", ".join(answer["groups"])) or "none"
    _note(f"logged in as {visible(stored.email)} until {moment(stored.expires)} (groups: {groups})")


def _brought(
    client: ControlClient, address: str, *, provider: str | None, again: bool, no_browser: bool, timeout: float
) -> dict[str, str]:
    """The code that the browser brings, and its verifier. Raises Unauthenticated."""
    names = [str(name) for name in client.get("/login/providers")["providers"]]
    if not names:
        raise Unauthenticated("no identity provider is configured there: llmguard login --code CODE")
    if (provider is None and len(names) > 1) or (provider is not None and provider not in names):
        raise click.UsageError(f"--provider is one of {', '.join(map(visible, names))}")
    verifier = secrets.token_urlsafe(48)
    loopback = Loopback(s256(verifier))
    query = {"port": str(loopback.port), "challenge": s256(verifier), "provider": provider or names[0]}
    start = f"{address.rstrip('/')}/guard/v1/login/start?{urlencode(query | ({'max_age': '0'} if again else {}))}"
    with loopback.listening():
        if no_browser or not webbrowser.open(start):
            _note("open this address in a browser on this machine:")
            click.echo(start)
        else:
            _note("waiting for the browser; Ctrl-C ends this (llmguard login --no-browser prints the address)")
        return {"code": loopback.code(timeout), "verifier": verifier}


@click.command()
@click.pass_obj
def logout(settings: Settings) -> None:
    """End the session, there and here, and say where the identity provider's own session ends."""
    if read_credentials(settings.credentials) is None:
        return _note("nobody was logged in")
    try:
        with ControlClient.of(settings) as client:
            elsewhere = (client.post("/logout", {}) or {}).get("end_session")
    except Unauthenticated:
        _note("the session was over already")
        elsewhere = None
    finally:
        settings.credentials.unlink(missing_ok=True)
    _note("logged out")
    if elsewhere:
        _note("you are still logged in at the identity provider; to end that, too, open:")
        click.echo(visible(str(elsewhere)))
    return None
