"""Long values: a pattern that is open to the right finds its value whole, however far it stretches."""

from __future__ import annotations

import base64
import string
from collections.abc import Iterator
from random import Random

import pytest

from llmguard import catalogue
from llmguard.catalogue import fill, spans
from llmguard.catalogue.patterns import Pattern
from llmguard.detection.engine import Engine
from llmguard.model import Detector, TextPart
from llmguard.validators import VALIDATORS

MORE = 2000
"""Characters by which each example's value is made longer."""
SHORT = {"secret.service.named_token", "secret.service.named_hex"}
"""Keys that only a name beside them speaks for: a run of thousands of characters there is data."""
_CLASSES = (
    string.digits,
    "0123456789abcdef",
    "0123456789ABCDEF",
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.ascii_lowercase + string.digits,
    string.ascii_uppercase + string.digits,
    string.ascii_letters + string.digits,
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(catalogue.load())


def _longer(text: str, start: int, end: int) -> tuple[str, int]:
    """The text with more of the value's last characters, before its padding; where the value ends then."""
    bare = text[start:end].rstrip("=")
    alphabet = next((c for c in _CLASSES if set(c).issuperset(bare[-8:])), _CLASSES[-1])
    at = start + len(bare)
    return text[:at] + "".join(Random(5).choices(alphabet, k=MORE)) + text[at:], end + MORE


def _open_values() -> Iterator[tuple[Detector, str, int, int]]:
    """Lengthened examples that their pattern matches whole and that their validator believes."""
    for detector in catalogue.load():
        pattern = Pattern(detector.pattern)
        for example in detector.match:
            text, marked = spans(fill(example, seed=1))
            start = marked[-1][0]
            longer, end = _longer(text, *marked[-1])
            data, low, high = longer.encode(), len(longer[:start].encode()), len(longer[:end].encode())
            refused = detector.validator and VALIDATORS[detector.validator](longer[start:end]) is False
            if not refused and (low, high) in _values(pattern, data):
                yield detector, longer, start, end


def _values(pattern: Pattern, data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while (match := pattern.search(data, at, len(data)))[0][0] >= 0:
        yield from (match[group] for group in pattern.values or (0,))
        at = max(match[0][1], at + 1)


def _covered(engine: Engine, text: str, start: int, end: int) -> bool:
    (findings,) = engine.scan([TextPart(text, "")])
    return {i for f in findings for i in range(f.start, f.end)}.issuperset(range(start, end))


def test_a_value_that_its_pattern_leaves_open_is_found_whole(engine: Engine) -> None:
    tried = [(d.id, _covered(engine, *rest)) for d, *rest in _open_values() if d.id not in SHORT]
    assert len(tried) > 100
    assert sorted({name for name, covered in tried if not covered}) == []


def _drawn(length: int, alphabet: str = string.ascii_letters + string.digits + "-_") -> str:
    return "".join(Random(length).choices(alphabet, k=length))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


_HEAD, _HEAD_ENCRYPTED = _encoded('{"alg":"RS256"}'), _encoded('{"alg":"dir","enc":"A256GCM"}')
_SIGNED = ".".join((_HEAD, _encoded(_drawn(3000)), _drawn(342)))
_ENCRYPTED = ".".join((_HEAD_ENCRYPTED, "", _drawn(16), _drawn(3000), _drawn(22)))


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("Authorization: Bearer ", _SIGNED, "\n"),
        ('{"id_token": "', _SIGNED, '"}'),
        ("token ", _ENCRYPTED, " and on"),
        ("Authorization: Bearer ", _drawn(3000), "\n"),
        ("Authorization: Basic ", base64.b64encode(f"bob:{_drawn(1500)}".encode()).decode(), "\n"),
        ("Set-Cookie: session=", _drawn(3000), "; Path=/"),
        ("https://x.example.org/cb?access_token=", _drawn(3000), "&state=1"),
        ("postgres://app:", _drawn(1000, string.ascii_letters + string.digits), "@db.example.org/x"),
        ('password = "', _drawn(240), '"'),
    ],
    ids=["jwt", "jwt in json", "jwe", "bearer", "basic", "cookie", "query", "url", "quoted"],
)
def test_a_long_credential_is_found_whole(engine: Engine, before: str, value: str, after: str) -> None:
    assert _covered(engine, before + value + after, len(before), len(before) + len(value))
