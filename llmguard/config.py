"""Settings: one TOML file and ``LLMGUARD_*`` variables, typed, every unknown key refused.

The file is ``--config``, else ``LLMGUARD_CONFIG``, else ``config.toml`` in the user's configuration folder; never one
in the working directory, which may be somebody else's. Order of strength: arguments, environment, file, defaults.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import platformdirs

from llmguard.errors import ConfigError
from llmguard.model import DEFAULT_TENANT, Destination, Trust

HoldForm = Literal["wait", "ticket"]
OnClientGone = Literal["keep", "cancel"]
DATABASE = "llmguard.db"
"""The database's name in ``data``."""


def _data() -> Path:
    return platformdirs.user_data_path("llmguard")


def _credentials() -> Path:
    return platformdirs.user_config_path("llmguard") / "credentials.json"


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
    """Where the command line finds the control plane."""
    approval_url: str | None = None
    """Base of the links to approvals that callers and reviewers receive; default: ``control_url``."""
    allowed_hosts: tuple[str, ...] = ()
    """Further ``Host`` names than loopback that both planes answer to."""
    upstream: str = "https://api.openai.com"
    """Base URL of the provider, with or without ``/v1``."""
    upstream_name: str = "openai"
    """The provider's name in policy, approvals and log."""
    upstream_trust: Trust = "public"
    """``internal``, ``contract`` or ``public``."""
    upstream_key: str | None = field(default=None, repr=False)
    """The provider's API key; better in ``LLMGUARD_UPSTREAM_KEY`` than in a file."""
    key: str | None = field(default=None, repr=False)
    """The ``lg_`` key that says who calls from this process (wrapped clients, actions); better in ``LLMGUARD_KEY``."""
    pass_through: bool = False
    """Forward the caller's own provider key instead of ``lg_`` keys (a weaker mode)."""
    detectors: tuple[Path, ...] = ()
    """Further detector files."""
    secret_tools: tuple[str, ...] = ()
    """Tools whose arguments may receive secrets that came from system or tool text."""
    names: bool | None = None
    """Look for names and addresses of people; default: where the packages of ``llmguard[names]`` are installed."""
    names_budget: int = 64 * 1024
    """Characters of new text of one call that are looked through for names; what is left counts as ``unscanned``."""
    max_json_bytes: int = 32 * 1024 * 1024
    """Largest JSON body of a request."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """Largest answer that is held in memory to be restored."""
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
    max_waiting: int = 200
    """Approvals that one caller may have waiting; above it 503."""
    rules: tuple[Mapping[str, Any], ...] | None = None
    """The policy's rules (``[[rules]]``); default: the shipped policy."""

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
        for name, allowed in words.items():
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(f"{name} is one of {', '.join(get_args(allowed))}")
        for name in ("hold_wait", "replay_window", "max_waiting"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be 0 or more")

    @property
    def destination(self) -> Destination:
        base = self.upstream.rstrip("/").removesuffix("/v1")
        return Destination(self.upstream_name, f"{base}/v1", self.upstream_trust)

    @property
    def checkpoint_folder(self) -> Path:
        return self.checkpoints or self.data.with_name(f"{self.data.name}-checkpoints")


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
    for name in ("data", "checkpoints", "credentials"):
        if name in values:
            values[name] = path.parent / Path(_text(name, values[name])).expanduser()
    if "detectors" in values and isinstance(values["detectors"], list):
        values["detectors"] = [path.parent / Path(_text("detectors", v)).expanduser() for v in values["detectors"]]
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    named = {name: environ.get(f"LLMGUARD_{name.upper()}") for name in _FIELDS if name != "rules"}
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
            return tuple(Path(v) for v in items) if name == "detectors" else tuple(items)
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


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a list", Path: "a path"}


def _kind(annotation: str) -> type:
    for word, kind in {"tuple": tuple, "Path": Path, "bool": bool, "int": int, "float": float}.items():
        if annotation.startswith(word):
            return kind
    return str


_FIELDS: dict[str, type] = {f.name: _kind(str(f.type)) for f in fields(Settings)}


def defaults() -> dict[str, Any]:
    """Every setting with its default, for the docs and ``llmguard config``; folders as the user's."""
    return {f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(Settings)}
