"""Fuzz: cases are repeatable, what does not hold is told and made short, and a short run finds nothing."""

from __future__ import annotations

import random
from argparse import Namespace
from dataclasses import replace

import pytest

from benchmarks import fuzz
from llmguard.model import Finding


def test_a_case_depends_on_seed_and_number_alone() -> None:
    one, same = (fuzz.Corpus().case(5, random.Random("1:5")) for _ in range(2))
    assert one == same
    assert one.text not in repr(one)


def test_a_short_run_breaks_nothing() -> None:
    rows = fuzz.run(Namespace(minutes=0.03, seed=3, number=None, facts={}))
    assert {row["broken"] for row in rows} == {0}
    assert len({row["checked"] for row in rows}) == 1


def test_a_failing_case_is_told_with_the_shortest_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: fuzz.Properties, case: fuzz.Case) -> bool:
        if "é" in case.text:
            raise ZeroDivisionError
        return True

    def planted(self: fuzz.Corpus, number: int, dice: random.Random) -> fuzz.Case:
        return fuzz.Case(number, "prose", "words " * 40 + "é" + " words" * 40)

    monkeypatch.setattr(fuzz.Properties, "_inside", broken)
    monkeypatch.setattr(fuzz.Corpus, "case", planted)
    with pytest.raises(fuzz.Broken, match="--number 12") as e:
        fuzz.run(Namespace(minutes=0.01, seed=3, number=12, facts={}))
    assert sum(row["broken"] for row in e.value.rows) == 1
    told = capsys.readouterr().out
    assert "--seed 3 --number 12" in " ".join(told.split())
    assert "shortest: '\\xe9'" in " ".join(told.split())


def test_overlapping_and_foreign_findings_are_not_well_formed() -> None:
    finding = Finding(0, 2, "EMAIL", "pii", 0.9, "x")
    assert fuzz.well_formed([finding, replace(finding, start=2, end=4)], "abcd")
    assert not fuzz.well_formed([finding, replace(finding, start=1, end=4)], "abcd")
    assert not fuzz.well_formed([replace(finding, end=5)], "abcd")
