"""Build: the detectors that are made from other packages' expressions, as ``detectors/from_*.toml``.

Owns: what ``sources.toml`` decides of each recognizer and plugin, and the text of the tables. Never does: importing
those packages here (a child process reads them), or writing a value that could be a secret. Invariants: the same
versions and decisions give the same bytes; a source that nobody decided about stops the build.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any

from llmguard.catalogue.convert import Converted, converted
from llmguard.catalogue.drawn import template
from llmguard.catalogue.expressions import NotConvertible, width
from llmguard.catalogue.patterns import Pattern
from llmguard.catalogue.templates import fill
from llmguard.errors import ConfigError
from llmguard.model import Detector
from llmguard.validators import VALIDATORS

TABLES: Mapping[str, str] = {
    "presidio-analyzer": "from_presidio.toml",
    "detect-secrets": "from_detect_secrets.toml",
}
"""Package → file of the catalogue."""
_LICENCES = {
    "presidio-analyzer": "MIT licence, copyright (c) Microsoft Corporation",
    "detect-secrets": "Apache-2.0, copyright Yelp Inc.",
}
_TIMEOUT = 60.0
_MAX_BEFORE = 512
"""Bytes before an anchor's end, for what has no end of its own."""
_SEEDS = (1, 2, 3)
_ORDER = [f.name for f in fields(Detector)]


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one recognizer or plugin, as ``sources.toml`` has it. One of the first three is set, or ``ours``
    beside ``table``.

    ``alone`` names the expressions that are believed without a context word (``*`` for all), ``but`` those that are
    left out, each with a reason, though the rest is not, ``parts`` those of another table. ``least``
    is the share that has to be found, ``why`` what the rest is. ``group`` is the number of the group that is the value.
    """

    name: str
    ours: tuple[str, ...] = ()
    table: str = ""
    excluded: str = ""
    alone: tuple[str, ...] = ()
    but: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    group: int = 0
    least: float = 1.0
    why: str = ""

    @property
    def tables(self) -> frozenset[str]:
        """The tables that expressions of it go into."""
        return frozenset((self.table, *self.parts.values()))

    def table_of(self, expression: str) -> str:
        """The table that an expression goes into, or nothing."""
        return "" if expression in self.but else self.parts.get(expression, self.table)


@dataclass(frozen=True, slots=True)
class Decisions:
    """All of ``sources.toml``: context words too common to be one, decisions by package and name, and the tables."""

    generic: frozenset[str]
    sources: Mapping[str, Mapping[str, Decision]]
    tables: Mapping[str, Mapping[str, Any]]


def decisions() -> Decisions:
    """Raises: ConfigError for an entry that is not understood."""
    document = tomllib.loads(files("llmguard.catalogue").joinpath("sources.toml").read_text(encoding="utf-8"))
    known = {f.name for f in fields(Decision)} - {"name"}
    sources: dict[str, dict[str, Decision]] = {}
    for package in TABLES:
        sources[package] = {}
        for name, entry in document[package].items():
            if set(entry) - known or not any(k in entry for k in ("ours", "table", "excluded")):
                raise ConfigError(f"sources.toml: {name}: ours, table or excluded, beside {sorted(known)}")
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
            sources[package][name] = Decision(name, **values)
    return Decisions(frozenset(document["generic"]), sources, document["tables"])


def extract() -> Mapping[str, Any]:
    """What ``peers`` reads of the installed packages, in a process that may break its modules. Raises: ConfigError."""
    done = subprocess.run(
        [sys.executable, "-m", "llmguard.catalogue.peers"], capture_output=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode:
        raise ConfigError("the tables are built where presidio-analyzer and detect-secrets are installed")
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def built(found: Mapping[str, Any], decided: Decisions) -> dict[str, str]:
    """File name → its content. Raises: ConfigError, naming the source that nobody decided about, or that is gone."""
    made = {}
    for package, name in TABLES.items():
        sources = {s["name"]: s for s in found["sources"][package]}
        for missing in sorted(set(sources) ^ set(decided.sources[package])):
            gone = missing not in sources
            raise ConfigError(f"sources.toml: {missing} of {package} is {'gone' if gone else 'not decided about'}")
        made[name] = _file(package, found["versions"][package], sources, decided)
    return made


def committed() -> dict[str, str]:
    """The tables as they ship."""
    folder = files("llmguard.detectors")
    return {n: p.read_text(encoding="utf-8") for n in TABLES.values() if (p := folder.joinpath(n)).is_file()}


def made_from() -> dict[str, str]:
    """Package → the version that its committed table was made from."""
    heads = {package: _HEAD.search(committed().get(name, "")) for package, name in TABLES.items()}
    return {package: m[1] for package, m in heads.items() if m}


_HEAD = re.compile(r"^# Made by .* from \S+ (\S+) \(", re.MULTILINE)


def _file(package: str, version: str, sources: Mapping[str, Any], decided: Decisions) -> str:
    head = (
        f"# Made by `llmguard catalogue build` from {package} {version} ({_LICENCES[package]}; see NOTICE).\n"
        "# Do not edit: what becomes of each source is decided in llmguard/catalogue/sources.toml.\n"
    )
    blocks = []
    for name, table in decided.tables.items():
        members = sorted(
            ((sources[d.name], d) for d in decided.sources[package].values() if name in d.tables), key=_name
        )
        if members:
            made = _detector(name, table, members, decided.generic)
            blocks.append(_written({**made, "source": f"{package} {version}: {', '.join(d.name for _, d in members)}"}))
    return "\n".join((head, *blocks))


def _name(member: tuple[Mapping[str, Any], Decision]) -> str:
    return member[1].name


@dataclass(frozen=True, slots=True)
class _Member:
    """One expression of a table: what it became, a template that it matches, and its greatest length."""

    converted: Converted
    example: str
    length: int


Members = Sequence[tuple[Mapping[str, Any], Decision]]


def _detector(name: str, table: Mapping[str, Any], members: Members, generic: frozenset[str]) -> dict[str, Any]:
    """The keys of one detector that looks for everything that its members do."""
    expressions = [_member(e, d) for s, d in members for e in s["expressions"] if d.table_of(e["name"]) == name]
    words = sorted({w.strip().lower() for s, _ in members for w in s["context"]} - generic)
    made: dict[str, Any] = {k: v for k, v in table.items() if k in _ORDER}
    made["pattern"] = _union([e.converted for e in expressions])
    made["reach"] = [min(_MAX_BEFORE, 16 + max(e.length for e in expressions)), 8]
    if table.get("needs_context"):
        made["context"] = sorted({*words, *table.get("words", ())})
    else:
        made["anchor"] = "|".join(sorted({f"(?{'i' * e.converted.caseless}:{e.converted.core})" for e in expressions}))
    word = f"{table['example']}: " if "example" in table else ""
    texts = _matching(made, [e.example for e in expressions if _unmarked(e.example) not in table.get("skip", ())])
    made["match"] = [word + t for t in texts]
    made["no_match"] = [_unmarked(t) for t in texts] if word else [_cut(t) for t in texts]
    return made


def _member(expression: Mapping[str, Any], decision: Decision) -> _Member:
    try:
        made = converted(expression["regex"], expression["flags"], decision.group)
        text = template(expression["regex"], expression["flags"], decision.group)
    except NotConvertible as e:
        raise ConfigError(f"sources.toml: {decision.name}: {expression['name']}: {e}") from None
    return _Member(made, text, width(expression["regex"], expression["flags"]))


def _union(every: Sequence[Converted]) -> str:
    """One expression for all: those with the same surroundings share them, the longer values are tried first."""
    shared: dict[tuple[str, str, bool], list[str]] = {}
    for one in sorted(every, key=lambda c: (-len(c.value), c.value)):
        values = shared.setdefault((one.before, one.after, one.caseless), [])
        if one.value not in values:
            values.append(one.value)
    branches = []
    for number, ((before, after, caseless), values) in enumerate(shared.items(), 1):
        flag = "i" if caseless else ""
        group = f"(?P<value{number if len(shared) > 1 else ''}>{'|'.join(values)})"
        branches.append(f"(?{flag}:{before}{group}{after})" if flag or len(shared) > 1 else f"{before}{group}{after}")
    return "|".join(branches)


def _matching(made: Mapping[str, Any], templates: Sequence[str]) -> list[str]:
    """The templates that match whatever is drawn for them: a check digit lets few of them through."""
    pattern, check = Pattern(made["pattern"]), VALIDATORS.get(made.get("validator", ""), lambda _: None)
    kept = [t for t in dict.fromkeys(templates) if all(_matches(pattern, check, fill(t, seed)) for seed in _SEEDS)]
    if not kept:
        raise ConfigError(f"sources.toml: {made['id']}: no example of it passes {made.get('validator', 'its pattern')}")
    return kept


def _matches(pattern: Pattern, check: Any, marked: str) -> bool:
    before, value, after = re.split("[«»]", marked)
    data = f"x: {before}{value}{after} ".encode()
    spans = pattern.search(data, 0, len(data))
    found = next((spans[g] for g in pattern.values if spans[g][0] >= 0), None)
    return found == (at := len(f"x: {before}".encode()), at + len(value.encode())) and check(value) is not False


def _unmarked(text: str) -> str:
    return re.sub("[«»]", "", text)


def _cut(text: str) -> str:
    """The example with a value of one character: too short for its pattern."""
    before, _, after = re.split("[«»]", text)
    return f"{before}x{after}"


# --------------------------------------------------------------------------- text


def _written(detector: Mapping[str, Any]) -> str:
    keys = sorted(detector, key=lambda k: (k in ("match", "no_match"), _ORDER.index(k)))
    return "[[detector]]\n" + "".join(f"{k} = {_toml(k, detector[k])}\n" for k in keys)


def _toml(key: str, value: Any) -> str:
    if key in ("pattern", "anchor"):
        return f"'''{value}'''"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if all(isinstance(v, int) for v in value):
        return json.dumps(value)
    return "[\n" + "".join(f"  {json.dumps(v, ensure_ascii=False)},\n" for v in value) + "]"


def stale(found: Mapping[str, Any], decided: Decisions) -> Iterator[str]:
    """The names of tables that are not what would be built now."""
    ours = committed()
    for name, content in built(found, decided).items():
        if ours.get(name) != content:
            yield name
