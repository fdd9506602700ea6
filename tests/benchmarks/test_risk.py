"""The risk benchmark: its rubric judges by labels alone, its measures are right, its own documents are labelled."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import discrimination as d
from benchmarks import risk
from benchmarks.plot import bars
from benchmarks.risk_texts import TEMPLATES, documents
from benchmarks.rubric import LEVELS, kind_of, kinds, serious

JUDGED = [(0.9, True), (0.8, False), (0.7, True), (0.2, False)]


def spans(text: str, **labels: str) -> list[tuple[int, int, str]]:
    return [(text.index(value), text.index(value) + len(value), label) for label, value in labels.items()]


@pytest.mark.parametrize(
    ("label", "level"),
    [
        ("SECRET", "critical"),
        ("CREDIT_CARD", "high"),
        ("UNIT_IBAN", "high"),
        ("UNIT_SE_PERSONNUMMER", "high"),
        ("UNIT_US_MBI", "high"),
        ("EMAIL_ADDRESS", "medium"),
        ("STREET_ADDRESS", "medium"),
        ("person", "low"),
        ("GPE", "low"),
        ("UNIT_SE_ORGANISATIONSNUMMER", "none"),
        ("DATE_TIME", "none"),
        ("PII_UNIT", ""),
    ],
)
def test_labels_have_the_level_of_the_rubric(label: str, level: str) -> None:
    assert kind_of(label).level == level


def test_a_label_that_the_rubric_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="no kind for the label 'XYZ'"):
        kind_of("XYZ")


def test_every_level_is_one_and_every_kind_says_why() -> None:
    assert {k.level for k in kinds()} <= {"", *LEVELS}
    assert all(k.why and k.source for k in kinds())


def test_a_number_or_a_secret_is_serious_and_a_name_is_not() -> None:
    text = "Ann pays 4111"
    assert serious(text, spans(text, PERSON="Ann", CREDIT_CARD="4111")) is True
    assert serious(text, spans(text, PERSON="Ann")) is False
    assert serious(text, []) is False


def test_a_name_with_two_kinds_of_contact_is_serious() -> None:
    text = "Ann a@b.io 5551"
    assert serious(text, spans(text, PERSON="Ann", EMAIL="a@b.io")) is False
    assert serious(text, spans(text, PERSON="Ann", EMAIL="a@b.io", PHONE="5551")) is True


def test_ten_people_are_serious_and_one_ten_times_is_not() -> None:
    people = " ".join(f"name{i}" for i in range(10))
    assert serious(people, [(6 * i, 6 * i + 5, "PERSON") for i in range(10)]) is True
    assert serious("name0 " * 10, [(6 * i, 6 * i + 5, "PERSON") for i in range(10)]) is False


def test_what_nobody_typed_or_located_is_not_judged() -> None:
    assert serious("something", [(0, 4, "PII_UNIT")]) is None
    assert serious("something", None) is None


def test_areas_are_those_of_the_textbook() -> None:
    assert d.auc(JUDGED) == 0.75
    assert d.average_precision(JUDGED) == pytest.approx((1 + 2 / 3) / 2)
    assert d.auc([(0.5, True), (0.5, False)]) == 0.5
    assert d.auc([(0.5, True)]) is None
    assert d.roc(JUDGED) == [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]


def test_calibration_is_the_distance_between_said_and_so() -> None:
    assert d.brier([(1.0, True), (0.0, False)]) == 0.0
    assert d.calibration_error([(0.95, True), (0.05, False)]) == pytest.approx(0.05)
    assert d.reliability([(0.1, False), (0.3, True), (0.4, False)], [0.2]) == [(0.1, 0.0, 1), (0.35, 0.5, 2)]


def test_ranks_correlate() -> None:
    assert d.spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert d.spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert d.spearman([1, 1, 1], [1, 2, 3]) == 1.0


def test_intervals_draw_whole_groups_and_repeat() -> None:
    judged, groups = JUDGED * 5, [str(i % 7) for i in range(20)]
    low, high = d.interval(judged, groups, d.auc) or (1.0, 0.0)
    assert low <= (d.auc(judged) or 0.0) <= high
    assert d.interval(judged, groups, d.auc) == (low, high)


def test_documents_of_our_own_are_labelled_where_the_value_stands() -> None:
    made = list(documents(3, seed=1))
    assert len(made) == 3 * len(TEMPLATES)
    assert {serious(text, marked) for _, text, marked in made} == {True, False}
    mails = [text[start:end] for _, text, marked in made for start, end, label in marked if label == "EMAIL"]
    assert mails
    assert all("@" in mail for mail in mails)
    assert made == list(documents(3, seed=1))


def test_bars_stand_on_both_sides_of_zero() -> None:
    root = ET.fromstring(bars("t", {"a & b": [0.5, -0.25], "c": [None, 0.0]}, ("one", "two"), "x"))
    drawn = [r for r in root.iter() if r.tag.endswith("rect")][1:]
    assert float(drawn[0].get("width", "0")) == 2 * float(drawn[1].get("width", "0"))
    assert len(drawn) == 3


def test_risk_is_measured_on_files_of_ones_own(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "text": "mail ann.lee@example.org today", "spans": [[5, 24, "EMAIL"]], "label": "pos"},
        {"id": "2", "text": "card 4111 1111 1111 1111 expires", "spans": [[5, 24, "CREDIT_CARD"]], "label": "pos"},
        {"id": "3", "text": "nothing here", "spans": [], "label": "clean"},
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    tables = risk.run(Namespace(data=tmp_path, seconds=0.01, plot=tmp_path))
    [first] = [r for r in tables[next(iter(tables))] if r["figure"] == "risk"]
    assert (first["documents"], first["serious"], first["AUC"]) == (3, 1, 1.0)
    for name in ("reliability", "roc", "weights"):
        ET.parse(tmp_path / f"risk-{name}.svg")
