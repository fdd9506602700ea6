"""Desk: the live view's state, its keys and its screen. No I/O: keys and news go in, rows and wishes come out.

Invariants: every row is made of visible text and fits the screen; a vote is for the approval that is open, at the
version that was on the screen; nothing is approved before all of what leaves was on the screen; a question is dropped
as soon as what it asks about has changed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rich.cells import cell_len
from rich.text import Text

from llmguard.cli.screen import styled, visible
from llmguard.cli.sheet import Sheet, found, sheet, state_style, who
from llmguard.cli.times import moment, relative
from llmguard.cli.watch import Down, Listed
from llmguard.errors import InvalidRequest

LEAST = (40, 12)
"""Columns and rows below which nothing can be decided."""
_MOST_WORDS = 2000
Verdict = Literal["approve", "deny", "request_changes"]
HELP = """\
j k, arrows     the next and the former approval; in an open one, a line down and up
enter o         open: the whole screen for one approval       q esc   back
space b         a page down and up      g G   the beginning and the end
f               what leaves, in full
a               approve: once all of what leaves was on the screen
d               deny, with a reason if you like
r               request changes, with a reason
/               only what has these letters in it: id, operation, people, destination, findings
?               this page               q     quit"""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Wish: the approval of that id, whole."""

    id: str


@dataclass(frozen=True, slots=True)
class Vote:
    """Wish: this verdict on this approval, as it was shown."""

    approval: Mapping[str, Any]
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Ring:
    """Wish: the bell; something new waits."""


Wish = Fetch | Vote | Ring


@dataclass(frozen=True, slots=True)
class Opened:
    """News: an approval as its reviewer reads it."""

    approval: Mapping[str, Any]
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Voted:
    """News: the vote counts; the summary after it."""

    approval: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """News: what was wished for did not happen. ``vote``: it was one. Without an id: nothing will happen any more."""

    id: str
    message: str
    vote: bool


News = Listed | Down | Opened | Voted | Refused


def opened(approval: Mapping[str, Any], at: int) -> Opened:
    """Raises Conflict if what is shown is not what is asked about, InvalidRequest if it is too long for a screen."""
    body = approval["egress"]["body"]
    if body.get("total", 0) > body.get("bytes", 0):
        long = f"{int(body['total'])} bytes are too many for this view"
        raise InvalidRequest(f"{long}: llmguard approvals show {visible(str(approval['id']))} --full")
    return Opened(approval, sheet(approval, at))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the screen. ``start``, ``end``: which characters of what leaves it shows; -1 for anything else."""

    text: Text
    start: int = -1
    end: int = -1


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked at the bottom, and what was typed so far."""

    kind: Verdict | Literal["filter"]
    words: str = ""


@dataclass(slots=True)
class Desk:
    """``email``: whose votes these are."""

    email: str
    rows: tuple[dict[str, Any], ...] = ()
    more: bool = False
    loaded: bool = False
    selected: str = ""
    open: Opened | None = None
    whole: bool = False
    help: bool = False
    top: int = 0
    seen: int = 0
    """Characters of what leaves that were on the screen, from the first one on."""
    question: Question | None = None
    wanted: str = ""
    note: str = ""
    trouble: str = ""
    voting: bool = False
    leaving: bool = False
    _height: int = 0
    _count: int = 0
    _wrapped: tuple[Opened, int, list[Row]] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        """A vote that is on its way is waited for."""
        return self.leaving and not self.voting

    @property
    def listed(self) -> list[dict[str, Any]]:
        """The queue behind the filter."""
        wanted = self.wanted.lower()
        return [r for r in self.rows if wanted in " ".join(map(str, _words(r))).lower()]

    # ----------------------------------------------------------------- news

    def told(self, news: News) -> list[Wish]:
        match news:
            case Listed():
                return self._queue(news)
            case Down():
                wait = "waiting for llmguard login" if news.over else f"again in {news.pause:.0f} s"
                self.trouble = f"{wait}: {news.message}"
                self.question = None if self.question and self.question.kind != "filter" else self.question
            case Opened():
                self._opened(news)
            case Voted():
                self.voting = False
                missing = int(news.approval["missing"])
                more = f", {missing} more wanted" if missing and news.approval["state"] == "PENDING" else ""
                self.note = f"{news.approval['id']} is {news.approval['state']}{more}"
                return [Fetch(self.selected)] if self.selected == news.approval["id"] else []
            case Refused(id="", message=message):
                self.trouble = message
            case Refused():
                self.voting = self.voting and not news.vote
                self.note = f"{'nothing was voted: ' if news.vote else ''}{news.message}"
                return [Fetch(news.id)] if news.vote and news.id == self.selected else []
        return []

    def _queue(self, news: Listed) -> list[Wish]:
        before = {r["id"]: r for r in self.rows}
        wishes: list[Wish] = []
        if self.loaded and any(r["id"] not in before for r in news.rows):
            wishes.append(Ring())
        self.rows, self.more, self.loaded, self.trouble = news.rows, news.more, True, ""
        if not self.selected:
            return wishes + self._select(0)
        held = next((r for r in self.rows if r["id"] == self.selected), None)
        known = (self.open and self.open.approval["version"]) == (held or {}).get("version")
        if not known or held != before.get(self.selected):
            wishes.append(Fetch(self.selected))
        return wishes

    def _opened(self, news: Opened) -> None:
        a = news.approval
        if a["id"] != self.selected:
            return
        before = self.open.approval if self.open else None
        same = before is not None and (before["id"], before["digest"]) == (a["id"], a["digest"])
        self.open = news
        if not same:
            self.top = self.seen = 0
            self.question = self.question if self.question and self.question.kind == "filter" else None
        elif before is not None and (before["version"], before["votes"]) != (a["version"], a["votes"]):
            self._changed(a, before["version"] == a["version"])

    def _changed(self, a: Mapping[str, Any], pending: bool) -> None:
        """What is open is not what it was a moment ago. ``pending``: a vote came, and it waits as before."""
        last = a["votes"][-1] if a["votes"] else None
        by = f", {last['human']}: {last['verdict']}" if last else ""
        if pending or self.question is None or self.question.kind == "filter":
            if last is not None and last["human"] != self.email:
                self.note = f"a moment ago: {a['state']}{by}"
        else:
            self.question = None
            self.note = f"nothing was voted: this changed while you decided, it is {a['state']} now{by}"

    def tick(self, at: int) -> None:
        """Time passes: a question about what has expired is dropped."""
        if self.open and _expired(self.open.approval, at) and self.question and self.question.kind != "filter":
            self.question = None
            self.note = "nothing was voted: this expired while you decided"

    # ----------------------------------------------------------------- keys

    def key(self, key: str, at: int) -> list[Wish]:
        """``key``: a character, a name such as ``up``, or ``paste:`` and what was pasted."""
        self.tick(at)
        if key == "ctrl-c":
            self.leaving = True
            return []
        if self.question is not None:
            return self._answer(key, self.question)
        self.note = ""
        if key.startswith("paste:"):
            self.note = "what is pasted is no command"
        elif self.help:
            self.help = False
        elif key in _MOVES:
            return self._move(_MOVES[key])
        elif key in ("a", "d", "r"):
            self._ask(key, at)
        else:
            self._go(key)
        return []

    def _go(self, key: str) -> None:
        match key:
            case "?":
                self.help = True
            case "/":
                self.question = Question("filter", self.wanted)
            case "enter" | "o":
                self.whole = self.open is not None
            case "f" if self.open is not None:
                self.whole, self.top = True, len(self.open.sheet.facts)
                self.top = (
                    next((i for i, row in enumerate(self._wrapped[2]) if row.start >= 0), 0) if self._wrapped else 0
                )
            case "q" | "esc" if self.whole:
                self.whole = False
            case "esc" if self.wanted:
                self.wanted = ""
            case "q":
                self.leaving = True

    def _move(self, move: str) -> list[Wish]:
        page = max(1, self._height - 1)
        if move in ("down", "up") and not self.whole:
            ids = [r["id"] for r in self.listed]
            at = ids.index(self.selected) if self.selected in ids else -1
            return self._select(max(0, at + (1 if move == "down" else -1)))
        steps = {"down": 1, "up": -1, "page": page, "back": -page, "first": -self._count, "last": self._count}
        self.top = max(0, min(self.top + steps[move], self._count - self._height))
        return []

    def _select(self, index: int) -> list[Wish]:
        queue = self.listed
        if not queue:
            return []
        chosen = str(queue[min(index, len(queue) - 1)]["id"])
        if chosen == self.selected:
            return []
        self.selected, self.open, self.top, self.seen = chosen, None, 0, 0
        return [Fetch(chosen)]

    def _ask(self, key: str, at: int) -> None:
        a = self.open.approval if self.open else None
        kind: Verdict = {"a": "approve", "d": "deny", "r": "request_changes"}[key]  # type: ignore[assignment]
        if a is None or self.open is None:
            self.note = "nothing is open"
        elif self.trouble:
            self.note = "nothing can be decided before the control plane answers again"
        elif self.voting:
            self.note = "your vote is on its way"
        elif _expired(a, at) or a["state"] != "PENDING":
            self.note = f"nothing is left to vote on: this is {'EXPIRED' if _expired(a, at) else a['state']}"
        elif kind == "approve" and self.seen < _size(self.open.sheet):
            rest = _size(self.open.sheet) - self.seen
            self.note = f"{rest} characters of what leaves were not on the screen yet: read on with space"
        else:
            self.question = Question(kind)

    def _answer(self, key: str, question: Question) -> list[Wish]:
        if key == "esc":
            self.question = None
            self.note = "" if question.kind == "filter" else "nothing was voted"
            return []
        if question.kind == "approve":
            self.question = None
            if key in ("y", "Y"):
                return self._vote("approve", "")
            self.note = "nothing was voted"
            return []
        if key == "enter":
            return self._typed(question)
        self.question = replace(question, words=_edited(question.words, key))
        return []

    def _typed(self, question: Question) -> list[Wish]:
        words = question.words.strip()
        if question.kind == "filter":
            self.question, self.wanted = None, words
            visible_ids = [r["id"] for r in self.listed]
            return [] if self.selected in visible_ids or self.whole else self._select(0)
        if question.kind == "request_changes" and not words:
            self.note = "say what has to change"
            return []
        self.question = None
        return self._vote("deny" if question.kind == "deny" else "request_changes", words)

    def _vote(self, verdict: Verdict, reason: str) -> list[Wish]:
        assert self.open is not None  # noqa: S101  a question is about what is open
        self.voting, self.note = True, "your vote is on its way"
        return [Vote(self.open.approval, verdict, reason)]

    # ----------------------------------------------------------------- the screen

    def draw(self, width: int, height: int, at: int) -> list[Text]:
        """As many rows as the screen has, none wider. What of an approval is drawn counts as seen."""
        self.tick(at)
        if width < LEAST[0] or height < LEAST[1]:
            rows = [styled(f"this needs {LEAST[0]} columns and {LEAST[1]} rows")]
        elif self.help:
            rows = [Text("llmguard approvals watch", style="bold"), *map(Text, HELP.split("\n"))]
        else:
            rows = self._screen(width, height, at)
        rows = rows[:height] + [Text()] * (height - len(rows))
        return [_fit(row, width) for row in rows]

    def _screen(self, width: int, height: int, at: int) -> list[Text]:
        head = self._head(width, at)
        if not self.whole:
            head += self._queue_rows(width, max(3, (height - 5) // 3), at)
        self._height = height - len(head) - 3
        body = self._body(width)
        return [*head, self._rule(width, at), *body, *self._foot()]

    def _head(self, width: int, at: int) -> list[Text]:
        count = f"{len(self.rows)}{'+' if self.more else ''} waiting" if self.loaded else "asking the control plane"
        only = f"  only: {self.wanted}" if self.wanted else ""
        left, right = visible(f"llmguard approvals  {count}{only}"), visible(f"{self.email}  {moment(at)}")
        gap = max(2, width - cell_len(left) - cell_len(right))
        return [Text(f"{left}{' ' * gap}{right}", style="reverse")]

    def _queue_rows(self, width: int, most: int, at: int) -> list[Text]:
        queue = self.listed
        ids = [r["id"] for r in queue]
        chosen = ids.index(self.selected) if self.selected in ids else 0
        first = max(0, min(chosen - most // 2, len(queue) - most))
        rows = [self._queue_row(r, width, at) for r in queue[first : first + most]]
        if not queue:
            rows = [Text("  nothing waits for you" if not self.wanted else "  nothing has these letters in it")]
        return rows

    def _queue_row(self, r: Mapping[str, Any], width: int, at: int) -> Text:
        mark, style = (">", "bold") if r["id"] == self.selected else (" ", "")
        risk = f"{int(r['risk']['inherent'])}→{int(r['risk']['residual'])}"
        left = relative(r["expires"], at) if r["expires"] > at else "expired"
        id_ = str(r["id"])[: 26 if width >= 110 else 13]
        words = f"{mark} {id_}  {left:>10}  {risk:>7}  {int(r['missing'])} missing"
        rest = [r["operation"], f"for {who(r)}", f"to {r['destination']}", found(r)]
        return styled(f"{words}  {'  '.join(map(str, rest))}", style)

    def _body(self, width: int) -> list[Text]:
        rows = self._wrap(width)
        self._count = len(rows)
        self.top = max(0, min(self.top, self._count - self._height))
        shown = rows[self.top : self.top + self._height]
        for row in shown:
            if 0 <= row.start <= self.seen:
                self.seen = max(self.seen, row.end)
        return [row.text for row in shown] + [Text()] * (self._height - len(shown))

    def _wrap(self, width: int) -> list[Row]:
        if self.open is None:
            return []
        if self._wrapped is None or self._wrapped[0] is not self.open or self._wrapped[1] != width:
            self._wrapped = (self.open, width, list(_wrapped(self.open.sheet, width)))
        return self._wrapped[2]

    def _rule(self, width: int, at: int) -> Text:
        if self.open is None:
            return Text("─" * width, style="dim")
        a = self.open.approval
        state = "EXPIRED" if _expired(a, at) else str(a["state"])
        last = min(self._count, self.top + self._height)
        left = _size(self.open.sheet) - self.seen
        unread = f"{left} characters unread" if left > 0 else "all read"
        id_ = str(a["id"])[: 26 if width >= 110 else 13]
        ends = f"  ends {relative(a['expires'], at)}" if state == "PENDING" else ""
        text = f"── {id_}  {state}  {unread}  {self.top + 1}-{last} of {self._count}{ends} "
        return styled(text + "─" * max(0, width - len(text)), state_style(state) or "dim")

    def _foot(self) -> list[Text]:
        note = styled(self.trouble, "bold red") if self.trouble else styled(self.note, "yellow")
        if self.question is None:
            keys = "j k move  enter open  space on  a approve  d deny  r changes  ? help  q quit"
            back = "j k lines  space on  f full  a approve  d deny  r changes  ? help  q back"
            return [note, Text(back if self.whole else keys, style="dim")]
        return [note, styled(self._prompt(self.question), "bold")]

    def _prompt(self, question: Question) -> str:
        a = self.open.approval if self.open else {"digest": "", "id": ""}
        prompts = {
            "filter": "only with: ",
            "approve": f"approve {a['digest'][:12]}… as {self.email}? y/N ",
            "deny": f"deny {str(a['id'])[:13]}; reason (enter denies, esc does not): ",
            "request_changes": "what has to change (enter sends, esc does not): ",
        }
        return f"{prompts[question.kind]}{question.words}_"


_MOVES = {
    "j": "down",
    "down": "down",
    "k": "up",
    "up": "up",
    " ": "page",
    "pgdn": "page",
    "b": "back",
    "pgup": "back",
    "g": "first",
    "home": "first",
    "G": "last",
    "end": "last",
}


def _edited(words: str, key: str) -> str:
    if key == "backspace":
        return words[:-1]
    if key == "ctrl-u":
        return ""
    typed = " ".join(key.removeprefix("paste:").split()) if key.startswith("paste:") else key
    return (words + typed)[:_MOST_WORDS] if len(key) == 1 or key.startswith("paste:") else words


def _expired(approval: Mapping[str, Any], at: int) -> bool:
    return approval["state"] == "PENDING" and int(approval["expires"]) <= at


def _words(row: Mapping[str, Any]) -> Sequence[object]:
    return row["id"], row["operation"], row["destination"], who(row), found(row), row["rule"], row["subject"]


# --------------------------------------------------------------------------- rows


def _size(shown: Sheet) -> int:
    return sum(len(line) + 1 for line in shown.content)


def _wrapped(shown: Sheet, width: int) -> Iterator[Row]:
    """Every line, on as many rows as it takes."""
    for line in shown.facts:
        for piece, _ in _pieces(line, width):
            yield Row(piece)
    at = 0
    for line in shown.content:
        for piece, count in _pieces(line, width):
            yield Row(piece, at, at + count)
            at += count


def _pieces(line: Text, width: int) -> Iterator[tuple[Text, int]]:
    """Pieces of a line, and how many of its characters each stands for, its end counted as one."""
    plain = line.plain
    cuts, used = [], 0
    for i, character in enumerate(plain):
        wide = _columns(character)
        if used + wide > width:
            cuts.append(i)
            used = 0
        used += wide
    pieces = line.divide(cuts) if cuts else [line]
    for i, piece in enumerate(pieces):
        count = len(piece) + (1 if i == len(pieces) - 1 else 0)
        shown = piece.copy()
        if "\t" in piece.plain:
            shown = Text(piece.plain.replace("\t", _TAB), style=piece.style)
        yield shown, count


_TAB = "    "


def _columns(character: str) -> int:
    """At most so many columns on any terminal: some give two to what others give one, some one to what others stack."""
    if character == "\t":
        return len(_TAB)
    return 2 if unicodedata.east_asian_width(character) in "WFA" else 1


def _fit(row: Text, width: int) -> Text:
    """A copy that is no wider."""
    row = row.copy()
    if cell_len(row.plain) > width:
        row.truncate(width, overflow="ellipsis")
    return row
