"""The sum over all blocks is the same however the file was cut, whatever the order and the number of workers."""

from __future__ import annotations

import pickle
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.census import Census, Limits, Watch, report
from llmguard.model import Finding, TextPart
from llmguard.sifting import Problem
from tests.census.made import KEY, SMALL, Record, census, email, holding, key, person, plain, watched

_WORDS = st.sampled_from(["alpha", "beta gamma", "delta " * 30, "q7Zk2mXv9Lw4Tb8Rd1Nc6HsYp3Gf5JqA"])
_RECORDS = st.lists(
    st.one_of(
        st.builds(lambda text, n: (text, "", n), _WORDS, st.integers(0, 9)),
        st.builds(lambda value, kind: (value, kind, 0), st.sampled_from(["a@b.org", "Jane", "c@d.org", "Omar"]),
                  st.sampled_from(["EMAIL", "PERSON", "AI_KEY"])),
    ),
    max_size=60,
)  # fmt: skip


def numbered(drawn: list[tuple[str, str, int]]) -> list[Record]:
    return [holding(i, v, kind) if kind else plain(i, f"{v} {n}") for i, (v, kind, n) in enumerate(drawn)]


@settings(deadline=None)  # the tables of tokens are read once
@given(_RECORDS, st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False), st.integers(1, 3))
def test_cuts_order_and_workers_never_change_it(
    drawn: list[tuple[str, str, int]], cuts: list[int], rng: random.Random, workers: int
) -> None:
    records = numbered(drawn)
    whole = census(records, SMALL)
    whole.received = whole.leaving = 0
    edges = [0, *sorted(cuts), len(records)]
    blocks = [records[a:b] for a, b in pairwise(edges)]
    rng.shuffle(blocks)
    crew = [Watch(KEY, limits=SMALL) for _ in range(workers)]
    pieces = [pickle.loads(pickle.dumps(watched(crew[i % workers], block))) for i, block in enumerate(blocks)]
    rng.shuffle(pieces)
    total = Census(SMALL)
    for piece in pieces:
        total += piece
    total.received = total.leaving = 0
    assert total == whole
    assert report(total, name="x").to_json() == report(whole, name="x").to_json()


@settings(deadline=None)  # the tables of tokens are read once
@given(_RECORDS, st.integers(0, 60), st.integers(0, 60))
def test_adding_is_associative_and_leaves_its_parts_alone(
    drawn: list[tuple[str, str, int]], first: int, second: int
) -> None:
    records, (low, high) = numbered(drawn), sorted((first, second))
    a, b, c = (census(part, SMALL) for part in (records[:low], records[low:high], records[high:]))
    before = pickle.dumps(report(a, name="x"))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert pickle.dumps(report(a, name="x")) == before


def test_a_block_that_was_lost_and_done_again_by_another_worker_counts_once() -> None:
    records = [plain(i, f"text {i % 40}") for i in range(400)]
    blocks = [records[i : i + 50] for i in range(0, 400, 50)]
    first, second = Watch(KEY, limits=SMALL), Watch(KEY, limits=SMALL)
    total = Census(SMALL)
    for i, block in enumerate(blocks):
        done = watched(first, block)
        total += watched(second, block) if i == 3 else done
    whole = census(records, SMALL)
    total.received, total.leaving = whole.received, whole.leaving
    assert total == whole


def test_a_block_that_broke_off_and_is_sifted_again_counts_once() -> None:
    records = [holding(i, f"u{i}@b.org") for i in range(40)]
    watch = Watch(KEY)
    for record in records[:25]:
        watch(*record)
    assert watched(watch, records) == watched(Watch(KEY), records)


def test_memory_is_bounded_whatever_comes() -> None:
    watch, total = Watch(KEY, limits=SMALL), Census(SMALL)
    sizes = []
    for block in range(40):
        total += watched(watch, [holding(block * 100 + i, f"u{block * 100 + i}@b.org") for i in range(100)])
        sizes.append(len(pickle.dumps(total)))
    assert sizes[-1] < 1.2 * sizes[5]
    assert len(pickle.dumps(watched(watch, [holding(9000 + i, f"v{i}@b.org") for i in range(100)]))) < 3 * sizes[0]


def test_what_was_written_is_nowhere_in_it() -> None:
    secret = "jane.doe@example.org"
    made = census([holding(i, secret) for i in range(3)])
    said = report(made, name="x")
    assert secret.encode() not in pickle.dumps(made)
    assert secret not in said.to_json() + said.html() + said.card() + repr(made) + repr(said.sample)


def test_people_of_a_record_are_told_apart_and_short_forms_are_not_counted_again() -> None:
    text = "Jane Doe and Jane, and Omar Haddad"
    parts = (TextPart(text, "/t"),)
    found = ((person(0, 8), person(13, 17), person(23, 34)),)
    made = census([(0, parts, found, b"x\n"), plain(1, "nobody")])
    assert made.people == {2: 1, 0: 1}
    told = report(made, name="x").people
    assert (told.distinct.value, told.type, told.most) == (2, "PERSON", 2)


def test_a_value_is_the_same_in_other_case_and_with_other_separators() -> None:
    made = census([holding(0, "A@B.org"), holding(1, "a@b.org")])
    assert made.values["EMAIL"].distinct.value == 1
    assert made.values["EMAIL"].most == (2, 2)


def test_strata_are_by_the_worst_finding_and_the_sample_is_of_each() -> None:
    records = [plain(i, f"clean {i}") for i in range(20)] + [holding(20, "a@b.org"), holding(21, "k-1", "AI_KEY")]
    watch, total = Watch(KEY, limits=SMALL), Census(SMALL)
    total += watched(
        watch, records, [Problem(22, "the line is not JSON (byte 17)"), Problem(23, "the line is not JSON")]
    )
    told = report(total, name="x")
    assert {s.name: s.records for s in told.strata if s.records} == {"clean": 20, "medium": 1, "critical": 1, "bad": 2}
    assert [(s.stratum, len([x for x in told.sample if x.stratum == s.stratum])) for s in told.sample[::3]]
    assert [s.sampled for s in told.strata] == [3, 0, 1, 0, 1, 2]
    assert told.problems == (("the line is not JSON", 2),)
    assert told.records == 24
    assert {s.text for s in told.sample if s.stratum in ("medium", "critical")} == {"it says [X] there"}


def test_a_record_that_could_not_be_rewritten_is_counted_once() -> None:
    number, parts, found, _ = holding(0, "a@b.org")
    watch, total = Watch(KEY), Census()
    total += watched(watch, [(number, parts, found, b"")], [Problem(0, "something stands where it cannot be replaced")])
    told = report(total, name="x")
    assert (told.records, told.gone) == (1, 1)
    assert not told.sample


def test_the_sample_is_another_one_in_another_file_and_under_another_key() -> None:
    records = [plain(i, "the same") for i in range(200)]

    def drawn(watch: Watch) -> set[int]:
        return {s.record for s in report(watched(watch, records), name="x").sample}

    same = drawn(Watch(KEY))
    assert len(same) == 60
    assert drawn(Watch(KEY)) == same
    assert drawn(Watch(KEY, source="b.jsonl")) != same
    assert drawn(Watch(b"q" * 32)) != same


def test_a_record_that_was_sifted_once_more_is_shown_as_it_leaves_then() -> None:
    total = Census()
    total += watched(Watch(KEY), [plain(0, "old"), plain(1, "other")])
    again = [(0, *plain(0, "old")[1:3], b"new\n")]
    total.retold(watched(Watch(KEY), again))
    assert sorted(s.text for s in report(total, name="x").sample) == ["new", "other"]
    assert total.records == 2


def test_only_censuses_with_the_same_limits_add_up() -> None:
    with pytest.raises(ValueError, match="same limits"):
        Census(SMALL) + Census(Limits())


def test_long_records_are_shown_in_part_and_that_is_said() -> None:
    told = report(census([plain(0, "x y " * 30_000)]), name="x")
    assert len(told.sample[0].text) == 20_000
    assert "the first 20,000 characters" in told.html()


def test_nearly_equal_records_are_found_without_their_system_prompt() -> None:
    prompt = TextPart("be kind " * 200, "/messages/0/content", origin="system")
    base = [f"word{i}" for i in range(60)]

    def record(i: int, words: list[str]) -> Record:
        return i, (prompt, TextPart(" ".join(words), "/messages/1/content")), ((), ()), b"{}\n"

    others = [record(i, [f"w{i}-{j}" for j in range(60)]) for i in range(2, 12)]
    near = report(census([record(0, base), record(1, [*base[:-1], "end"]), *others]), name="x").alike
    assert (near.installed, near.looked, near.records, near.largest) == (True, 12, 2, 2)


def test_without_the_library_the_report_says_so() -> None:
    made = watched(Watch(KEY, compare=False), [plain(0, "one two"), plain(1, "one two three")])
    told = report(made, name="x")
    assert not told.alike.installed
    assert "were not looked for: pip install" in told.html()
    assert "were not looked for" in told.card()


def test_findings_are_counted_by_severity_of_each() -> None:
    parts = (TextPart("a@b.org and k-1", "/t"),)
    found: tuple[tuple[Finding, ...], ...] = ((email(0, 7), key(12, 15)),)
    told = report(census([(0, parts, found, b"x\n")]), name="x")
    critical = next(s for s in told.strata if s.name == "critical")
    assert {g.name: g.count.value for g in critical.findings} == {"low": 0, "medium": 1, "high": 0, "critical": 1}
    assert [(t.type, t.findings) for t in told.types] == [("AI_KEY", 1), ("EMAIL", 1)]
