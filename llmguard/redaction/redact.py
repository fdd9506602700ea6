"""Redact: findings out, what their style puts in their place in. A part is rewritten in one pass.

Invariant: every finding of a part that can be rewritten is replaced; what cannot be replaced is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmguard.model import Finding, TextPart, VaultEntry
from llmguard.redaction.linking import linked
from llmguard.redaction.mint import Mint
from llmguard.redaction.restore import Restorer
from llmguard.redaction.styles import StyleOf, Writer
from llmguard.vault import Vault

Misfits = Callable[[Mapping[int, str]], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Redaction:
    """New texts by part index; one entry per placeholder; findings that stand where nothing can be replaced.

    ``unfit`` are parts that could be replaced, but for a limit of their slot that nothing keeps which stands for the
    value. ``links``: names of people that are shorter forms, and of which whole name.
    """

    texts: dict[int, str] = field(repr=False)
    entries: tuple[VaultEntry, ...]
    exposed: tuple[tuple[TextPart, Finding], ...]
    unfit: frozenset[int] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict, repr=False)


def redact(
    vault: Vault,
    tenant: str,
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    taken: frozenset[str] = frozenset(),
    misfits: Misfits | None = None,
    style: StyleOf | None = None,
) -> Redaction:
    """Replaces findings (aligned with ``parts``, sorted, not overlapping) as ``style`` says of their types; without
    one by placeholders of their values.

    ``taken`` are placeholders that other values own. ``misfits`` names the edits that a limit of their slot forbids:
    these are made shorter and with plain characters (placeholders without brackets), where that fits and comes back, or
    not at all. A ``FileStyle`` says that these parts are a record of a file. Raises GuardUnavailable if no placeholder
    is free.
    """
    texts: dict[int, str] = {}
    exposed: list[tuple[TextPart, Finding]] = []
    links = linked(people(parts, findings))
    mint = Mint(vault, tenant, parts, taken, links)
    writer = Writer(vault, tenant, mint, style)
    writer.prepare(parts, findings, links)
    for index, (part, found) in enumerate(zip(parts, findings, strict=True)):
        if found and part.redactable:
            texts[index], _ = _replaced(part, found, writer)
        else:
            exposed += [(part, finding) for finding in found]
    unfit = frozenset(_fitted(texts, parts, findings, writer, misfits)) if misfits else frozenset()
    exposed += [(replace(parts[i], redactable=False), finding) for i in sorted(unfit) for finding in findings[i]]
    return Redaction(texts, tuple(mint.entries.values()), tuple(exposed), unfit, links)


def _fitted(
    texts: dict[int, str],
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    writer: Writer,
    misfits: Misfits,
) -> Iterator[int]:
    """Writes tightly what does not fit, and takes the edits out that do not fit even so. Yields those."""
    bad = misfits(texts)
    if not bad:
        return
    restorer = Restorer(writer.entries)
    lost = set()
    for index in bad:
        texts[index], restored = _replaced(parts[index], findings[index], writer, tight=True)
        if restorer.text(texts[index], None) != restored:
            lost.add(index)
    for index in misfits(texts) | lost:
        del texts[index]
        yield index


def _replaced(part: TextPart, found: Sequence[Finding], writer: Writer, *, tight: bool = False) -> tuple[str, str]:
    """The new text of a part, and what that gives when it is restored."""
    pieces, restored, end = [], [], 0
    for finding in found:
        put, between = writer.put(finding, part, tight=tight), part.text[end : finding.start]
        pieces += [between, put.text]
        restored += [between, put.restored]
        end = finding.end
    rest = part.text[end:]
    return "".join([*pieces, rest]), "".join([*restored, rest])


def people(parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]) -> frozenset[str]:
    """What people are called in a call."""
    pairs = zip(parts, findings, strict=True)
    return frozenset(p.text[f.start : f.end] for p, found in pairs for f in found if f.type == "PERSON")
