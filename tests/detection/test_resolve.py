from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmguard.detection.resolve import Candidate, Rank, resolve
from llmguard.model import Finding


def _candidate(start: int, end: int, rank: Rank, order: int = 0) -> Candidate:
    return Candidate(Finding(start, end, "X", "pii", 0.5, f"d{order}"), rank, order)


candidates = st.lists(
    st.builds(
        lambda start, length, rank, order: _candidate(start, start + length, rank, order),
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


@given(candidates, st.randoms())
def test_the_result_does_not_depend_on_the_order_of_arrival(items: list[Candidate], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(items) == resolve(shuffled)


@given(candidates)
def test_a_dropped_candidate_always_lost_to_one_that_precedes_it(items: list[Candidate]) -> None:
    kept = resolve(items)
    for c in items:
        rivals = [k for k in kept if k.start < c.finding.end and c.finding.start < k.end]
        assert rivals


def test_validated_beats_longer_match() -> None:
    (kept,) = resolve([_candidate(0, 20, Rank.MATCHED), _candidate(5, 9, Rank.VALIDATED)])
    assert (kept.start, kept.end) == (5, 9)


def test_longer_beats_shorter_of_the_same_rank() -> None:
    (kept,) = resolve([_candidate(5, 9, Rank.MATCHED), _candidate(4, 9, Rank.MATCHED)])
    assert kept.start == 4


def test_equal_spans_go_to_the_earlier_detector() -> None:
    (kept,) = resolve([_candidate(0, 9, Rank.MATCHED, 3), _candidate(0, 9, Rank.MATCHED, 1)])
    assert kept.detector == "d1"
