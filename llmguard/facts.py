"""Facts: what is known of a call, in kinds and counts. Risk and policy decide from nothing else.

They hold no text, so they can be kept: a kept call is assessed and decided anew exactly as it was. The identity of a
value is a keyed digest while the call is decided; in what is kept it is a number that means nothing elsewhere.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any

from llmguard.model import Call, Category, Finding, Kind, Origin, Place, Severity, TextPart, Trust

Identity = Callable[[str, str], str]
"""What stands for a value of a type: equal for equal values, and nothing that tells the value."""
MAX_KEPT = 2000
"""Different findings of one call that are kept."""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. ``identity``: the same value of the same type has the same one. ``record``: which object of the
    body or which message it stands in, ``row``: which line of all lines; both count from 0. ``times``: how often.
    ``person``: the identity of the whole name that this is a shorter form of, or "".
    """

    type: str
    category: Category
    severity: Severity
    confidence: float
    place: Place = "body"
    origin: Origin = "user"
    redactable: bool = True
    identity: str = ""
    record: int = 0
    row: int = 0
    person: str = ""
    times: int = 1


_KIND = attrgetter("type", "category", "severity", "confidence", "place", "origin", "redactable")
"""The first fields of a Found; then come identity, record, row, person and times."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One call. ``received`` in UTC milliseconds; ``size`` in bytes as received, ``characters`` of text in it.

    ``justified``: whether the caller said why. ``partial``: more was found than is kept.
    """

    operation: str
    kind: Kind
    trust: Trust
    found: tuple[Found, ...] = ()
    unscanned: tuple[str, ...] = ()
    method: str = "POST"
    rendered: bool = False
    size: int = 0
    characters: int = 0
    principal: str = ""
    principal_kind: str = "service"
    principal_name: str = ""
    human: str = ""
    destination: str = ""
    received: int = 0
    justified: bool = False
    partial: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Findings by type."""
        counts: Counter[str] = Counter()
        for f in self.found:
            counts[f.type] += f.times
        return dict(sorted(counts.items()))

    @property
    def identities(self) -> frozenset[str]:
        return frozenset(f.identity for f in self.found)

    def joined(self, files: Iterable[tuple[tuple[Found, ...], int]]) -> Facts:
        """With what was found in files: findings, and characters of text that were looked at."""
        for found, characters in files:
            self = replace(self, found=self.found + found, characters=self.characters + characters)
        return self

    def encode(self) -> bytes:
        """As it is kept. Values are numbered, equal findings counted, and there is an end to how many there are."""
        numbers: dict[str, str] = {"": ""}
        times: Counter[tuple[Any, ...]] = Counter()
        for f in self.found:
            identity = numbers.setdefault(f.identity, str(len(numbers)))
            person = numbers.setdefault(f.person, str(len(numbers)))
            times[(*_KIND(f), identity, f.record, f.row, person)] += f.times
        kept = [[*key, count] for key, count in list(times.items())[:MAX_KEPT]]
        rest = zip(_REST, _rest(self), strict=True)
        whole = {"v": _VERSION, **dict(rest), "partial": len(times) > MAX_KEPT, "found": kept}
        return _json(whole).encode()

    @classmethod
    def decode(cls, kept: bytes) -> Facts:
        """The reverse of ``encode``. Raises ValueError."""
        values = json.loads(kept)
        if values.pop("v") != _VERSION:
            raise ValueError("these facts were kept by another version")
        found = tuple([_found(*f) for f in values.pop("found")])
        return cls(**{**values, "found": found, "unscanned": tuple(values["unscanned"])})


_json = json.JSONEncoder(separators=(",", ":")).encode
_REST = tuple(f.name for f in fields(Facts) if f.name not in ("found", "partial"))
_rest = attrgetter(*_REST)
_found = lru_cache(maxsize=16_384)(Found)
"""Most findings are like others, and nobody can change them: so they are made once."""
_RECEIVED = re.compile(rb',"received":([0-9]+)')
_SIZES = re.compile(rb',"size":[0-9]+,"characters":[0-9]+')
_WHICH = re.compile(rb',"[0-9]*",[0-9]+,[0-9]+,"[0-9]*",([0-9]+)\]')


def undated(kept: bytes, *, weighed: bool) -> tuple[bytes, int]:
    """Kept facts without when the call came, to be compared, and when that was (UTC ms).

    ``weighed``: whether that stays in which the risk needs besides: how large it was, and which findings are of one
    value, record, row or person. No text in them can look like these members: its quotes are escaped.
    """
    when = _RECEIVED.search(kept)
    if when is None:
        raise ValueError("these facts were kept by another version")
    rest = kept[: when.start()] + kept[when.end() :]
    return (rest if weighed else _WHICH.sub(rb",\1]", _SIZES.sub(b"", rest, count=1))), int(when[1])


def of(
    call: Call,
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    unscanned: Sequence[str],
    identity: Identity,
    links: Mapping[str, str] | None = None,
) -> Facts:
    """The facts of ``call`` with its findings (aligned with ``parts``).

    ``links``: names of people that are shorter forms, and of which whole name.
    """
    return Facts(
        operation=call.operation.name,
        kind=call.operation.kind,
        trust=call.destination.trust,
        found=tuple(each(parts, findings, identity, links or {})),
        unscanned=tuple(unscanned),
        method=call.method,
        rendered=call.operation.rendered,
        size=call.body.size,
        characters=sum([len(part.text) for part in parts]),
        principal=call.principal.id,
        principal_kind=call.principal.kind,
        principal_name=call.principal.name,
        human=call.principal.human or "",
        destination=call.destination.name,
        received=call.received,
        justified=bool(call.justification),
    )


def each(
    parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]], identity: Identity, links: Mapping[str, str]
) -> Iterable[Found]:
    """The findings of ``parts`` without their values."""
    records: dict[str, int] = {}
    row = -1
    for part, found in zip(parts, findings, strict=True):
        if not found:
            continue
        record = records.setdefault(part.address.rpartition("/")[0], len(records))
        row, end = row + 1, 0
        for f in found:
            row += part.text.count("\n", end, f.start)
            end, value = f.start, part.text[f.start : f.end]
            whole = links.get(value, "") if f.type == "PERSON" else ""
            yield Found(
                f.type,
                f.category,
                f.severity,
                f.confidence,
                part.place,
                part.origin,
                part.redactable,
                identity(f.type, value),
                record,
                row,
                identity(f.type, whole) if whole else "",
            )
