from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Counts, count, f2

ROOT = Path(__file__).parent.parent.parent


def _counts(text: str, spans: list[list[object]] | None, label: str, found: list[tuple[int, int]]) -> Counts:
    counts = Counts()
    count(counts, text, spans, label, found)
    return counts


def test_only_letters_and_digits_count() -> None:
    counts = _counts("a@b.io now", [[0, 6, "EMAIL"]], "pos", [(0, 6)])
    assert (counts.right, counts.wrong, counts.missed, counts.leaking) == (4, 0, 0, 0)


def test_one_character_left_is_a_leak() -> None:
    counts = _counts("jane now", [[0, 4, "PERSON"]], "pos", [(0, 3)])
    assert (counts.holding, counts.leaking, counts.missed) == (1, 1, 1)


def test_bare_places_are_neither_demanded_nor_wrong() -> None:
    assert _counts("in Rome", [[3, 7, "GPE"]], "pos", []) == Counts()
    assert _counts("in Rome", [[3, 7, "GPE"]], "pos", [(3, 7)]) == Counts()


def test_what_is_masked_in_a_clean_document_is_wrong_and_touches_it() -> None:
    counts = _counts("plain text", [], "clean", [(0, 5)])
    assert (counts.wrong, counts.clean, counts.touched, counts.holding) == (5, 1, 1, 0)


def test_a_document_without_places_counts_as_found_if_anything_is() -> None:
    assert (_counts("key abc", None, "pos", [(4, 7)]).flagged, _counts("key abc", None, "pos", []).flagged) == (1, 0)


def test_a_span_is_whole_if_nothing_of_it_is_left() -> None:
    spans: list[list[object]] = [[0, 4, "KEY"], [5, 9, "KEY"]]
    counts = _counts("abcd efgh", spans, "pos", [(0, 4), (5, 8)])
    assert (counts.spans, counts.whole) == (2, 1)


def test_f2_counts_recall_more_than_precision() -> None:
    assert f2(1.0, 1.0) == 1.0
    assert f2(0.5, 1.0) > f2(1.0, 0.5)
    assert f2(0.0, 0.0) == 0.0


def test_rules_are_measured_on_files_of_ones_own(tmp_path: Path) -> None:
    document = {"id": "1", "text": "mail a@example.org", "spans": [[5, 18, "EMAIL"]], "label": "pos"}
    (tmp_path / "own.jsonl").write_text(json.dumps(document) + "\n")
    (row,) = accuracy.run(Namespace(data=tmp_path, engines=["rules"]))
    assert (row["file"], row["recall"], row["leak %"]) == ("own", 1.0, 0.0)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no"):
        accuracy.run(Namespace(data=tmp_path, engines=["rules"]))


def test_accuracy_without_data_is_a_wrong_call_with_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "accuracy"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "--data FOLDER" in done.stderr
