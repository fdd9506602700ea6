from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmguard.detection.resolve import MIN_PIECE, Candidate, Rank, resolve
from llmguard.model import Finding


def _candidate(start: int, end: int, rank: Rank, order: int = 0, kind: str = "X") -> Candidate:
    return Candidate(Finding(start, end, kind, "pii", 0.5, f"d{order}"), rank, order)


def _spans(*items: Candidate) -> list[tuple[int, int, str]]:
    return [(f.start, f.end, f.type) for f in resolve(items)]


candidates = st.lists(
    st.builds(
        lambda start, length, rank, order: _candidate(start, start + length, rank, order, "XYZ"[order % 3]),
        st.integers(0, 60),
        st.integers(1, 20),
        st.sampled_from(Rank),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(candidates)
def test_findings_never_overlap_and_are_sorted(items: list[Candidate]) -> None:
    for left, right in pairwise(resolve(items)):
        assert left.end <= right.start


@given(candidates)
def test_every_character_that_was_believed_stays_covered_and_no_other(items: list[Candidate]) -> None:
    believed = {i for c in items for i in range(c.finding.start, c.finding.end)}
    assert {i for f in resolve(items) for i in range(f.start, f.end)} == believed


@given(candidates, st.randoms())
def test_the_result_does_not_depend_on_the_order_of_arrival(items: list[Candidate], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(items) == resolve(shuffled)


@given(candidates)
def test_what_overlaps_nothing_of_its_rank_or_above_keeps_its_whole_span(items: list[Candidate]) -> None:
    kept = resolve(items)
    for c in items:
        rivals = [d.finding for d in items if d is not c and d.rank >= c.rank]
        if not any(r.start < c.finding.end and c.finding.start < r.end for r in rivals):
            assert any(f.start <= c.finding.start and c.finding.end <= f.end for f in kept)


def test_validated_beats_longer_match_whose_rest_remains() -> None:
    longer, proved = _candidate(0, 20, Rank.MATCHED, kind="Y"), _candidate(5, 9, Rank.VALIDATED)
    assert _spans(longer, proved) == [(0, 5, "Y"), (5, 9, "X"), (9, 20, "Y")]


def test_short_rest_joins_the_winner() -> None:
    longer, proved = _candidate(4, 10, Rank.MATCHED, kind="Y"), _candidate(5, 9, Rank.VALIDATED)
    assert _spans(longer, proved) == [(4, 10, "X")]


def test_rest_of_the_same_type_joins_the_winner() -> None:
    longer, proved = _candidate(0, 9 + MIN_PIECE, Rank.MATCHED), _candidate(5, 9, Rank.VALIDATED)
    assert _spans(longer, proved) == [(0, 9 + MIN_PIECE, "X")]


def test_rest_between_two_winners_joins_the_one_of_its_type() -> None:
    left, right = _candidate(0, 5, Rank.VALIDATED), _candidate(7, 12, Rank.VALIDATED, 1, "Y")
    assert _spans(left, right, _candidate(3, 9, Rank.MATCHED, 2, "Y")) == [(0, 5, "X"), (5, 12, "Y")]


def test_longer_beats_shorter_of_the_same_rank() -> None:
    (kept,) = resolve([_candidate(5, 9, Rank.MATCHED), _candidate(4, 9, Rank.MATCHED)])
    assert kept.start == 4


def test_equal_spans_go_to_the_earlier_detector() -> None:
    (kept,) = resolve([_candidate(0, 9, Rank.MATCHED, 3), _candidate(0, 9, Rank.MATCHED, 1)])
    assert kept.detector == "d1"
