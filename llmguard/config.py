"""Settings: one TOML file and ``LLMGUARD_*`` variables, typed, every unknown key refused.

The file is ``--config``, else ``LLMGUARD_CONFIG``, else ``config.toml`` in the user's configuration folder; never one
in the working directory, which may be somebody else's. Order of strength: arguments, environment, file, defaults.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import platformdirs

from llmguard.channels import Channel
from llmguard.errors import ConfigError
from llmguard.model import DEFAULT_TENANT, Destination, Trust

HoldForm = Literal["wait", "ticket"]
OnClientGone = Literal["keep", "cancel"]
OutputAction = Literal["record", "end"]
SIGNATURES = ("RS256", "PS256", "ES256", "EdDSA")
"""What may sign a token: asymmetric, and nothing else can be configured."""
DATABASE = "llmguard.db"
"""The database's name in ``data``."""


def _data() -> Path:
    return platformdirs.user_data_path("llmguard")


def _cache() -> Path:
    return platformdirs.user_cache_path("llmguard")


def _credentials() -> Path:
    return platformdirs.user_config_path("llmguard") / "credentials.json"


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An identity provider where people log in (``[[oidc]]``)."""

    name: str
    """Names it in addresses: a-z, 0-9 and dashes. ``LLMGUARD_OIDC_SECRET_NAME`` holds its ``client_secret``."""
    issuer: str
    """Exactly what its discovery document says: https, or http on this machine."""
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    """Without one this is a public client, with PKCE alone."""
    scopes: tuple[str, ...] = ("openid", "email", "profile", "offline_access")
    """``offline_access`` brings the token that confirms people between logins."""
    groups_claim: str = "groups"
    """Claim of the ID token or of userinfo that lists groups."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The provider's group → groups here. What is not named counts for nothing."""
    email_claim: str = "email"
    domains: tuple[str, ...] = ()
    """Domains whose addresses are believed; none: every domain."""
    provision: bool = False
    """Whether a first login makes a person; otherwise ``llmguard users add`` does, under approval."""
    unverified_email: bool = False
    """Believe addresses that the provider does not call verified."""
    jwks_url: str | None = None
    """Where the keys are, if not at the issuer's host."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", self.name):
            raise ConfigError("oidc: a name has up to 32 of a-z, 0-9 and dashes")
        for url in (self.issuer, self.jwks_url or self.issuer):
            _secure_url(f"oidc {self.name}", url)
        if not self.client_id or "openid" not in self.scopes:
            raise ConfigError(f"oidc {self.name}: client_id is missing, or openid is not among the scopes")

    @classmethod
    def of(cls, table: Any) -> OidcProvider:
        """From a table of the file; every unknown name is an error. Raises ConfigError."""
        kinds = {f.name: str(f.type) for f in fields(cls)}
        if not isinstance(table, Mapping) or set(table) - set(kinds) or {"name", "issuer", "client_id"} - set(table):
            raise ConfigError(f"oidc: a table has name, issuer and client_id, and may have {', '.join(sorted(kinds))}")
        values = {name: _field(f"oidc {name}", kinds[name], value) for name, value in table.items()}
        secret = os.environ.get(f"LLMGUARD_OIDC_SECRET_{values['name'].upper().replace('-', '_')}")
        return cls(**{"client_secret": secret, **values})


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An issuer of access tokens with which services call (``[[issuers]]``)."""

    issuer: str
    """Exactly the ``iss`` of its tokens: https, or http on this machine."""
    audience: str
    """What ``aud`` must name: this guard."""
    clients: Mapping[str, str]
    """Client id → who is accountable for what it does by itself, or nothing. Other clients are refused."""
    jwks_url: str | None = None
    """Where the keys are, if not where the issuer's discovery says, at its own host."""
    algorithms: tuple[str, ...] = SIGNATURES
    types: tuple[str, ...] = ("at+jwt",)
    """Accepted ``typ``; add ``jwt`` for an issuer that does not mark its access tokens."""
    human_claim: str = "email"
    """Claim with the address of the person that a token is for."""
    unverified_email: bool = False
    """Believe ``email`` without ``email_verified``."""

    def __post_init__(self) -> None:
        for url in (self.issuer, self.jwks_url or self.issuer):
            _secure_url(f"issuer {self.issuer}", url)
        if not self.audience or not self.clients or self.audience in self.clients:
            raise ConfigError(f"issuer {self.issuer}: audience names this guard, clients who may call; both are needed")
        if not self.algorithms or set(self.algorithms) - set(SIGNATURES):
            raise ConfigError(f"issuer {self.issuer}: algorithms are of {', '.join(SIGNATURES)}")
        if not self.types:
            raise ConfigError(f"issuer {self.issuer}: types has at least one typ, as at+jwt")

    @classmethod
    def of(cls, table: Any) -> TokenIssuer:
        """From a table of the file; every unknown name is an error. Raises ConfigError."""
        kinds = {f.name: str(f.type) for f in fields(cls)}
        needed = {"issuer", "audience", "clients"}
        if not isinstance(table, Mapping) or set(table) - set(kinds) or needed - set(table):
            raise ConfigError(f"issuers: a table has {', '.join(sorted(needed))}, and may have {', '.join(kinds)}")
        clients = table["clients"]
        if not isinstance(clients, Mapping) or not all(isinstance(v, str) for v in clients.values()):
            raise ConfigError("issuers: clients is a table of client ids with the accountable person's address, or ''")
        rest = {name: value for name, value in table.items() if name != "clients"}
        return cls(clients=dict(clients), **{n: _field(f"issuers: {n}", kinds[n], v) for n, v in rest.items()})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a guard needs to know. Times in seconds, sizes in bytes."""

    data: Path = field(default_factory=_data)
    """Folder of the database and the keys (0700)."""
    checkpoints: Path | None = None
    """Folder outside ``data`` that receives signed checkpoints; default: ``DATA-checkpoints`` beside it."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints."""
    credentials: Path = field(default_factory=_credentials)
    """File that keeps the login of ``llmguard login`` (0600)."""
    tenant: str = DEFAULT_TENANT
    """Tenant of this installation's keys and people."""
    host: str = "127.0.0.1"
    """Address that both planes listen on."""
    port: int = 8080
    """Port of the data plane (the OpenAI API)."""
    control_port: int = 8081
    """Port of the control plane (approvals, people)."""
    control_url: str = "http://127.0.0.1:8081"
    """Where the command line finds the control plane, and people the inbox."""
    approval_url: str | None = None
    """Base of the links to approvals that callers and reviewers receive; default: ``control_url``."""
    allowed_hosts: tuple[str, ...] = ()
    """Further ``Host`` names than loopback that both planes answer to."""
    upstream: str = "https://api.openai.com"
    """Base URL of the provider, with or without ``/v1``; of Azure OpenAI: ``https://NAME.openai.azure.com/openai``."""
    upstream_name: str = "openai"
    """The provider's name in policy, approvals and log."""
    upstream_trust: Trust = "public"
    """``internal``, ``contract`` or ``public``."""
    upstream_key: str | None = field(default=None, repr=False)
    """The provider's API key; better in ``LLMGUARD_UPSTREAM_KEY`` than in a file."""
    upstream_ca: Path | None = None
    """PEM file of the authorities that the provider's certificate is checked against, instead of the system's."""
    upstream_cert: Path | None = None
    """PEM file with a certificate and its key that the provider, or a gateway before it, asks of us."""
    key: str | None = field(default=None, repr=False)
    """The ``lg_`` key that says who calls from this process (wrapped clients, actions); better in ``LLMGUARD_KEY``."""
    pass_through: bool = False
    """Forward the caller's own provider key instead of ``lg_`` keys (a weaker mode)."""
    detectors: tuple[Path, ...] = ()
    """Further detector files."""
    cache: Path = field(default_factory=_cache)
    """Private folder (0700, ours) for the compiled detectors. Several guards may share it."""
    match: tuple[Path, ...] = ()
    """Match files: records of the company's own, which ``llmguard match build`` makes (see docs/internal-data.md)."""
    match_key: Path | None = None
    """File of the key that they were built under; default: the installation's own key."""
    secret_tools: tuple[str, ...] = ()
    """Tools whose arguments may receive secrets that came from system or tool text."""
    names: bool | None = None
    """Look for names and addresses of people; default: where the packages of ``llmguard[names]`` are installed."""
    names_budget: int = 64 * 1024
    """Characters of new text of one call that are looked through for names; what is left counts as ``unscanned``."""
    names_thresholds: Mapping[str, float] = field(default_factory=dict)
    """The least confidence, 0 to 1, of a name (``PERSON``) and an address (``ADDRESS``); default: whatever is found."""
    max_json_bytes: int = 32 * 1024 * 1024
    """Largest JSON body of a request."""
    max_upload_bytes: int = 8 * 1024 * 1024 * 1024
    """Largest multipart body, and largest upload in parts."""
    spool_bytes: int = 32 * 1024 * 1024 * 1024
    """Bytes of uploads that may lie in the spool (sealed, below ``data``) while they pass or wait for approval."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """Largest answer that is held in memory to be restored."""
    output_action: OutputAction = "record"
    """What a finding in the model's own words does: ``record`` counts it in the log, ``end`` ends the answer."""
    output_hold_chars: int = 0
    """With ``end``: characters that have to follow a piece of a streamed text before it leaves."""
    connect_timeout: float = 5.0
    """Seconds to reach the provider."""
    read_timeout: float = 600.0
    """Seconds between two pieces of an answer."""
    lock_timeout: float = 10.0
    """Seconds to wait for a database that another process has locked."""
    hold: HoldForm = "wait"
    """What a held call gets: ``wait`` keeps it on the line, ``ticket`` answers 409 at once, to be sent again later."""
    hold_wait: float = 50.0
    """Longest silence of a held call before it is answered 409 (and joins again when it is re-sent)."""
    on_client_gone: OnClientGone = "keep"
    """What becomes of an approval whose caller hangs up while it waits: ``keep`` or ``cancel``."""
    replay_window: float = 600.0
    """Seconds in which a retry of an executed call gets the same answer again; 0 keeps no answers."""
    longest_exception: float = 90 * 86400.0
    """Seconds that an exception for a finding that was marked wrong lasts at most."""
    secret_exceptions: bool = True
    """Whether findings of secrets can be marked wrong, by two people; false: those made before count no more."""
    max_waiting: int = 200
    """Approvals that one caller may have waiting; above it 503."""
    max_waiting_bytes: int = 256 * 1024 * 1024
    """Bytes that one caller may have waiting, as written and as they would leave."""
    session_idle: float = 3600.0
    """Seconds without use after which a person's session ends; after twelve hours it ends anyway."""
    oidc: tuple[OidcProvider, ...] = ()
    """Identity providers where people log in (``[[oidc]]``, see docs/identity.md)."""
    issuers: tuple[TokenIssuer, ...] = ()
    """Issuers of access tokens with which services call (``[[issuers]]``, see docs/services.md)."""
    channels: tuple[Channel, ...] = ()
    """Where people hear of approvals (``[[channels]]``, see docs/notifications.md)."""
    jwks_max_age: float = 86400.0
    """Seconds for which an issuer's keys count while it does not answer."""
    membership_ttl: float = 3600.0
    """Seconds for which the groups count that an identity provider confirmed."""
    calls_kept: float = 30 * 86400.0
    """Seconds for which is kept what was decided of a call, in kinds and counts: for ``policy explain`` and ``replay``,
    and to find where a value went. 0 keeps nothing."""
    policy: Path | None = None
    """File of the policy (see docs/policy.md); default: ``rules``, else the shipped policy."""
    rules: tuple[Mapping[str, Any], ...] | None = None
    """The policy's rules (``[[rules]]``), where it has no file of its own."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ConfigError("upstream must be an http(s) URL without credentials, query or fragment")
        words = {"upstream_trust": Trust, "hold": HoldForm, "on_client_gone": OnClientGone}
        words["output_action"] = OutputAction
        for name, allowed in words.items():
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(f"{name} is one of {', '.join(get_args(allowed))}")
        if self.policy is not None and self.rules is not None:
            raise ConfigError("the policy is a file (policy) or rules here (rules), not both")
        _distinct(self.oidc, self.issuers)
        if len({c.name for c in self.channels}) < len(self.channels):
            raise ConfigError("channels: each has a name of its own")
        if self.oidc:
            _secure_url("control_url (where identity providers send people back to)", self.control_url)
        if not (60 <= self.session_idle < float("inf") and 1 <= self.membership_ttl < float("inf")):
            raise ConfigError("session_idle is at least 60 seconds, membership_ttl at least 1")
        amounts = (
            "output_hold_chars",
            "hold_wait",
            "replay_window",
            "longest_exception",
            "calls_kept",
            "max_waiting",
            "max_waiting_bytes",
            "max_upload_bytes",
            "spool_bytes",
            "jwks_max_age",
        )
        for name in amounts:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be 0 or more")

    @property
    def destination(self) -> Destination:
        base = self.upstream.rstrip("/").removesuffix("/v1")
        return Destination(self.upstream_name, base if self.azure else f"{base}/v1", self.upstream_trust)

    @property
    def azure(self) -> bool:
        """Whether the provider is Azure OpenAI, whose paths stand below ``/openai``: deployments, and ``/v1``."""
        return self.upstream.rstrip("/").removesuffix("/v1").endswith("/openai")

    @property
    def checkpoint_folder(self) -> Path:
        return self.checkpoints or self.data.with_name(f"{self.data.name}-checkpoints")


def _distinct(providers: Sequence[OidcProvider], issuers: Sequence[TokenIssuer]) -> None:
    """Raises ConfigError if two answer to one name."""
    if len({p.name for p in providers}) < len(providers) or len({p.issuer for p in providers}) < len(providers):
        raise ConfigError("oidc: each provider has a name and an issuer of its own")
    if len({i.issuer for i in issuers}) < len(issuers):
        raise ConfigError("issuers: each has an issuer of its own")


def load(path: Path | None = None, **overrides: Any) -> Settings:
    """Settings from file, environment and ``overrides`` (None values are passed over). Raises ConfigError."""
    values = _from_file(_locate(path))
    values |= _from_environment(os.environ)
    values |= {k: v for k, v in overrides.items() if v is not None}
    return Settings(**{name: _typed(name, value) for name, value in values.items()})


def _locate(path: Path | None) -> Path | None:
    if path is None and (named := os.environ.get("LLMGUARD_CONFIG")):
        path = Path(named)
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"no configuration file at {path}")
        return path
    default = platformdirs.user_config_path("llmguard") / "config.toml"
    return default if default.is_file() else None


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path} cannot be read: {e}") from e
    for name in values:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            raise ConfigError(f"{path}: no setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name in ("data", "checkpoints", "credentials", "match_key", "upstream_ca", "upstream_cert", "policy"):
        if name in values:
            values[name] = path.parent / Path(_text(name, values[name])).expanduser()
    for name in ("detectors", "match"):
        if isinstance(values.get(name), list):
            values[name] = [path.parent / Path(_text(name, v)).expanduser() for v in values[name]]
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    named = {name: environ.get(f"LLMGUARD_{name.upper()}") for name in _FIELDS if name not in _TABLES}
    return {name: value for name, value in named.items() if value}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text")
    return value


def _typed(name: str, value: Any) -> Any:
    """The value in the type of its field; text from the environment is read as that type."""
    kind = _FIELDS[name]
    try:
        if kind is bool and isinstance(value, str):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]
        if kind is tuple:
            items = [v for v in value.split(",") if v] if isinstance(value, str) else value
            if not isinstance(items, (list, tuple)):
                raise TypeError
            made = {"oidc": OidcProvider.of, "issuers": TokenIssuer.of, "channels": Channel.of, **_PATHS}.get(name)
            return tuple(made(v) for v in items) if made else tuple(items)
        if kind is dict:
            return _thresholds(value)
        if kind is Path:
            return Path(value).expanduser()
        if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, str):
            return int(value)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        raise TypeError
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{name} must be {_WORDS[kind]}") from None


def _thresholds(value: Any) -> dict[str, float]:
    """A table of numbers by type, or ``PERSON=0.5,ADDRESS=0.7``. Raises TypeError and ValueError."""
    if isinstance(value, str):
        value = dict(pair.split("=", 1) for pair in value.split(",") if pair)
    found = {str(k).strip(): float(v) for k, v in dict(value).items() if not isinstance(v, bool)}
    if len(found) != len(value) or not set(found) <= {"PERSON", "ADDRESS"}:
        raise ValueError
    if not all(0 <= v <= 1 for v in found.values()):
        raise ValueError
    return found


def _field(name: str, annotation: str, value: Any) -> Any:
    """A value of a table's field. Raises ConfigError."""
    if annotation.startswith("Mapping"):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a table")
        return {k: _texts(f"{name}: {k}", [v] if isinstance(v, str) else v) for k, v in value.items()}
    if annotation.startswith("tuple"):
        return _texts(name, value)
    if annotation.startswith("bool"):
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false")
        return value
    return _text(name, value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{name} must be a list of texts")
    return tuple(value)


def _secure_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or local) or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigError(f"{name}: the address must be https, or on this machine, without credentials or query")


_TABLES = ("rules", "oidc", "issuers", "channels")
"""Settings that are tables of the file, and no variables."""
_PATHS = {"detectors": Path, "match": Path}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list", Path: "a path"}
_WORDS[dict] = "numbers from 0 to 1 by type: PERSON, ADDRESS"


def _kind(annotation: str) -> type:
    for word, kind in {"tuple": tuple, "Mapping": dict, "Path": Path, "bool": bool, "int": int, "float": float}.items():
        if annotation.startswith(word):
            return kind
    return str


_FIELDS: dict[str, type] = {f.name: _kind(str(f.type)) for f in fields(Settings)}


def defaults() -> dict[str, Any]:
    """Every setting with its default, for the docs and ``llmguard config``; folders as the user's."""
    return {f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(Settings)}
