"""Excepted: findings that people marked wrong, taken out between the scan and everything that follows from findings.

Owns: which exception covers which finding of which call. Never does: store one, or hold a value: what is compared are
keyed digests. Invariant: an exception covers a finding only if type, value, scope and time all fit; a secret only if it
was made for secrets. What covers nothing changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from llmguard.model import Call, Finding, TextPart

Findings = tuple[tuple[Finding, ...], ...]
Tag = Callable[[str, str], str]
"""Type and value → the keyed digest by which exceptions know them (``Vault.exception``)."""


@dataclass(frozen=True, slots=True)
class FindingException:
    """The value behind ``tag`` is no data of ``type``. "" in the scope: any; ``operation`` is a name, a pattern of
    names (``chat.*``) or a kind. ``ends``: UTC ms.
    """

    id: str
    tag: str
    type: str
    detector: str
    principal: str
    operation: str
    destination: str
    secret: bool
    ends: int

    def covers(self, call: Call, finding: Finding) -> bool:
        """Whether it is for this call and this finding; that the value is its own is known already."""
        return (
            finding.type == self.type
            and call.received < self.ends
            and (self.secret or finding.category != "secret")
            and self.detector in ("", finding.detector)
            and self.principal in ("", call.principal.id)
            and self.destination in ("", call.destination.name)
            and (self.operation in ("", call.operation.kind) or bool(fnmatchcase(call.operation.name, self.operation)))
        )


@dataclass(frozen=True, slots=True)
class Exceptions:
    """Those in force in one tenant, by tag. ``version`` tells whether the stored ones are others by now."""

    version: str = ""
    by_tag: Mapping[str, tuple[FindingException, ...]] = field(default_factory=dict)
    types: frozenset[str] = frozenset()

    @classmethod
    def of(cls, version: str, found: Iterable[FindingException]) -> Exceptions:
        by_tag: dict[str, tuple[FindingException, ...]] = {}
        for one in found:
            by_tag[one.tag] = (*by_tag.get(one.tag, ()), one)
        return cls(version, by_tag, frozenset(one.type for ones in by_tag.values() for one in ones))

    def applied(
        self, tag: Tag, call: Call, parts: Sequence[TextPart], findings: Findings
    ) -> tuple[Findings, Mapping[str, int]]:
        """The findings that are left, aligned with ``parts``, and how many each exception took out, by its id."""
        if not self.types:
            return findings, {}
        used: Counter[str] = Counter()
        left = tuple(
            tuple(f for f in found if not (f.type in self.types and self._taken_out(tag, call, part, f, used)))
            for part, found in zip(parts, findings, strict=True)
        )
        return left, dict(sorted(used.items()))

    def _taken_out(self, tag: Tag, call: Call, part: TextPart, finding: Finding, used: Counter[str]) -> bool:
        for one in self.by_tag.get(tag(finding.type, part.text[finding.start : finding.end]), ()):
            if one.covers(call, finding):
                used[one.id] += 1
                return True
        return False
