"""Lengths: how many tokens a text has before and after it is cleaned, as a whole and by type of value."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.dataset.corpus import contents
from benchmarks.egress.lookout import vocabulary
from benchmarks.report import Row
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.model import TextPart
from llmguard.redaction import FileSurrogates

ENCODING = "o200k_base"


def tokens(text: str) -> int:
    return len(vocabulary(ENCODING).encode_ordinary(text))


def whole(before: Sequence[bytes], after: Sequence[bytes]) -> Row:
    """Lines before and after."""
    was, now = (sum(map(tokens, contents(lines))) for lines in (before, after))
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    some, others = (sum(map(tokens, contents([pair[i] for pair in changed]))) for i in (0, 1))
    return {
        "lines": len(before),
        "tokens before": was,
        "after": now,
        "change": f"{100 * now / was - 100:+.2f} %",
        "lines that changed": len(changed),
        "their change": f"{100 * others / some - 100:+.2f} %" if some else "–",
    }


def by_type(texts: Sequence[str], *, names: bool) -> Iterator[Row]:
    """Tokens of the values found and of their surrogates, each by itself. Many first."""
    count: Counter[str] = Counter()
    was: Counter[str] = Counter()
    now: Counter[str] = Counter()
    longer: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Guard(Settings(data=Path(folder), names=names)) as guard:
        surrogates = FileSurrogates(partial(guard.vault.digest, "default"))
        for text in texts:
            (found,) = guard.scanner.scan((TextPart(text, "text"),))
            for f in found:
                value = text[f.start : f.end]
                new = surrogates.of(f.type, f.category, value, value) or f"[{f.type}#ktqlfsdjqsdt]"
                count[f.type] += 1
                was[f.type] += tokens(value)
                now[f.type] += tokens(new)
                longer[f.type] += len(new) - len(value)
    for type_, times in count.most_common():
        yield {
            "type": type_,
            "values": times,
            "tokens each": was[type_] / times,
            "surrogate": now[type_] / times,
            "characters": f"{longer[type_] / times:+.1f}",
        }
