from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.detection.examples import check
from llmguard.errors import ConfigError
from llmguard.model import Detector
from llmguard.validators import VALIDATORS

DOCS = Path(__file__).parent.parent / "docs" / "catalogue.md"
ENTRY = """
[[detector]]
id = "internal.project.code"
type = "PROJECT"
category = "internal"
severity = "low"
confidence = 0.8
pattern = '''\\bPRJ-\\d{4}\\b'''
source = "own"
match = ["see «PRJ-{digits:4}»"]
"""


def _file(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(content)
    return path


def test_every_example_of_the_catalogue_runs_with_exact_spans() -> None:
    assert check(catalogue.load()) == []


def test_every_detector_has_both_kinds_of_examples() -> None:
    for detector in catalogue.load():
        assert detector.match, detector.id
        assert detector.no_match, detector.id


def _page() -> str:
    """docs/catalogue.md: every detector by what it belongs to."""
    detectors = catalogue.load()
    lines = [
        "# Catalogue",
        "",
        f"All {len(detectors)} detectors that ship with llmguard, made from `detectors/*.toml`. What the columns mean,",
        "and how a company adds its own: [detectors](detectors.md). `llmguard catalogue show ID` tells pattern,",
        "context words and examples.",
    ]
    families: dict[str, list[Detector]] = {}
    for detector in detectors:
        families.setdefault(".".join(detector.id.split(".")[:2]), []).append(detector)
    for family, members in sorted(families.items()):
        lines += [
            "",
            f"## {family}",
            "",
            "| id | type | severity | confidence | context | validator | source |",
            "|---|---|---|---:|---|---|---|",
        ]
        for d in sorted(members, key=lambda d: d.id):
            context = "needed" if d.needs_context else "raises" if d.context else "–"
            source = d.source.replace("|", "\\|")
            cells = (f"`{d.id}`", f"`{d.type}`", d.severity, d.confidence, context, d.validator or "–", source)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def test_every_detector_and_type_is_documented() -> None:
    """``UPDATE_DOCS=1 pytest tests/test_catalogue.py`` writes the page anew."""
    if os.environ.get("UPDATE_DOCS"):
        DOCS.write_text(_page(), encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == _page()


def test_every_validator_serves_a_detector() -> None:
    assert {d.validator for d in catalogue.load()} - {None} == set(VALIDATORS)


def test_an_extra_file_adds_detectors(tmp_path: Path) -> None:
    detectors = catalogue.load([_file(tmp_path, ENTRY)])
    assert detectors[-1].id == "internal.project.code"
    assert check(detectors) == []


def test_check_names_the_rule_that_misses_its_example(tmp_path: Path) -> None:
    wrong = ENTRY.replace("see «PRJ", "see PRJ«-").replace("source", 'no_match = ["PRJ-1234"]\nsource')
    problems = check(catalogue.load([_file(tmp_path, wrong)]))
    assert any("match 'see" in p for p in problems)
    assert any("no_match 'PRJ-1234'" in p for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('source = "own"', 'source = "own"\ncolour = "red"', "unknown key 'colour'"),
        ('source = "own"', "", "'source' is missing"),
        ('severity = "low"', 'severity = "huge"', "severity is one of"),
        ('category = "internal"', 'category = "x"', "category is one of"),
        ('source = "own"', 'source = "own"\nvalidator = "magic"', "unknown validator 'magic'"),
        ("\\bPRJ-\\d{4}\\b", "(?<!x)PRJ", "RE2 rejects"),
        ("\\bPRJ-\\d{4}\\b", "(PRJ)?", "matches nothing at all"),
        ('source = "own"', 'source = "own"\nanchor = "(?=x)y"', "Hyperscan rejects the anchor"),
        ('type = "PROJECT"', 'type = "Project-1"', "types are"),
        ("internal.project.code", "pii.contact.email", "exists already"),
        ("confidence = 0.8", "confidence = 2", "confidence is"),
        ("confidence = 0.8", 'confidence = "high"', "wrong kind"),
        ("«PRJ-{digits:4}»", "PRJ-{digits:4}", "marks its span"),
        ('source = "own"', 'source = "own"\nneeds_context = true', "needs_context"),
        ('source = "own"', 'source = "own"\nreach = [1, 99999]', "reach"),
        ("[[detector]]", "[[detectors]]", "unknown key 'detectors'"),
        ("[[detector]]", "[[detector", "not TOML"),
    ],
)
def test_a_wrong_entry_is_refused_by_file_and_reason(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = _file(tmp_path, ENTRY.replace(old, new))
    with pytest.raises(ConfigError, match=r"own\.toml") as e:
        catalogue.load([path])
    assert says in e.value.message


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        catalogue.load([tmp_path / "absent.toml"])


def test_spans_are_cut_out_of_examples() -> None:
    assert catalogue.spans("a «bc» d«e»") == ("a bc de", ((2, 4), (6, 7)))


@given(st.integers(), st.integers(1, 64))
def test_a_template_is_filled_the_same_way_from_the_same_seed(seed: int, length: int) -> None:
    template = f"x {{hex:{length}}} {{alnum:{length}}} {{other}}"
    filled = catalogue.fill(template, seed)
    assert filled == catalogue.fill(template, seed)
    assert len(filled) == len("x   {other}") + 2 * length


def test_open_repeats_are_unbounded_or_short() -> None:
    """RE2 leaves its fast path when a pattern with large counted repeats outgrows its memory: 250 ms for 700 bytes."""
    for detector in catalogue.load():
        assert not re.search(r"\{[1-9]\d+,\d{3,}\}", detector.pattern), detector.id
