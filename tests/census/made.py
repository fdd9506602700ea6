"""Records as a Sifter tells of them, made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from llmguard.census import Census, Limits, Watch
from llmguard.model import Finding, TextPart
from llmguard.sifting import Block, Problem, Sifted, Tally

KEY = b"k" * 32
SMALL = Limits(texts=16, values=8, strings=8, tokens=4, alike=8, sample=3)
"""So small that nearly everything is a sample."""
Record = tuple[int, Sequence[TextPart], Sequence[Sequence[Finding]], bytes]


def email(start: int, end: int) -> Finding:
    return Finding(start, end, "EMAIL", "pii", 1.0, "pii.email", "medium")


def person(start: int, end: int) -> Finding:
    return Finding(start, end, "PERSON", "pii", 0.9, "pii.person", "low")


def key(start: int, end: int) -> Finding:
    return Finding(start, end, "AI_KEY", "secret", 1.0, "secret.key", "critical")


def plain(number: int, text: str) -> Record:
    return number, (TextPart(text, "/text"),), ((),), text.encode() + b"\n"


def holding(number: int, value: str, kind: str = "EMAIL") -> Record:
    """A record in which one value is found."""
    text = f"it says {value} there"
    made = {"EMAIL": email, "PERSON": person, "AI_KEY": key}[kind](8, 8 + len(value))
    return number, (TextPart(text, "/text"),), ((made,),), b"it says [X] there\n"


def watched(watch: Watch, records: Sequence[Record], problems: Sequence[Problem] = ()) -> Census:
    """A block of these records."""
    for record in records:
        watch(*record)
    leaving = b"".join(r[3] for r in records)
    came = sum(len(part.text) for r in records for part in r[1])
    return watch.taken(Block(0, b"x" * came), Sifted(leaving, len(records), Tally(), problems=tuple(problems)))


def census(records: Sequence[Record], limits: Limits | None = None) -> Census:
    """All in one block."""
    total = Census(limits)
    total += watched(Watch(KEY, limits=limits), records)
    return total
