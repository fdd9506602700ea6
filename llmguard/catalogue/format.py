"""Format: the TOML of a catalogue file, read strictly into Detectors.

Owns: the keys of an entry, their kinds and bounds, and errors that name file, line and id. Never does: scanning, or
guessing what was meant. Invariant: what comes out compiles in RE2, names known validators and has an example.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, get_args

import hyperscan
import re2

from llmguard.catalogue.patterns import Pattern, anchor_of
from llmguard.catalogue.templates import spans
from llmguard.errors import ConfigError
from llmguard.model import Category, Detector, Severity
from llmguard.validators import VALIDATORS

_TEXT = ("id", "type", "category", "severity", "pattern", "source", "validator", "anchor")
_LISTS = ("keywords", "context", "unless", "match", "no_match")
_REQUIRED = ("id", "type", "category", "severity", "confidence", "pattern", "source", "match")
_OTHER = ("confidence", "reach", "needs_context")
_ID = re.compile(r"^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+$")
_HEADER = re.compile(r"\s*\[\[\s*detector\s*\]\]")
_TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")
MAX_REACH = 4096
"""Bytes. It bounds what one hit can cost."""


def parse(name: str, content: str) -> tuple[Detector, ...]:
    """The detectors of one file's content; ``name`` is how errors call it. Raises: ConfigError."""
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{name}: not TOML: {e}") from None
    if set(document) - {"detector"}:
        raise ConfigError(
            f"{name}: unknown key {sorted(set(document) - {'detector'})[0]!r}; only [[detector]] is known"
        )
    entries = document.get("detector", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ConfigError(f"{name}: detectors are written as [[detector]]")
    lines = [i for i, line in enumerate(content.splitlines(), 1) if _HEADER.match(line)]
    if len(lines) != len(entries):  # written in another of TOML's ways: no line to name
        lines = [0] * len(entries)
    return tuple(_detector(f"{name}:{at}" if at else name, entry) for at, entry in zip(lines, entries, strict=True))


def _detector(name: str, entry: Mapping[str, Any]) -> Detector:
    place = f"{name}: {entry.get('id', 'a detector without id')}"
    _check_shape(place, entry)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    fields["confidence"] = float(entry["confidence"])
    detector = Detector(**fields)
    _check_values(place, detector)
    _check_pattern(place, detector)
    return detector


def _check_shape(place: str, entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        if key in _TEXT:
            right = isinstance(value, str)
        elif key in _LISTS:
            right = isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        elif key in _OTHER:
            right = _right_other(key, value)
        else:
            raise ConfigError(f"{place}: unknown key {key!r}")
        if not right:
            raise ConfigError(f"{place}: {key!r} has a value of the wrong kind")
    for key in _REQUIRED:
        if not entry.get(key) and entry.get(key) != 0:
            raise ConfigError(f"{place}: {key!r} is missing")


def _right_other(key: str, value: Any) -> bool:
    if key == "reach":
        return isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value)
    return type(value) is bool if key == "needs_context" else type(value) in (int, float)


def _check_values(place: str, detector: Detector) -> None:
    checks = (
        (_ID.match(detector.id), "ids are lower-case words joined by points"),
        (_TYPE.match(detector.type), "types are upper-case letters, digits and _"),
        (detector.category in get_args(Category), f"category is one of {', '.join(get_args(Category))}"),
        (detector.severity in get_args(Severity), f"severity is one of {', '.join(get_args(Severity))}"),
        (0 < detector.confidence <= 1, "confidence is above 0 and at most 1"),
        (detector.validator is None or detector.validator in VALIDATORS, f"unknown validator {detector.validator!r}"),
        (all(0 <= n <= MAX_REACH for n in detector.reach), f"reach is two numbers from 0 to {MAX_REACH}"),
        (detector.context or not detector.needs_context, "needs_context without context words can never match"),
        (all(spans(m)[1] for m in detector.match), "each match marks its span with «»"),
    )
    for right, message in checks:
        if not right:
            raise ConfigError(f"{place}: {message}")


def _check_pattern(place: str, detector: Detector) -> None:
    try:
        compiled = Pattern(detector.pattern)
    except re2.error as e:
        raise ConfigError(f"{place}: RE2 rejects the pattern: {_readable(e)}") from None
    if compiled.found(b""):
        raise ConfigError(f"{place}: the pattern matches nothing at all; make it need at least one character")


def check_anchor(place: str, detector: Detector) -> None:
    """Raises: ConfigError if Hyperscan cannot look for the detector."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=[anchor_of(detector)], ids=[0], flags=[0])
    except hyperscan.error as e:
        raise ConfigError(f"{place}: Hyperscan rejects the {'anchor' if detector.anchor else 'pattern'}: {e}") from None


def _readable(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
