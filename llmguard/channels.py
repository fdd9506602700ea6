"""Channel: where people hear of approvals (``[[channels]]``). Data alone; ``llmguard.notify`` speaks to them.

Secrets come from the environment: ``LLMGUARD_CHANNEL_NAME_TOKEN`` and others by kind; a file never holds them.
Invariant: a channel's destination is https, TLS mail, or this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import time
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from llmguard.errors import ConfigError
from llmguard.model import State

ChannelKind = Literal["slack", "teams", "webhook", "email"]
KINDS: tuple[ChannelKind, ...] = get_args(ChannelKind)
CALLS = ("pending", "reminder", "escalated", "break_glass")
"""Events that call people."""
EVENTS = (*CALLS, "vote", *(state.lower() for state in get_args(State) if state != "PENDING"))
SLACK_API = "https://slack.com/api/"
LONGEST = 64
"""Entries of a list."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECRETS = ("token", "signing_secret", "app_token")
_SCHEMES: Mapping[str, tuple[str, str]] = {
    "slack": ("https", "http"),
    "teams": ("https", "http"),
    "webhook": ("https", "http"),
    "email": ("smtps", "smtp"),
}
"""By kind: the scheme for anywhere, and the one that is for this machine alone (smtp demands STARTTLS elsewhere)."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One table of ``[[channels]]``. Risks are 0 to 100, as written."""

    name: str
    """Names it in the log, on the command line and in variables: a-z, 0-9 and dashes."""
    kind: ChannelKind
    """``slack``, ``teams``, ``webhook`` or ``email``."""
    url: str = field(default="", repr=False)
    """Where it is; may hold a secret, then better in ``LLMGUARD_CHANNEL_NAME_URL``. Slack has a default."""
    groups: tuple[str, ...] = ()
    """Only what these groups decide; none: everything."""
    events: tuple[str, ...] = ()
    """What it hears; none: a webhook everything, the others what calls people."""
    min_risk: int = 0
    """Only calls of this risk or more. Emergencies are always told."""
    notify_only_above: int = 70
    """Slack: what has a higher risk cannot be decided there, only in the inbox."""
    excerpts: bool = False
    """Whether a redacted beginning of what leaves goes out, too; each time is in the log."""
    quiet: str = ""
    """``22:00-07:00``: nothing but escalations and emergencies, in ``timezone``."""
    timezone: str = "UTC"
    """An IANA name, as ``Europe/Zurich``."""
    conversation: str = ""
    """Slack: the id of the conversation, as ``C0123456789``."""
    team: str = ""
    """Slack: the id of the workspace, as ``T0123456789``. Nobody of another one decides anything."""
    socket: bool = False
    """Slack: answers come over Socket Mode, not over HTTP."""
    to: tuple[str, ...] = ()
    """E-mail: the recipients."""
    sender: str = ""
    """E-mail: whom it is from."""
    user: str = ""
    """E-mail: who logs in at the server, with the token as password."""
    token: str | None = field(default=None, repr=False)
    """Slack: bot token. Webhook: signing secrets (``whsec_…``), the newest first. E-mail: password."""
    signing_secret: str | None = field(default=None, repr=False)
    """Slack over HTTP: what its requests are signed with."""
    app_token: str | None = field(default=None, repr=False)
    """Slack in Socket Mode: app-level token."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", self.name):
            raise ConfigError("channels: a name has up to 32 of a-z, 0-9 and dashes")
        if self.kind not in KINDS:
            raise ConfigError(f"channel {self.name}: kind is one of {', '.join(KINDS)}")
        if unknown := set(self.events) - set(EVENTS):
            raise ConfigError(f"channel {self.name}: no event {sorted(unknown)[0]!r}; events are {', '.join(EVENTS)}")
        if not (0 <= self.min_risk <= 100 and 0 <= self.notify_only_above <= 100):
            raise ConfigError(f"channel {self.name}: min_risk and notify_only_above are from 0 to 100")
        self._check_destination()
        self._check_kind()
        self.hours  # noqa: B018  raises
        self.zone  # noqa: B018

    @property
    def address(self) -> str:
        """Where it is spoken to."""
        return self.url or (SLACK_API if self.kind == "slack" else "")

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.address).hostname in _LOOPBACK

    @property
    def hears(self) -> frozenset[str]:
        """Events without their prefix ``approval.``"""
        return frozenset(self.events or (EVENTS if self.kind == "webhook" else CALLS))

    @property
    def hours(self) -> tuple[time, time] | None:
        """When it is quiet, from and until."""
        if not self.quiet:
            return None
        match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", self.quiet)
        if not match or match[1] + match[2] == match[3] + match[4]:
            raise ConfigError(f"channel {self.name}: quiet is a span as 22:00-07:00")
        a, b, c, d = (int(part) for part in match.groups())
        return time(a, b), time(c, d)

    @property
    def zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (OSError, ValueError, KeyError):
            raise ConfigError(
                f"channel {self.name}: timezone is an IANA name, as Europe/Zurich (or install tzdata)"
            ) from None

    @property
    def missing(self) -> tuple[str, ...]:
        """The variables without which it cannot be spoken to."""
        needed: dict[str, bool] = {
            "url": not self.address,
            "token": not self.token and (self.kind in ("slack", "webhook") or bool(self.user)),
            "signing_secret": self.kind == "slack" and not self.socket and not self.signing_secret,
            "app_token": self.socket and not self.app_token,
        }
        return tuple(variable(self.name, what) for what, lacking in needed.items() if lacking)

    def _check_destination(self) -> None:
        if not self.address:
            return
        everywhere, here = _SCHEMES[self.kind]
        try:
            parts = urlsplit(self.address)
            port = parts.port
        except ValueError:
            raise ConfigError(f"channel {self.name}: url is no address") from None
        fine = parts.scheme == everywhere or (parts.scheme == here and (self.local or self.kind == "email"))
        fine = fine and re.fullmatch("[!-~]+", self.address) is not None
        if not fine or not parts.hostname or parts.username or parts.fragment or port == 0:
            raise ConfigError(
                f"channel {self.name}: url is {everywhere}://… without credentials; {here}:// on this machine"
            )

    def _check_kind(self) -> None:
        slack, mail = self.kind == "slack", self.kind == "email"
        if slack and not (
            re.fullmatch("[CDG][A-Z0-9]{5,20}", self.conversation) and re.fullmatch("T[A-Z0-9]{5,20}", self.team)
        ):
            raise ConfigError(
                f"channel {self.name}: conversation and team are ids of Slack, as C0123456789, T0123456789"
            )
        if slack and not self.address.endswith("/"):
            raise ConfigError(f"channel {self.name}: url of Slack's API ends in a slash")
        if mail and not (self.to and all(map(_mail_address, (*self.to, self.sender)))):
            raise ConfigError(f"channel {self.name}: to and sender are addresses, as guard@example.com")
        strange = (not slack and (self.conversation or self.team or self.socket)) or (
            not mail and (self.to or self.sender or self.user)
        )
        if strange:
            raise ConfigError(
                f"channel {self.name}: conversation, team and socket are for slack; to, sender and user for email"
            )

    @classmethod
    def of(cls, table: Any) -> Channel:
        """From a table of the file; every unknown name is an error. Raises ConfigError."""
        kinds = {f.name: str(f.type) for f in fields(cls) if f.name not in _SECRETS}
        if not isinstance(table, Mapping) or set(table) - set(kinds) or {"name", "kind"} - set(table):
            raise ConfigError(
                f"channels: a table has name and kind, and may have {', '.join(kinds)}; secrets: see docs"
            )
        values = {name: _value(f"channels: {name}", kinds[name], value) for name, value in table.items()}
        name = str(values["name"])
        given = {what: os.environ.get(variable(name, what)) for what in ("url", *_SECRETS)}
        return cls(**values | {what: value for what, value in given.items() if value})


def variable(name: str, what: str) -> str:
    """The variable that holds a secret of a channel."""
    return f"LLMGUARD_CHANNEL_{name.upper().replace('-', '_')}_{what.upper()}"


def _mail_address(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}", text) is not None


def _value(name: str, annotation: str, value: Any) -> Any:
    """Raises ConfigError."""
    if annotation.startswith("tuple"):
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value) or len(value) > LONGEST:
            raise ConfigError(f"{name} must be a list of at most {LONGEST} texts")
        return tuple(value)
    kind: type = {"int": int, "bool": bool}.get(annotation, str)
    if type(value) is not kind:
        raise ConfigError(f"{name} must be { {int: 'a whole number', bool: 'true or false', str: 'text'}[kind] }")
    return value
