"""Weights of a risk's terms: the shipped ones with their sources, and what a policy overrides.

Invariant: whatever is overridden, worse stays worse (a higher severity, less trust, a use that keeps more), and no
weight is negative, so that a risk grows with what is found and never by redaction.
"""

from __future__ import annotations

import importlib.resources
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llmguard.errors import ConfigError

Table = Mapping[str, float]
HUMANITY = 33.0
"""Bits that tell all people alive apart."""
_ORDERED: Mapping[str, Sequence[str]] = {
    "severity": ("low", "medium", "high", "critical"),
    "trust": ("internal", "contract", "public"),
    "use": ("inference", "stored", "training"),
    "left": ("drop", "surrogate", "placeholder", "hash", "mask"),
}
_MOST = 1e6


@dataclass(frozen=True, slots=True, eq=False)  # its own identity is a key under which results are kept ready
class Weights:
    """Points and factors by name; see ``weights.toml``."""

    scale: float
    severity: Table
    trust: Table
    use: Table
    left: Table
    terms: Table
    bits: Table


def weights(overrides: Mapping[str, Any] | None = None) -> Weights:
    """The shipped weights with those of a policy. Raises ConfigError."""
    if not overrides:
        return _defaults()
    merged: dict[str, Any] = {
        name: dict(table) if isinstance(table, dict) else table for name, table in _shipped().items()
    }
    for name, value in overrides.items():
        if name not in merged:
            raise ConfigError(f"weights: no {name!r}; there are {', '.join(sorted(merged))}")
        if name == "scale":
            merged[name] = _number("scale", value)
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(f"weights: {name} is a table of numbers")
        if name != "bits" and (unknown := set(value) - set(merged[name])):
            raise ConfigError(f"weights: {name} has no {min(unknown)!r}; it has {', '.join(sorted(merged[name]))}")
        merged[name] |= {str(key): _number(f"{name}.{key}", figure) for key, figure in value.items()}
    return _checked(Weights(**merged))


def sources() -> dict[str, str]:
    """Where each weight comes from, by its name."""
    return dict(_file()["sources"])


@cache
def _defaults() -> Weights:
    return _checked(Weights(**_shipped()))


@cache
def _file() -> dict[str, Any]:
    text = importlib.resources.files("llmguard.risk").joinpath("weights.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _shipped() -> dict[str, Any]:
    return {name: value for name, value in _file().items() if name != "sources"}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST:
        raise ConfigError(f"weights: {name} is a number from 0 to {_MOST:.0f}")
    return float(value)


def _checked(found: Weights) -> Weights:
    if not (found.scale >= 1 and math.isfinite(found.scale)):
        raise ConfigError("weights: scale is at least 1")
    for name, order in _ORDERED.items():
        figures = [getattr(found, name)[key] for key in order]
        if figures != sorted(figures):
            raise ConfigError(f"weights: {name} never falls from {order[0]} to {order[-1]}")
    if any(share > 1 for share in found.left.values()):
        raise ConfigError("weights: left is a share, 0 to 1: redaction never adds risk")
    return found
