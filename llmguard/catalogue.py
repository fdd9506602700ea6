"""The catalogue: ``detectors/*.toml`` and further files, read strictly into Detectors.

Owns: the file format, its errors, and the templates of examples. Never does: scanning. Invariant: what ``load`` returns
compiles in RE2, names known validators, has unique ids, and each rule brings an example of what it matches.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import hyperscan
import re2

from llmguard.errors import ConfigError
from llmguard.model import Category, Detector, Severity
from llmguard.validators import VALIDATORS

_TEXT = ("id", "type", "category", "severity", "pattern", "source", "validator", "anchor")
_LISTS = ("keywords", "context", "unless", "match", "no_match")
_REQUIRED = ("id", "type", "category", "severity", "confidence", "pattern", "source", "match")
_OTHER = ("confidence", "reach", "needs_context")
_ID = re.compile(r"^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+$")
_TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")
MAX_REACH = 4096
"""Bytes. It bounds what one hit can cost."""


def load(extra: Sequence[Path] = ()) -> tuple[Detector, ...]:
    """The shipped detectors, then those of ``extra`` files, in a stable order.

    Raises: ConfigError, naming file and id, for anything that is not exactly understood. Anchors of ``extra`` files are
    tried in Hyperscan one by one; those of the shipped files are compiled by the engine.
    """
    detectors: dict[str, Detector] = {}
    for name, content in _shipped():
        _add(detectors, name, _parse(name, content))
    for path in extra:
        parsed = _parse(str(path), _content(path))
        for detector in (d for d in parsed if not d.needs_context):
            _check_anchor(f"{path}: {detector.id}", detector)
        _add(detectors, str(path), parsed)
    return tuple(detectors.values())


def _shipped() -> Iterator[tuple[str, str]]:
    folder = files("llmguard.detectors")
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            yield f"detectors/{entry.name}", entry.read_text(encoding="utf-8")


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read as a catalogue file: {type(e).__name__}") from None


def _add(detectors: dict[str, Detector], name: str, parsed: Sequence[Detector]) -> None:
    for detector in parsed:
        if detector.id in detectors:
            raise ConfigError(f"{name}: {detector.id}: this id exists already; choose another")
        detectors[detector.id] = detector


def _parse(name: str, content: str) -> tuple[Detector, ...]:
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
    return tuple(_detector(name, entry) for entry in entries)


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


def _check_anchor(place: str, detector: Detector) -> None:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=[anchor_of(detector)], ids=[0], flags=[0])
    except hyperscan.error as e:
        raise ConfigError(f"{place}: Hyperscan rejects the {'anchor' if detector.anchor else 'pattern'}: {e}") from None


def _readable(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def anchor_of(detector: Detector) -> bytes:
    """The Hyperscan expression that makes the engine look closer: named groups are plain there. (What needs context is
    looked for around its words instead.)"""
    return re.sub(r"\(\?P?<value\w*>", "(?:", detector.anchor or detector.pattern).encode()


class Pattern:
    """An RE2 expression over UTF-8 bytes that never prints what it rejects. Linear in what it searches."""

    __slots__ = ("_match", "values")

    def __init__(self, pattern: str) -> None:
        """Raises re2.error. ``values`` are the numbers of the groups whose names start with ``value``."""
        options = re2.Options()
        options.log_errors = False
        compiled = re2.compile(pattern.encode(), options)
        self.values = tuple(sorted(i for n, i in compiled.groupindex.items() if n.startswith(b"value")))
        self._match = compiled._regexp.Match  # the wrapper around it costs three times the search

    def search(self, data: bytes, start: int, end: int) -> Sequence[tuple[int, int]]:
        """Spans of the leftmost match and its groups in ``data[start:end]``, (-1, -1) for none; no copy is made.

        ``^`` and ``\\b`` look at what stands before ``start``. ``start`` and ``end`` lie inside ``data``.
        """
        spans: Sequence[tuple[int, int]] = self._match(_UNANCHORED, data, start, end)
        return spans

    def found(self, data: bytes) -> bool:
        return bool(self._match(_UNANCHORED, data, 0, len(data))[0][0] >= 0)


_UNANCHORED = re2._Anchor.UNANCHORED


# --------------------------------------------------------------------------- examples

_ALPHABETS: Mapping[str, str] = {
    "alnum": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    "alpha": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "base32": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "digits": "0123456789",
    "hex": "0123456789abcdef",
    "lower": "abcdefghijklmnopqrstuvwxyz",
    "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "urlsafe": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
}
_HOLE = re.compile(r"\{(" + "|".join(_ALPHABETS) + r"):(\d{1,4})\}")


def fill(template: str, seed: int) -> str:
    """Replaces ``{alnum:24}`` and its kin by characters drawn from ``seed``; the same seed gives the same text."""
    holes = iter(range(1_000_000))

    def drawn(m: re.Match[str]) -> str:
        alphabet, length = _ALPHABETS[m[1]], int(m[2])
        stream = hashlib.shake_128(f"{seed}/{next(holes)}".encode()).digest(length * 2)
        numbers = (int.from_bytes(stream[i : i + 2], "big") for i in range(0, length * 2, 2))
        return "".join(alphabet[n % len(alphabet)] for n in numbers)

    return _HOLE.sub(drawn, template)


def spans(example: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """An example without its ``«»``, and the spans (code points, half-open) that they marked."""
    text, marked, start = "", [], 0
    for piece in re.split("([«»])", example):
        if piece == "«":
            start = len(text)
        elif piece == "»":
            marked.append((start, len(text)))
        else:
            text += piece
    return text, tuple(marked)
