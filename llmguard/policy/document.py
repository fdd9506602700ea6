"""The policy of the configuration: a file of its own (``policy``), or rules in the configuration, or the shipped one.

A policy file is TOML: ``[[rules]]``, ``[styles]``, ``[weights]``, ``mode``, and ``[[tests]]`` beside the rules, which
are not part of what is put in force.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.policy import KEYS, Policy, shipped_text
from llmguard.policy.advice import near

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """A policy with the tests that stand beside its rules."""

    policy: Policy
    tests: tuple[Mapping[str, Any], ...] = ()


def configured(settings: Settings) -> Policy:
    """The policy of the configuration. Raises ConfigError."""
    if settings.policy is not None:
        return read(settings.policy).policy
    return Policy(settings.rules)


def written(settings: Settings, file: Path | None = None) -> tuple[str, dict[str, Any]]:
    """The text of a policy file and its document with the tests, not compiled: of ``file``, else of the configuration.

    Rules in the configuration have no text of their own. Raises ConfigError.
    """
    path = file or settings.policy
    if path is not None:
        content = text(path)
        return content, parsed(str(path), content)
    if settings.rules is not None:
        return "", {"rules": list(settings.rules)}
    return shipped_text(), parsed("the shipped policy", shipped_text())


def read(path: Path) -> Written:
    """A policy file. Raises ConfigError, which names the file."""
    values = parsed(str(path), text(path))
    tests = values.pop("tests", [])
    try:
        return Written(Policy.of(values), tuple(tests))
    except ConfigError as e:
        raise ConfigError(f"{path}: {e.message}") from None


def text(path: Path) -> str:
    """What stands in a policy file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: a policy has at most {MAX_BYTES} bytes")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} cannot be read: {e}") from None


def parsed(name: str, written: str) -> dict[str, Any]:
    """The document with its tests, as they are written. Raises ConfigError, which names ``name``."""
    try:
        values = tomllib.loads(written)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise ConfigError(f"{name} cannot be read: {e}") from None
    if unknown := sorted(set(values) - {*KEYS, "tests"}):
        meant = near(unknown[0], (*KEYS, "tests"))
        hint = f"did you mean {meant!r}?" if meant else f"a policy file has {', '.join(KEYS)} and tests"
        raise ConfigError(f"{name}: no {unknown[0]!r}; {hint}")
    tests = values.get("tests", [])
    if not isinstance(tests, Sequence) or not all(isinstance(t, Mapping) for t in tests):
        raise ConfigError(f"{name}: tests are tables: [[tests]]")
    return values
