"""The policy of the configuration: a file of its own (``policy``), or rules in the configuration, or the shipped one.

A policy file is TOML: ``[[rules]]``, ``[styles]``, ``[weights]``, ``mode``, and ``[[tests]]`` beside the rules, which are
not part of what is put in force.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.policy import KEYS, Policy

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


def read(path: Path) -> Written:
    """A policy file. Raises ConfigError, which names the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(f"{path}: a policy has at most {MAX_BYTES} bytes")
        values = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path} cannot be read: {e}") from None
    if unknown := set(values) - {*KEYS, "tests"}:
        raise ConfigError(f"{path}: no {min(unknown)!r}; a policy file has {', '.join(KEYS)} and tests")
    tests = values.pop("tests", [])
    if not isinstance(tests, Sequence) or not all(isinstance(t, Mapping) for t in tests):
        raise ConfigError(f"{path}: tests are tables: [[tests]]")
    try:
        return Written(Policy.of(values), tuple(tests))
    except ConfigError as e:
        raise ConfigError(f"{path}: {e.message}") from None
