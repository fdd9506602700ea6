"""Lines: which of a text's lines are prose, which are code, and which no name can be in. Cheap, before any model.

Owns: words, the look of a line. Never does: deciding that something is a name. Invariant: work grows with the text;
every pattern is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from llmguard.detection.names.lexicon import Lexicon

WORD = re.compile(r"[^\W_]+(?:['’´`][^\W_]+)*")
URL = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{0,15}://|www\.)[^\s<>\"']{1,2048}|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)
_CODE = re.compile(
    r"\s*(?:(?:async )?def \w+\(|class \w+\s*[:({]|from [\w.]{1,80} import |import (?:[\w.]{1,80}(?:$|[;,]| as )|[{*])|"
    r"return(?: [\w.'\"()\[\]-]{1,80})?;?\s*$|elif .*:\s*$|else:|if .{1,200}[:{]\s*$|for .{1,100} in .{1,200}[:{]\s*$|"
    r"for ?\(|while .{1,200}[:{]\s*$|with .{1,200}\).{0,40}:\s*$|try:|except\b.*:\s*$|finally:|"
    r"raise \w+(?:\(|\s*$| from )|assert \w+[ (.]|@\w[\w.]*(?:\(|\s*$)|#!|#include|#define|package [\w.]+;?\s*$|"
    r"func \w*\(|fn \w+[(<]|(?:let|const|var) (?:mut )?[\w{\[, }\]:]{1,60}=|"
    r"(?:public|private|protected|static|void|final) [\w<>\[\] ]{1,60}[({;=]|using [\w.]+;|namespace [\w.:]+|"
    r"(?:SELECT|select) .{1,200} (?:FROM|from) \w+.{0,200}(?:;|\b(?:WHERE|where|JOIN|join|ORDER|order)\b)|INSERT INTO |"
    r">>> \w[\w.]*(?:[ ]?=|\(|\[)|>>> (?:import|from|for|print) |\$ [a-z]{2,12} [-./~\w]|[})\]]+[;,)\]}]*\s*$|"
    r"</?[a-z][a-z0-9]*(?: [\w-]+=[^>]*)?/?>\s*$)"
)
_SIGNS = re.compile(
    r"\w\([^()]{0,80}\);\s*$|[\w)\]];\s*$|\{\s*$|==|!=|&&|\|\||\+=|:=|\w\(\)|\bself\.|\w\[['\"\w]{1,40}\]|"
    r"^\s*[\w.\[\]]{1,60} = (?:[\[({\d]|[\w.]{1,60}[.(\[])|\w\.\w+\(|\blambda \w|%[sdr]\b|\w::\w|\w->\w|=> ?[{(]|"
    r"^\s*['\"][\w.]+['\"]: |^\s*\('[\w.]+', '"
)
_LITERAL = re.compile(r"\s*[bru]?(?:\"[^\"\n]{1,80}\"|'[^'\n]{1,80}')[,)\]]?\s*$")
_LOG = re.compile(
    r"^\W?\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,80}\b(?:DEBUG|INFO|WARN|WARNING|ERROR|FATAL|TRACE|CRITICAL)\b|"
    r"^\s*at [\w.$<>]+\(|^Traceback \(|^\s*File \"|^\w*(?:Error|Exception)\b:"
)


CONTEXT = re.compile(
    r"\b(?i:(?:first|last|full|given|family|user|sur|nick|customer|client)?[ _]?name[sd]?|called|dear|mrs?|ms|dr|"
    r"customer|client|patient|contact|employee|author|manager|colleague|friend|brother|sister|husband|wife|i'?m|i am|"
    r"this is|recipient|sender|signed|regards|herrn?|frau|señora?|nombre|nom|cliente|paciente)\b"
)
"""Words near which a name is expected, in lower case too."""


class Look(IntEnum):
    """What a line is."""

    EXPLAINED = 0
    """Nothing but common words: no name is looked for."""
    PROSE = 1
    CODE = 2


@dataclass(frozen=True, slots=True)
class Line:
    """Half-open span of a line, its look, and the spans of its words outside URLs and mailboxes."""

    start: int
    end: int
    look: Look
    words: tuple[tuple[int, int], ...]
    literal: bool = False
    """Nothing but quoted text, as lists in code have it: read, but with the doubt that code asks for."""

    def __repr__(self) -> str:
        return f"Line({self.start}, {self.end}, {self.look.name})"


def lines(text: str, lexicon: Lexicon) -> list[Line]:
    """Every line of ``text``, in order."""
    return [_line(text, start, end, lexicon) for start, end in _spans(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        yield start, end
        start = end


def _line(text: str, start: int, end: int, lexicon: Lexicon) -> Line:
    hidden = [m.span() for m in URL.finditer(text, start, end)] if _may_hold_url(text, start, end) else []
    words = tuple(_outside((m.span() for m in WORD.finditer(text, start, end)), hidden))
    if not words:
        return Line(start, end, Look.EXPLAINED, words)
    if _is_code(text[start : min(end, start + 600)]):
        return Line(start, end, Look.CODE, words)
    context = CONTEXT.search(text, start, end) is not None
    plain = all(_explained(text[a:b], lexicon, context) for a, b in words)
    return Line(start, end, Look.EXPLAINED if plain else Look.PROSE, words, bool(_LITERAL.match(text, start, end)))


def _may_hold_url(text: str, start: int, end: int) -> bool:
    return text.find("@", start, end) >= 0 or text.find("//", start, end) >= 0 or text.find("www.", start, end) >= 0


def _outside(spans: Iterator[tuple[int, int]], hidden: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    position = 0
    for start, end in spans:
        while position < len(hidden) and hidden[position][1] <= start:
            position += 1
        if position == len(hidden) or end <= hidden[position][0]:
            yield start, end


def _is_code(line: str) -> bool:
    return bool(_CODE.match(line) or _LOG.match(line)) or len(_SIGNS.findall(line)) >= (1 if len(line) < 200 else 3)


def _explained(word: str, lexicon: Lexicon, context: bool) -> bool:
    """Whether a word is a number, or common and not written like a name; in context a name needs no capital."""
    if word.isdigit():
        return True
    folded = base(word)
    if folded not in lexicon.common and len(folded) > 1:
        return False
    return folded not in lexicon.people or (word[0].islower() and not context)


def base(word: str) -> str:
    """Case-folded, without the ending of a possessive."""
    folded = word.casefold()
    return folded[:-2] if folded[-2:] in ("'s", "’s") else folded
