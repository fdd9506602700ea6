"""Three sources, one table: what Presidio and detect-secrets find alone is found through us, but for named exclusions.

The peers run for real in a process of their own (``tests/peers.py``), on seeded values of each of their expressions.
``LLMGUARD_DIFFERENTIAL=40 pytest -s tests/test_extraction.py`` draws that many of each, and prints the table of shares.
"""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmguard import catalogue
from llmguard.catalogue import build, convert, drawn, expressions
from llmguard.catalogue.patterns import Pattern
from llmguard.detection import Engine
from llmguard.model import TextPart

ROOT = Path(__file__).parents[1]
COUNT = int(os.environ.get("LLMGUARD_DIFFERENTIAL", "2"))
DECIDED = build.decisions()
BY_NAME = {name: d for sources in DECIDED.sources.values() for name, d in sources.items()}


@pytest.fixture(scope="module")
def extract() -> Mapping[str, Any]:
    return build.extract()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.peers", "7", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100 + 30 * COUNT)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


class Peer(NamedTuple):
    """One finding of a peer, whether it may be missed and why, and whether we cover it."""

    source: str
    text: str
    excluded: str
    covered: bool


@functools.cache
def _engine() -> Engine:
    return Engine(catalogue.load())


@functools.cache
def _covered(text: str) -> frozenset[int]:
    """What our findings cover of a text."""
    return frozenset(i for f in _engine().scan([TextPart(text, "")])[0] for i in range(f.start, f.end))


def _covers(text: str, start: int, end: int) -> bool:
    covered = _covered(text)
    return all(i in covered or not text[i].isalnum() for i in range(start, end))


def compared(rows: list[dict[str, Any]]) -> Iterator[Peer]:
    for row in rows:
        for start, end, name, _, near in row["found"]:
            source, _, expression = name.partition("/")
            excluded = _excluded(source, expression, near)
            yield Peer(source, row["text"], excluded, _covers(row["text"], start, end))


def _excluded(source: str, expression: str, near: bool) -> str:
    decided = BY_NAME[source]
    if decided.excluded or expression in decided.but:
        return "left out"
    if not near and "*" not in decided.alone and expression not in decided.alone:
        return "without a word"
    return ""


def _tell(line: str) -> None:
    """Shown by ``pytest -s``."""
    sys.stdout.write(f"{line}\n")


def test_what_peers_find_alone_is_found_through_us(rows: list[dict[str, Any]]) -> None:
    findings = list(compared(rows))
    demanded = [f for f in findings if not f.excluded]
    total, found = Counter(f.source for f in demanded), Counter(f.source for f in demanded if f.covered)
    excluded = Counter(f.excluded for f in findings if f.excluded and not f.covered)
    missed = sum(excluded.values()) / len(findings)
    _tell(f"\n{len(findings)} findings of peers, {missed:.1%} of them not found by us because {dict(excluded)}")
    for source in sorted(total):
        _tell(f"{source:40} {found[source]}/{total[source]}")
    short = {s: f"{found[s]}/{n}" for s, n in total.items() if found[s] < int(BY_NAME[s].least * n)}
    assert short == {}, [f.text for f in demanded if f.source in short and not f.covered][:20]


def test_keys_as_their_vendors_give_them_are_all_found(rows: list[dict[str, Any]]) -> None:
    published = [row for row in rows if row["values"]]
    assert len({row["name"] for row in published}) == 12
    assert [r["name"] for r in published if not all(_covers(r["text"], *span) for span in r["values"])] == []


def test_every_source_is_tried(rows: list[dict[str, Any]], extract: Mapping[str, Any]) -> None:
    tried = {row["name"].partition("/")[0] for row in rows}
    with_expressions = {s["name"] for sources in extract["sources"].values() for s in sources if s["expressions"]}
    assert with_expressions == tried


def test_every_converted_expression_matches_what_the_original_does(extract: Mapping[str, Any]) -> None:
    """Of texts drawn from the original, with the same span; a look-ahead that draws blank is said by name."""
    import regex

    blank = []
    for sources in extract["sources"].values():
        for source in sources:
            for e in source["expressions"]:
                original = regex.compile(e["regex"], e["flags"])
                nodes, _ = expressions.parsed(e["regex"], e["flags"])
                ours, draw, tried = Pattern(convert.converted(e["regex"], e["flags"]).pattern), random.Random(3), 0
                for _ in range(40):
                    text = f"see {drawn.drawn(nodes, draw)} ok"
                    found = original.search(text)
                    if found is not None:
                        tried += 1
                        data, span = text.encode(), [len(text[:i].encode()) for i in found.span()]
                        assert list(ours.search(data, 0, len(data))[ours.values[0]]) == span, (
                            source["name"],
                            e["name"],
                        )
                if not tried:
                    blank.append(f"{source['name']}/{e['name']}")
    assert blank == ["InPanRecognizer/PAN (Low)"]


def test_the_committed_tables_are_what_would_be_built(extract: Mapping[str, Any]) -> None:
    """Where other versions are installed other tables would be built: a change that somebody has to look at."""
    if build.made_from() != extract["versions"]:
        pytest.skip(f"made from {build.made_from()}, installed are {extract['versions']}")
    assert build.built(extract, DECIDED) == build.committed()


def test_what_decisions_name_exists(extract: Mapping[str, Any]) -> None:
    ids = [d.id for d in catalogue.load()]
    for sources in extract["sources"].values():
        for source in sources:
            decided, names = BY_NAME[source["name"]], {e["name"] for e in source["expressions"]}
            assert {*decided.but, *decided.parts, *decided.alone} - {"*"} <= names, source["name"]
            assert decided.tables - {""} <= set(DECIDED.tables), source["name"]
            assert all(any(i.startswith(o) for i in ids) for o in decided.ours), (source["name"], decided.ours)


def test_a_source_that_nobody_decided_about_stops_the_build(extract: Mapping[str, Any]) -> None:
    from llmguard.errors import ConfigError

    known = dict(DECIDED.sources["detect-secrets"])
    known.pop("SlackDetector")
    fewer = build.Decisions(DECIDED.generic, {**DECIDED.sources, "detect-secrets": known}, DECIDED.tables)
    with pytest.raises(ConfigError, match="SlackDetector of detect-secrets is not decided about"):
        build.built(extract, fewer)


def test_neither_package_is_imported_at_run_time() -> None:
    code = (
        "import sys; from llmguard import catalogue, detection; catalogue.load();"
        "print([m for m in sys.modules if m.startswith(('presidio', 'detect_secrets', 'spacy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_what_is_left_out_is_measured_where_it_would_cost(extract: Mapping[str, Any]) -> None:
    """What an exclusion saves: the share of Python's own modules (their first 3,000 characters) that it would touch."""
    import regex

    modules = [p.read_text("utf-8")[:3000] for p in sorted(Path(os.__file__).parent.glob("*.py"))[::8]]
    wordless: set[int] = set()
    for source in (s for sources in extract["sources"].values() for s in sources):
        decided = BY_NAME[source["name"]]
        for e in source["expressions"]:
            excluded = _excluded(source["name"], e["name"], near=False)
            touched = {i for i, m in enumerate(modules) if excluded and regex.search(e["regex"], m, e["flags"])}
            if excluded == "without a word":
                wordless |= touched
            elif excluded:
                reason = decided.excluded or decided.but[e["name"]]
                assert reason
                _tell(f"{source['name']}/{e['name']}: touches {len(touched) / len(modules):.0%} of modules; {reason}")
    _tell(f"numbers without a word: touch {len(wordless) / len(modules):.0%} of modules")
    assert len(wordless) / len(modules) > 0.1
