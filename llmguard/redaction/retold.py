"""Retold: what an answer says of its own text, as it is once that text is restored: citations, tokens, offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmguard.payload import offsets
from llmguard.payload.offsets import Path, Shift

if TYPE_CHECKING:
    from llmguard.redaction.restore import Budget, Restorer


@dataclass(frozen=True, slots=True)
class Retold:
    """New tokens, and new numbers or arrays of numbers as they are written, by path."""

    texts: dict[Path, str] = field(default_factory=dict, repr=False)
    numbers: dict[Path, str] = field(default_factory=dict)


def retold(value: Any, restorer: Restorer, budget: Budget) -> Retold:
    """Citations, tokens and offsets of an answer as they are once its text is restored."""
    told = Retold()
    for text, path, notes in offsets.annotated(value):
        passage = restorer.passage(nested=True)
        passage.feed(offsets.at(value, text))
        passage.finish()
        cite(told, path, notes, passage.shifts)
    for _, rows in offsets.spoken(value):
        passage = restorer.passage(nested=True, budget=budget)
        written, longer = [], {}
        for path, token in rows:
            longer[path] = passage.longer
            written.append(passage.feed(token))
        if written:
            written[-1] += passage.finish()
        texts = {path: new for (path, token), new in zip(rows, written, strict=True) if new != token}
        retell(told, value, texts, longer)
    return told


def cite(told: Retold, path: Path, notes: Sequence[Any] | Mapping[str, Any], shifts: Sequence[Shift]) -> None:
    """Moves the offsets of annotations, whose list or object stands at ``path``."""
    for i, note in notes.items() if isinstance(notes, Mapping) else enumerate(notes):
        for inner, index, is_end in offsets.citations(note) if type(note) is dict else ():
            told.numbers[(*path, i, *inner)] = str(offsets.moved(index, shifts, is_end=is_end))


def retell(told: Retold, value: Any, texts: Mapping[Path, str], longer: Mapping[Path, int]) -> None:
    """Other tokens, with the bytes that they consist of; ``longer``: by how much the text before each token grew."""
    told.texts.update(texts)
    for path, token in texts.items():
        beside = (*path[:-1], "bytes")
        if path[-1] == "token" and type(offsets.at(value, beside)) is list:
            told.numbers[beside] = offsets.number_list(token.encode(errors="replace"))
    lists = {path[:-1] for path in longer if path[-2:-1] == ("tokens",)}
    for path in lists:
        beside = (*path[:-1], "text_offset")
        old = [offsets.whole(x) for x in offsets.at(value, beside) or ()]
        if None not in old and any(longer.get((*path, i), 0) for i in range(len(old))):
            moved = [(x or 0) + longer.get((*path, i), 0) for i, x in enumerate(old)]
            told.numbers[beside] = offsets.number_list(moved)
