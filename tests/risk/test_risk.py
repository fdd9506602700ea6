"""Risk: bounded, monotone, free of order, additive, never raised by redaction, whatever a policy makes it weigh."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.facts import Facts, Found
from llmguard.model import EVASION, Kind, Risk, Trust
from llmguard.risk import TERMS, StyleOf, Weights, assess, people, weights
from llmguard.risk.tally import Tally
from llmguard.risk.terms import of_findings, of_the_rest, tokens_of
from tests.risk.made import FACTS, FINDINGS, SIGN, WEIGHTS

STYLES = ("", "mask", "hash", "placeholder", "surrogate", "drop")
"""From what is left most to what is left least."""
CARD = Found("CREDIT_CARD", "pii", "high", 1.0, identity="a")
MAIL = Found("EMAIL", "pii", "medium", 0.9, identity="a")
SECRET = Found("PRIVATE_KEY", "secret", "critical", 1.0, identity="a")
NAME = Found("PERSON", "pii", "medium", 0.9, identity="a")


def call(*found: Found, kind: Kind = "inference", trust: Trust = "public", characters: int = 0) -> Facts:
    return Facts("op", kind, trust, found, characters=characters)


def as_written(_: Found) -> str:
    return ""


def by_type(styles: dict[str, str]) -> StyleOf:
    return lambda f: styles.get(f.type, "placeholder") if f.redactable else ""


def raw(facts: Facts, weigh: Weights, style: StyleOf) -> dict[str, tuple[float, float]]:
    """The sum of each term before it saturates: as written, and what is left."""
    tally = Tally(facts.found, weigh, style)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    found = of_findings(facts, tally, weigh) if facts.found else ()
    for name, points, left, _ in [*found, *of_the_rest(tokens_of(facts), facts.unscanned, weigh)]:
        sums[name][0] += points
        sums[name][1] += left
    return {name: (sums[name][0], sums[name][1]) for name in TERMS}


def agrees(figure: int, parts: Iterable[float]) -> bool:
    """Whether the parts add up to the figure before it was rounded."""
    return abs(math.fsum(parts) - figure) <= 0.5 + 1e-9


def texts(risk: Risk) -> str:
    return "\n".join([risk.summary, *(r.text for r in risk.reasons)])


@given(FACTS, WEIGHTS)
def test_it_is_bounded_and_redaction_never_raises_it(facts: Facts, weigh: Weights) -> None:
    risk = assess(facts, weigh)
    assert 0 <= risk.residual <= risk.inherent <= 100


@given(FACTS, WEIGHTS)
def test_reasons_add_up_to_both_figures(facts: Facts, weigh: Weights) -> None:
    risk = assess(facts, weigh)
    assert agrees(risk.inherent, [r.points for r in risk.reasons])
    assert agrees(risk.residual, [r.left for r in risk.reasons])


@given(FACTS, FINDINGS, WEIGHTS)
def test_more_findings_lower_no_term_and_not_the_whole(facts: Facts, more: tuple[Found, ...], weigh: Weights) -> None:
    fuller = replace(facts, found=facts.found + more)
    before, after = assess(facts, weigh), assess(fuller, weigh)
    assert after.inherent >= before.inherent
    assert after.residual >= before.residual
    style = by_type({})
    terms, fuller_terms = raw(facts, weigh, style), raw(fuller, weigh, style)
    for name in TERMS:
        assert all(more >= less - 1e-9 for more, less in zip(fuller_terms[name], terms[name], strict=True)), name


@given(FACTS, WEIGHTS, st.randoms(use_true_random=False))
def test_order_of_findings_lines_and_records_does_not_matter(facts: Facts, weigh: Weights, rng: random.Random) -> None:
    rows, records = list(range(10)), list(range(4))
    rng.shuffle(rows)
    rng.shuffle(records)
    moved = [replace(f, row=rows[f.row], record=records[f.record]) for f in facts.found]
    rng.shuffle(moved)
    assert assess(replace(facts, found=tuple(moved)), weigh) == assess(facts, weigh)


@given(FACTS, WEIGHTS, st.fixed_dictionaries({t: st.sampled_from(STYLES) for t in ("EMAIL", "AI_KEY", "PERSON")}))
def test_what_hides_more_leaves_less(facts: Facts, weigh: Weights, styles: dict[str, str]) -> None:
    one = assess(facts, weigh, by_type(styles))
    for type_, style in styles.items():
        for stronger in STYLES[STYLES.index(style) :]:
            other = assess(facts, weigh, by_type({**styles, type_: stronger}))
            assert other.inherent == one.inherent
            assert other.residual <= one.residual


@given(FACTS, WEIGHTS)
def test_what_leaves_as_written_is_left_whole(facts: Facts, weigh: Weights) -> None:
    risk = assess(facts, weigh, as_written)
    assert risk.residual == risk.inherent
    assert [r.left for r in risk.reasons] == [r.points for r in risk.reasons]


@given(FACTS, WEIGHTS)
def test_less_trust_and_more_lasting_use_never_lower_it(facts: Facts, weigh: Weights) -> None:
    trusts: tuple[Trust, ...] = ("internal", "contract", "public")
    kinds: tuple[Kind, ...] = ("inference", "stored", "training")
    for changed in ([replace(facts, trust=t) for t in trusts], [replace(facts, kind=k) for k in kinds]):
        risks = [assess(f, weigh) for f in changed]
        assert [r.inherent for r in risks] == sorted(r.inherent for r in risks)
        assert [r.residual for r in risks] == sorted(r.residual for r in risks)


@given(FACTS, WEIGHTS)
def test_kept_facts_have_exactly_the_same_risk(facts: Facts, weigh: Weights) -> None:
    assert assess(Facts.decode(facts.encode()), weigh) == assess(facts, weigh)


@given(FACTS)
def test_no_text_holds_a_value_or_its_digest(facts: Facts) -> None:
    assert SIGN not in texts(assess(facts))


@given(FACTS)
def test_every_term_is_named_even_if_nothing_speaks_for_it(facts: Facts) -> None:
    assert {r.term for r in assess(facts).reasons} - {"where", "use"} == set(TERMS)


def test_a_call_without_anything_has_no_risk() -> None:
    risk = assess(call())
    assert (risk.inherent, risk.residual) == (0, 0)
    assert {r.term: r.points for r in risk.reasons} == dict.fromkeys(TERMS, 0.0)


def test_where_it_goes_and_what_is_done_there_matter() -> None:
    order = [assess(call(CARD, trust=trust)).inherent for trust in ("internal", "contract", "public")]
    assert order == sorted(set(order))
    uses = [assess(call(CARD, kind=kind)).inherent for kind in ("inference", "stored", "training")]
    assert uses == sorted(set(uses))


def test_the_same_value_counts_once() -> None:
    assert assess(call(MAIL)) == assess(call(*[MAIL] * 5))


def test_repeats_count_in_training_data_only() -> None:
    once, often = call(CARD, kind="training"), call(replace(CARD, times=30), kind="training")
    assert assess(often).inherent > assess(once).inherent
    assert assess(replace(often, kind="stored")) == assess(replace(once, kind="stored"))
    assert "up to 30 times" in texts(assess(often))


def test_a_surer_finding_weighs_more() -> None:
    assert assess(call(replace(MAIL, confidence=0.3))).inherent < assess(call(MAIL)).inherent


def test_forms_of_one_name_are_one_person() -> None:
    short = replace(NAME, identity="b", person="a")
    assert people([NAME, short]) == 1
    assert people([NAME, short, replace(NAME, identity="c")]) == 2


def test_what_singles_out_is_counted_within_a_record() -> None:
    birth = Found("DATE_OF_BIRTH", "pii", "low", 1.0, identity="b")
    post = Found("POSTAL_CODE", "pii", "low", 1.0, identity="c")
    together, apart = assess(call(birth, post)), assess(call(birth, replace(post, record=1)))
    assert together.inherent > apart.inherent
    assert "tells who somebody is: date of birth and post code" in texts(together)


def test_what_is_hidden_too_deep_is_a_term_of_its_own() -> None:
    risk = assess(call(Found(EVASION, "internal", "high", 1.0, redactable=False)))
    assert [r.points > 0 for r in risk.reasons if r.term == "evasion"] == [True]
    assert risk.residual == risk.inherent > 0


def test_the_severest_of_a_type_comes_first_in_whatever_order_it_was_found() -> None:
    mild, severe = Found("AZURE_KEY", "secret", "low", 1.0, identity="x"), CARD
    worst = Found("AZURE_KEY", "secret", "critical", 1.0, identity="y")
    assert assess(call(mild, worst, severe)).summary == assess(call(worst, severe, mild)).summary
    assert assess(call(mild, worst, severe)).summary.startswith("2 Azure keys and 1 card number")


@pytest.mark.parametrize(
    ("facts", "summary"),
    [
        (call(), "nothing found, to a public provider"),
        (call(CARD), "1 card number, to a public provider; all of it redacted"),
        (
            call(*(replace(x, identity=str(i)) for i in range(3) for x in (CARD, NAME)), kind="stored"),
            "3 people with 3 card numbers, to a public provider that stores it; all of it redacted",
        ),
        (
            call(replace(MAIL, redactable=False), CARD, trust="contract", kind="training"),
            "1 card number and 1 e-mail address, to a provider under contract that trains a model on it;"
            " in part redacted",
        ),
        (
            call(replace(NAME, identity="b"), NAME, replace(MAIL, redactable=False), SECRET),
            "1 private key and 2 people with 1 e-mail address, to a public provider; in part redacted",
        ),
        (
            call(NAME, SECRET, kind="unknown"),
            "1 private key and 1 name, to a public provider, for a use that is not known; all of it redacted",
        ),
        (
            call(*(Found(t, "secret", "high", 1.0) for t in ("PIN", "JWT", "SESSION", "WEBHOOK", "SECRET"))),
            "1 signed token (JWT), 1 PIN, 1 secret and 2 more kinds of data, to a public provider; all of it redacted",
        ),
        (
            replace(call(NAME, trust="internal"), unscanned=("image",)),
            "1 name, to an internal model; all of it redacted; an image was not looked at",
        ),
    ],
)
def test_the_summary_is_a_sentence_for_reviewers(facts: Facts, summary: str) -> None:
    assert assess(facts).summary == summary


def test_tokens_are_estimated_to_two_figures_and_never_fall() -> None:
    sizes = [tokens_of(call(characters=n)) for n in (0, 1, 400, 4001, 4100, 123_456)]
    assert sizes == [0, 1, 100, 1100, 1100, 31_000]


def test_a_policy_may_change_what_a_term_weighs() -> None:
    heavier = weights({"terms": {"people": 60.0}})
    two = call(MAIL, replace(MAIL, identity="b"))
    assert assess(two, heavier).inherent > assess(two).inherent
