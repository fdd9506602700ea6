"""Fuzz: texts nobody thought of, through scan, redact and restore, for as long as one likes.

Each case is made from ``--seed`` and its number alone (``--number`` repeats one): prose, code of Python's own library,
examples of the catalogue, planted values plain and disguised, random Unicode and JSON, then cut, doubled, spliced and
disturbed. A guard in a folder of its own is asked what any caller can ask. Checked of every case:

* findings are sorted, lie inside, never overlap, and are the same when asked again;
* restoring what was redacted is the text, and redacting it again uses the same placeholders;
* a planted value that mutation left alone is not left in the redacted text, in the form that it was planted in;
* cut anywhere into neighbouring parts, findings lie inside their parts;
* a scan ends within ``PATIENCE`` for its length, and raises nothing but a refusal.

A case that breaks one makes the run fail; it is told with its number and the shortest text that still breaks it.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import random
import signal
import sysconfig
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from urllib.parse import quote

from benchmarks.report import Row, say
from llmguard import catalogue
from llmguard.catalogue import fill
from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.guard import Guard
from llmguard.model import Finding, TextPart

PACKAGES = ("llmguard", "hyperscan", "google-re2")
PATIENCE = (2.0, 50e-6)
"""Seconds that a scan may take: in any case, and for each character."""
STUCK = 60
"""Seconds after which a case is given up: it hangs."""
MINIMISING = 300
"""Texts that are tried to make a failing one shorter."""
LONGEST = 20_000

VALUES = (
    *("jane.roe@example.org", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "536-22-8745"),
    *("ghp_{alnum:36}", "AKIA{upper:16}", "sk-ant-api03-{urlsafe:93}AA", "postgres://app:{alnum:14}@db.example.org/x"),
)
DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda v: v,
    "percent": lambda v: quote(v, safe=""),
    "percent, all": lambda v: "".join(f"%{b:02X}" for b in v.encode()),
    "entities": lambda v: "".join(f"&#{ord(c)};" for c in v),
    "escapes": lambda v: "".join(f"\\u{ord(c):04x}" for c in v),
    "zero-width": "\u200b".join,
    "full-width": lambda v: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in v),
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64, twice": lambda v: base64.b64encode(base64.b64encode(v.encode())).decode(),
    "gzip": lambda v: base64.b64encode(gzip.compress(v.encode(), mtime=0)).decode(),
    "hex": lambda v: v.encode().hex(),
}
CHARACTERS = (
    "\x00\t\n\r\x1b \"'%&;=<>[]{}()\\/@.,:_-+#*|~^$0123456789aAzZäßéıſK"
    "\u00a0\u00ad\u0301\u200b\u200d\u202e\u2028\ufe0f\ufffd𝟜４а한عं👩🏽\U000e0041"
)

WORDS = ("the", "of", "key", "password", "is", "Müller", "phone", "card", "über", "市", "и", "123", "4111", "@", "id:")
RUNS = (
    "\\",
    "%",
    "%41",
    "&a",
    "&#65;",
    "=\n",
    "a ",
    "41 ",
    "one ",
    "0x41, ",
    "\u200b",
    "\u0336",
    "QUJD",
    "((",
    "a.",
    "@",
)
"""What hostile texts repeat."""


@dataclass(frozen=True, slots=True)
class Case:
    """A text, and what was planted in it, as it stands there."""

    number: int
    kind: str
    text: str
    planted: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Case({self.number}, {self.kind}, <{len(self.text)} chars>)"


class Broken(RuntimeError):
    """Properties did not hold. ``rows`` says how often which was looked at."""

    def __init__(self, rows: Sequence[Row], numbers: Sequence[int]) -> None:
        super().__init__(f"{len(numbers)} cases break a property: --number {' '.join(map(str, numbers[:20]))}")
        self.rows = rows


def run(options: Namespace) -> list[Row]:
    """One row for each property. Raises Broken."""
    seed = random.randrange(10**6) if options.seed is None else options.seed
    checked, broken, numbers = fuzz(options.minutes, seed, options.number)
    rows: list[Row] = [{"property": p, "checked": n, "broken": broken[p]} for p, n in sorted(checked.items())]
    options.facts |= {"seed": seed, "minutes": options.minutes, "cases": max(checked.values(), default=0)}
    if numbers:
        raise Broken(rows, numbers)
    return rows


def fuzz(minutes: float, seed: int, only: int | None = None) -> tuple[Counter[str], Counter[str], list[int]]:
    """How often each property was looked at, how often it did not hold, and the numbers of those cases."""
    checked: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    numbers: list[int] = []
    with tempfile.TemporaryDirectory() as folder, Guard(Settings(data=Path(folder), names=False)) as guard:
        properties = Properties(guard)
        end = perf_counter() + 60 * minutes
        for number, made in _cases(seed, only):
            for name, holds in properties.all.items():
                checked[name] += 1
                if not _holds(holds, made):
                    broken[name] += 1
                    numbers.append(number)
                    _tell(name, seed, made, holds)
            if perf_counter() > end:
                break
    return checked, broken, numbers


def _cases(seed: int, only: int | None) -> Iterator[tuple[int, Case]]:
    corpus = Corpus()
    number = only or 0
    while True:
        yield number, corpus.case(number, random.Random(f"{seed}:{number}"))
        if only is not None:
            return
        number += 1


def _tell(name: str, seed: int, case: Case, holds: Callable[[Case], bool]) -> None:
    least = _shortest(case, holds)
    shown = f"<{len(least.text)} chars>" if case.kind == "code" else ascii(least.text)[:500]
    say(f"broken: {name}; --seed {seed} --number {case.number} ({case.kind}); shortest: {shown}")


def _holds(holds: Callable[[Case], bool], case: Case) -> bool:
    """False too if it raises anything but a refusal, or hangs."""
    try:
        with _alarm():
            return holds(case)
    except LLMGuardError:
        return True
    except Exception as e:  # noqa: BLE001  whatever it is, it is what is looked for
        say(f"{type(e).__name__} at {_where(e)}")
        return False


def _where(error: BaseException) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at else "?"


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def stuck(*_: object) -> None:
        raise TimeoutError(f"more than {STUCK} s")

    former = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(STUCK)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def _shortest(case: Case, holds: Callable[[Case], bool]) -> Case:
    """A case that still breaks the property and from which no piece can be taken; tried ``MINIMISING`` times."""
    tries, size = MINIMISING, len(case.text) // 2
    while size and tries:
        at = 0
        while at < len(case.text) and tries:
            tries -= 1
            text = case.text[:at] + case.text[at + size :]
            shorter = replace(case, text=text, planted=tuple(p for p in case.planted if p in text))
            if shorter.planted == case.planted and not _holds(holds, shorter):
                case = shorter
            else:
                at += size
        size //= 2
    return case


# --------------------------------------------------------------------------- what has to hold


class Properties:
    """The properties by name; each says of a case whether it holds."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._last = ("", "")
        self.all: dict[str, Callable[[Case], bool]] = {
            "findings are sorted and inside": self._inside,
            "the same when asked again": self._again,
            "restored as it was": self._restored,
            "nothing planted is left": self._gone,
            "cut into parts": self._cut,
            "in time": self._in_time,
        }

    def _inside(self, case: Case) -> bool:
        return well_formed(self._guard.scan(case.text), case.text)

    def _again(self, case: Case) -> bool:
        return self._guard.scan(case.text) == self._guard.scan(case.text)

    def _restored(self, case: Case) -> bool:
        once, twice = self._redacted(case.text), self._guard.redact(case.text).text
        return once == twice and self._guard.restore(once, urls=True) == case.text

    def _gone(self, case: Case) -> bool:
        left = self._redacted(case.text)
        return not any(planted in left for planted in case.planted)

    def _redacted(self, text: str) -> str:
        if self._last[0] != text:
            self._last = text, self._guard.redact(text).text
        return self._last[1]

    def _cut(self, case: Case) -> bool:
        dice = random.Random(len(case.text))
        at = sorted(dice.randint(0, len(case.text)) for _ in range(dice.randint(1, 5)))
        pieces = [case.text[low:high] for low, high in pairwise([0, *at, len(case.text)])]
        found = self._guard.scanner.scan([TextPart(piece, f"/{i}") for i, piece in enumerate(pieces)])
        return all(well_formed(f, piece) for f, piece in zip(found, pieces, strict=True))

    def _in_time(self, case: Case) -> bool:
        begun = perf_counter()
        self._guard.scan(case.text)
        return perf_counter() - begun <= PATIENCE[0] + PATIENCE[1] * len(case.text)


def well_formed(found: Sequence[Finding], text: str) -> bool:
    """Whether findings are sorted, lie inside a text, and do not overlap."""
    inside = all(0 <= f.start < f.end <= len(text) and 0 <= f.confidence <= 1 for f in found)
    return inside and all(a.end <= b.start for a, b in pairwise(found))


# --------------------------------------------------------------------------- what is tried


class Corpus:
    """Texts of many kinds, and what can happen to them."""

    @cached_property
    def _known(self) -> list[str]:
        return [e.replace("«", "").replace("»", "") for d in catalogue.load() for e in (*d.match, *d.no_match)]

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))

    def case(self, number: int, dice: random.Random) -> Case:
        makers = {
            "prose": self._prose,
            "code": self._code,
            "examples": self._examples,
            "unicode": self._unicode,
            "json": self._json,
            "pieces": self._pieces,
        }
        kind = dice.choice(("planted", "planted", *makers))
        if kind == "planted":
            return Case(number, kind, *self._planted(dice))
        text = makers[kind](dice)
        for _ in range(dice.randint(0, 6)):
            text = _mutated(text, dice)
        return Case(number, kind, text[:LONGEST])

    def _prose(self, dice: random.Random) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(1, 200)))

    def _code(self, dice: random.Random) -> str:
        text = dice.choice(self._files).read_text(encoding="utf-8", errors="replace")
        at = dice.randrange(max(1, len(text)))
        return text[at : at + dice.randint(1, 4000)]

    def _examples(self, dice: random.Random) -> str:
        return fill(dice.choice(self._known), dice.randrange(1000))

    def _value(self, dice: random.Random) -> str:
        return fill(dice.choice(VALUES), dice.randrange(10**6))

    def _planted(self, dice: random.Random) -> tuple[str, tuple[str, ...]]:
        """Values with blanks around them, in text of which no part reads on into them."""
        planted = tuple(DISGUISES[dice.choice(list(DISGUISES))](self._value(dice)) for _ in range(dice.randint(1, 4)))
        text = "\n\n".join(f"{self._prose(dice)} \n {p} \n {self._prose(dice)}" for p in planted)
        return text, planted

    def _unicode(self, dice: random.Random) -> str:
        def one() -> str:
            code = dice.choice((dice.randrange(0x80), dice.randrange(0x3000), dice.randrange(0x110000)))
            return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"

        return "".join(one() for _ in range(dice.randint(0, 400)))

    def _json(self, dice: random.Random) -> str:
        body = {"messages": [{"role": "user", "content": self._pieces(dice)} for _ in range(dice.randint(1, 4))]}
        return json.dumps({"x": json.dumps(body)} if dice.random() < 0.5 else body, ensure_ascii=dice.random() < 0.5)

    def _pieces(self, dice: random.Random) -> str:
        makers = (self._prose, self._examples, self._value, self._unicode)
        text = ""
        for _ in range(dice.randint(1, 5)):
            piece = dice.choice(makers)(dice)[:500]
            for _ in range(dice.randint(0, 3)):
                piece = DISGUISES[dice.choice(list(DISGUISES))](piece) if len(piece) < 2000 else piece
            text += piece + dice.choice(("", " ", "\n", ","))
        return text


def _mutated(text: str, dice: random.Random) -> str:
    low, high = sorted((dice.randint(0, len(text)), dice.randint(0, len(text))))
    match dice.randrange(6):
        case 0:
            return text[:low] + text[high:]
        case 1:
            return text[:high] + text[low:]
        case 2:
            return text[:low] + "".join(dice.choices(CHARACTERS, k=dice.randint(1, 8))) + text[low:]
        case 3:
            piece = dice.choice((text[low : low + 3], *RUNS))
            return text[:low] + piece * dice.randint(1, LONGEST // max(1, len(piece))) + text[low:]
        case 4:
            return text[:low] + dice.choice(list(DISGUISES.values()))(text[low:high][:1000]) + text[high:]
        case _:
            return text[high:] + text[:low]
