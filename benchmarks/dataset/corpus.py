"""Corpus: a fine-tuning file of any size, as a company might have it, with values planted in it that have to go.

Chats of several turns in eight languages, code, tool calls with arguments; system prompts that come again and again,
and no turn twice. Turns are put together from pieces that are encoded once, so that writing is as fast as a disk.
Identities and keys are made while it is written and remembered (``Plant``); nothing is anybody's. The same seed gives
the same file.
"""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from benchmarks import people_texts
from benchmarks.dataset.talk import LANGUAGES, SYSTEMS, TOOLS, WORDS, Talk, code
from benchmarks.egress.canaries import KINDS, Canary, Kind, canary

EVERY, EVERY_NAMED = 20, 5
"""One line of so many has values planted in it; where names are planted too."""
TURNS = 600
"""Turns of each language and role that others are put together from."""
PHRASES = 1 << 13
"""Phrases that make a turn another one; two stand in each."""
CHUNK = 1 << 20


class Turn(NamedTuple):
    """A turn in a line of JSON, open in three places: two phrases, and what is planted."""

    start: bytes
    middle: bytes
    rest: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class Plant:
    """A planted value: as it is written, letters and digits alone, and how it was wrapped."""

    kind: str
    value: str = field(repr=False)
    core: str = field(repr=False)
    encoding: str
    line: int


@dataclass(slots=True)
class Corpus:
    """``chunks`` writes; ``plants`` are complete once it is through. ``names``: people and addresses too."""

    size: int
    seed: int = 1
    names: bool = False
    plants: list[Plant] = field(default_factory=list, repr=False)
    lines: int = 0

    def chunks(self) -> Iterator[bytes]:
        """Whole lines, about ``CHUNK`` bytes at a time, at least ``size`` bytes in all."""
        random = Random(f"corpus/{self.seed}")
        pool = _Pool(random)
        people = _people(self.seed) if self.names else iter(())
        every = EVERY_NAMED if self.names else EVERY
        written = 0
        while written < self.size:
            lines, length = [], 0
            while length < CHUNK and written + length < self.size:
                planted = self._planted(random, people) if self.lines % every == 0 else b""
                line = pool.line(planted)
                self.lines += 1
                lines.append(line)
                length += len(line)
            written += length
            yield b"".join(lines)

    def _planted(self, random: Random, people: Iterator[people_texts.Text]) -> bytes:
        """What is said about one to three values, as it stands inside a string of JSON."""
        said = []
        for _ in range(random.choice((1, 1, 2, 3))):
            if self.names and random.random() < 0.5:
                said.append(self._person(next(people)))
            else:
                said.append(self._value(random))
        return b" ".join(said)

    def _person(self, text: people_texts.Text) -> bytes:
        for start, end, kind in text.spans:
            value = text.text[start:end]
            self.plants.append(Plant(kind, value, letters(value), "plain", self.lines))
        return _inside(text.text)

    def _value(self, random: Random) -> bytes:
        kind = random.choice(KINDS)
        found = canary(random, kind)
        told = f"{random.choice(kind.told).format(found.value)}."
        raw, encoding = _wrapped(random, kind, found, told)
        self.plants.append(Plant(kind.name, found.value, letters(found.value), encoding, self.lines))
        return raw


def letters(value: str) -> str:
    """Letters and digits in one case."""
    return "".join(c for c in value.casefold() if c.isalnum())


def _inside(text: str, *, ascii_only: bool = False) -> bytes:
    """``text`` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def _wrapped(random: Random, kind: Kind, found: Canary, told: str) -> tuple[bytes, str]:
    """The text as it stands inside a string, and how it is wrapped."""
    pick = random.random()
    if pick < 0.55:
        return _inside(told), "plain"
    if pick < 0.65:
        escaped = "".join(f"\\u{ord(c):04x}" for c in found.value).encode()
        return _inside(told).replace(_inside(found.value), escaped), "JSON escapes"
    if pick < 0.75:
        return b"Attached: " + base64.b64encode(told.encode()), "base64"
    if pick < 0.85:
        return _inside(f"https://shop.example.com/a?{kind.label}={quote(found.value, safe='')}&page=2"), "URL"
    return _inside(json.dumps({"args": json.dumps({kind.label: found.value, "city": "Paris"})})), "JSON in JSON"


def _people(seed: int) -> Iterator[people_texts.Text]:
    """Texts about people in seven languages, without end."""
    while True:
        texts = list(people_texts.texts(4, seed))
        Random(seed).shuffle(texts)
        yield from texts
        seed += 1


# --------------------------------------------------------------------------- lines


class _Pool:
    """Pieces of lines, encoded once, and what picks among them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        talk = Talk(random)
        self._phrases = [
            _inside(" ".join(random.choices(WORDS, k=3)), ascii_only=True) for _ in range(PHRASES)
        ]  # three words of four letters or more: nobody's
        self._systems = [b'{"messages":[{"role":"system","content":"%b"}' % _inside(s) for s in SYSTEMS]
        self._plain = b'{"messages":['
        self._asked = {name: self._turns(talk, "user", name, random) for name in LANGUAGES}
        self._answered = {name: self._turns(talk, "assistant", name, random) for name in LANGUAGES}
        self._code = [_turn("assistant", code(random), ascii_only=False) for _ in range(TURNS)]
        self._tools = b'],"tools":%b}\n' % json.dumps(TOOLS).encode()
        self._languages = [name for name, share in LANGUAGES.items() for _ in range(share)]
        self._numbers = array("H")
        self._at = 0
        self._lines = 0

    @staticmethod
    def _turns(talk: Talk, role: str, language: str, random: Random) -> list[Turn]:
        some = (talk.asked if role == "user" else talk.answered)(language)
        return [_turn(role, next(some), ascii_only=random.random() < 0.5) for _ in range(TURNS)]

    def line(self, planted: bytes) -> bytes:
        """A conversation that was not there yet."""
        if self._at + 64 > len(self._numbers):
            self._numbers, self._at = array("H", self._random.randbytes(1 << 17)), 0
        numbers, at = self._numbers, self._at
        kind, turns = numbers[at] % 20, 1 + numbers[at + 1] % 4
        language = self._languages[numbers[at + 2] % len(self._languages)]
        asked, answered = self._asked[language], self._answered[language]
        if kind < 2:
            answered = self._code
        pieces = [self._systems[numbers[at + 3] % len(self._systems)] if kind < 15 else self._plain]
        where = numbers[at + 4] % (2 * turns)
        at += 5
        comma = kind < 15
        for n in range(2 * turns):
            turn = (answered if n % 2 else asked)[numbers[at] % TURNS]
            pieces.append(turn.start if comma else turn.start[1:])
            pieces.append(self._phrases[numbers[at + 1] % PHRASES])
            pieces.append(turn.middle)
            pieces.append(self._phrases[numbers[at + 2] % PHRASES])
            pieces.append(turn.rest)
            if n == where and planted:
                pieces += (b" ", planted)
            pieces.append(turn.end)
            at += 3
            comma = True
        if kind >= 18:
            pieces.append(self._call(numbers[at], numbers[at + 1]))
            pieces.append(self._tools)
        else:
            pieces.append(b"]}\n")
        self._at = at + 2
        return b"".join(pieces)

    def _call(self, first: int, second: int) -> bytes:
        """A tool is called, answers, and the assistant says so."""
        self._lines += 1
        phrase, number = self._phrases[first % PHRASES], self._lines
        return (
            b',{"role":"user","content":"Look up %b, please."},{"role":"assistant","tool_calls":[{"id":"call_%d",'
            b'"type":"function","function":{"name":"search_orders",'
            b'"arguments":"{\\"query\\": \\"%b\\", \\"limit\\": %d}"}}]}'
            b',{"role":"tool","tool_call_id":"call_%d","content":"{\\"hits\\": %d, \\"title\\": \\"%b\\"}"}'
            b',{"role":"assistant","content":"There are %d of them; the best is about %b.","weight":1}'
            % (phrase, number, phrase, second % 50, number, second % 90, phrase, second % 90, phrase)
        )


def _turn(role: str, text: str, *, ascii_only: bool) -> Turn:
    """``text`` has two ``{}``."""
    start, middle, rest = (_inside(piece, ascii_only=ascii_only) for piece in text.split("{}"))
    return Turn(b',{"role":"%b","content":"%b' % (role.encode(), start), middle, rest, b'"}')


def contents(lines: Sequence[bytes]) -> list[str]:
    """What is said in some lines: every string that is a message's content."""
    said = []
    for line in lines:
        messages: list[dict[str, Any]] = json.loads(line)["messages"]
        said += [m["content"] for m in messages if isinstance(m.get("content"), str)]
    return said
