"""Trail: what was written so far, as far as it decides whether the next character stands inside a URL.

Owns the question "would a browser or a markdown renderer fetch this?". Errs on the side of yes: a value that is
wrongly kept back is a nuisance, one that is filled into a URL is gone. Memory is bounded, however long the text.
"""

from __future__ import annotations

import re

LOOKBACK = 2048
"""Characters of one word that are kept. A longer word counts as a URL: no prose has one."""

_ATTRIBUTES = r"(?:src|srcset|href|action|formaction|data|poster|background|cite|ping|manifest|longdesc)"
_QUOTED = re.compile(r"[=(]\s*\\*([\"'])|\][(:]\s*(<)")
_ATTRIBUTE = re.compile(rf"(?i)\b{_ATTRIBUTES}\s*\Z")
_UNQUOTED = re.compile(rf"(?i)(?:\b{_ATTRIBUTES}=|\burl\()(?P<rest>.*)\Z", re.S)
_BARE = re.compile(r"//|(?i:www)\.")
_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-:")
_LABEL = re.compile(r"[ \t>]*\[(?!\^)")
_LINE_DEFINITION = re.compile(r"[ \t>]*\[(?!\^)(?:\\.|[^\n\]\\]){1,999}\]:<?(?P<rest>\S*)\Z")
_OVERLAP = 64
"""An opener may be split over two pieces of text: this much is looked at again."""
_MAX_OPENERS = 64


class Trail:
    """Fed with everything that is written, in order, it tells whether a URL is open at the end."""

    __slots__ = ("_head", "_overlap", "_pending", "_quote", "_text")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Another string begins: nothing before it matters."""
        self._pending: list[str] = []
        self._text = ""
        self._overlap = ""
        self._quote = ""
        self._head = ""

    def add(self, text: str) -> None:
        if text:
            self._pending.append(text)
            if len(self._pending) > 256:
                self._settle(0)

    def inside(self, depth: int = 0) -> bool:
        """Whether what comes next would be part of a URL. ``depth``: how often the text is encoded as a JSON string."""
        self._settle(depth)
        if self._quote and not _harmless(self._head):
            return True
        return _word_is_url(self._text)

    def _settle(self, depth: int) -> None:
        if not self._pending:
            return
        new = "".join(self._pending)
        self._pending = []
        if depth:
            new = re.sub(rf"(?<!\\)\\{{{2 ** (depth - 1)}}}[nrt]", "\n", new)
        self._follow_quotes(new)
        text = self._text + new
        if len(text) > 2 * LOOKBACK:
            text = text[-2 * LOOKBACK :]
        self._text = text

    def _follow_quotes(self, new: str) -> None:
        """Keeps track of quoted attributes and ``<…>`` destinations, which go on over white space."""
        text, at = self._overlap + new, 0
        if self._quote:
            text = new
        while True:
            if self._quote:
                end = text.find(self._quote, at)
                self._head += text[at : at + 8 if end < 0 else end][: max(0, 8 - len(self._head))]
                if end < 0:
                    break
                self._quote, at = "", end + 1
            match = _QUOTED.search(text, at)
            if match is None:
                break
            at = match.end()
            if match[2] or _assigns(text[max(0, match.start() - 24) : match.start() + 1]):
                self._quote, self._head = (">" if match[2] else match[1]), ""
            else:
                at = match.start() + 1
        self._overlap = "" if self._quote else text[max(at, len(text) - _OVERLAP) :]


def _harmless(destination: str) -> bool:
    return destination.lower().startswith(("mailto:", "tel:"))


def _word_is_url(text: str) -> bool:
    """Whether the last word of the text, up to its end, is an open URL."""
    if not text:
        return False
    word = "" if text[-1].isspace() else text[-LOOKBACK - 1 :].split()[-1]
    if len(word) > LOOKBACK:
        return True
    before = text[: len(text) - len(word)]
    if _opened_before(before[-1100:].rstrip()) and not _closed(word, ">") and not _harmless(word.lstrip("<")):
        return True
    if not word:
        return False
    return _bare(word) or _destination(word, before)


def _opened_before(text: str) -> bool:
    """Whether a destination follows the text, with white space between."""
    if text.endswith("]:"):
        return _LABEL.match(text, text.rfind("\n") + 1) is not None
    return text.endswith("](") or _assigns(text[-25:])


def _assigns(text: str) -> bool:
    """Whether the text ends in ``attribute=`` or ``url(``."""
    if text.endswith("("):
        return text[-4:-1].lower() == "url"
    return text.endswith("=") and _ATTRIBUTE.search(text[:-1]) is not None


def _bare(word: str) -> bool:
    """``scheme://``, ``//host`` or ``www.``, not closed by ``<``, ``>`` or the quote that it was opened behind."""
    for i, match in enumerate(_BARE.finditer(word)):
        start = match.start()
        while start and word[start - 1] in _SCHEME_CHARACTERS:
            start -= 1
        opener = word[start - 1] if start else ""
        enders = "<>" + (opener if opener in "\"'" else "")
        if i >= _MAX_OPENERS or not any(c in enders for c in word[match.start() :]):
            return True
    return False


def _destination(word: str, before: str) -> bool:
    """A markdown destination, an unquoted attribute, or a link definition without a space."""
    for at in (m.end() for m in re.finditer(r"\]\(", word)):
        if not _harmless(word[at:].lstrip("<")) and not (word[at : at + 1] == "<" and ">" in word[at:]):
            return True
    if (match := _UNQUOTED.search(word)) and not re.search(r"[\"'>]", match["rest"]) and not _harmless(match["rest"]):
        return True
    definition = _LINE_DEFINITION.match(before[before.rfind("\n") + 1 :][-1100:] + word)
    return definition is not None and not _harmless(definition["rest"])


def _closed(word: str, ender: str) -> bool:
    return word.startswith("<") and ender in word
