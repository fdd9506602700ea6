"""Requests made from the API description, with canaries in random places: none arrives. A short run of the benchmark.

Run it at length with ``python -m benchmarks egress --calls 100000``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from benchmarks.egress import WIRE, Job, _jobs, facts, table
from benchmarks.egress.calls import POLICIES, Outcome, Sent, Tally, Way, in_process, named, over_the_wire, run
from benchmarks.egress.description import description
from benchmarks.egress.forms import FORMS, planted_form
from benchmarks.egress.planting import planted
from llmguard.errors import ApprovalPending

SEED = 1
EACH = 6
FORM_OPERATIONS = [o for o in named([]) if o.form is not None]


@pytest.fixture(scope="module")
def direct() -> Iterator[Mapping[str, Way]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(in_process(rules)) for name, rules in POLICIES.items()}


@pytest.fixture(scope="module")
def wire() -> Iterator[Mapping[str, Way]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(over_the_wire(rules)) for name, rules in POLICIES.items()}


@pytest.fixture(scope="module")
def tally(direct: Mapping[str, Way]) -> Tally:
    with_body = [o for o in named([]) if o.body is not None]
    tally = run(direct, with_body, SEED, range(EACH))
    tally.add(run(direct, [o for o in named([]) if o.body is None], SEED, range(2)))
    tally.add(run(direct, FORM_OPERATIONS, SEED, range(FORMS, FORMS + EACH)))
    return tally


def _described(tally: Tally) -> list[str]:
    return [
        f"--seed {SEED} --operation {x.operation} --number {x.number}: {x.place}, {x.encoding}" for x in tally.leaks
    ]


def test_no_canary_arrives(tally: Tally) -> None:
    assert _described(tally) == []


def test_no_canary_arrives_over_http(wire: Mapping[str, Way]) -> None:
    assert _described(run(wire, named([])[::4], SEED, range(WIRE, WIRE + 2))) == []


def test_no_canary_of_a_form_arrives_over_http(wire: Mapping[str, Way]) -> None:
    numbers = range(FORMS + WIRE, FORMS + WIRE + 2)
    tally = run(wire, FORM_OPERATIONS, SEED, numbers)
    assert _described(tally) == []
    assert tally.total("redacted") > len(FORM_OPERATIONS) / 2


def test_all_that_stands_in_a_form_is_seen_where_nobody_guards() -> None:
    operations = [o for o in FORM_OPERATIONS if o.id != "addUploadPart"]
    assert len(FORM_OPERATIONS) == 18
    tally = run({"open": _through}, operations, SEED, range(FORMS, FORMS + 12))
    assert tally.total("planted") > 300
    assert tally.total("seen") >= 0.995 * tally.total("planted")  # what is planted twice in one place is there once


def test_a_form_is_the_same_whenever_it_is_made() -> None:
    for operation in FORM_OPERATIONS:
        one, other = (planted_form(operation, SEED, FORMS + 3) for _ in range(2))
        assert (one.request, one.life) == (other.request, other.life)


def test_refusing_is_not_how_nothing_arrives(tally: Tally) -> None:
    sent: dict[str, int] = dict.fromkeys((o.id for o in named([]) if o.body is not None), 0)
    for (operation, policy), counter in tally.counts.items():
        if operation in sent and policy == "open":
            sent[operation] += counter["unchanged"] + counter["redacted"]
    assert sum(sent.values()) >= len(sent)
    assert tally.total("redacted") > 2 * tally.total("unchanged")


def test_figures_count_every_call_once(tally: Tally) -> None:
    rows = table(tally)
    whole = rows[-1]
    assert whole["calls"] == tally.total("calls") == sum(row["calls"] for row in rows[:-1])
    for row in rows:
        assert row["calls"] == row["unchanged"] + row["redacted"] + row["held"] + row["refused"]
        assert row["sent, shipped"] + row["sent, open"] == row["unchanged"] + row["redacted"]
    codes = sum(facts(tally)["refused or held"].values())
    assert codes == whole["held"] + whole["refused"]


def test_what_arrives_is_told_with_what_reproduces_it() -> None:
    operation = description().operations["createChatCompletion"]
    tally = run({"open": _through}, [operation], SEED, range(20))
    assert tally.total("seen") == tally.total("planted") > 0
    leak = tally.leaks[0]
    again = planted(operation, SEED, leak.number)
    assert (leak.place, leak.encoding, leak.address) in {(p.place, p.encoding, p.address) for p in again.plants}


def _through(request):  # type: ignore[no-untyped-def]
    """A way without a guard."""
    return Outcome(Sent(f"{request.path}?{request.query}", request.headers, request.body))


def test_held_and_refused_calls_are_told_apart() -> None:
    operation = description().operations["createImage"]
    tally = Tally()
    tally.note(operation.id, 0, "shipped", planted(operation, SEED, 0), Outcome(None, ApprovalPending.code))
    tally.note(operation.id, 1, "shipped", planted(operation, SEED, 1), Outcome(None, "blocked"))
    counter = tally.counts[operation.id, "shipped"]
    assert (counter["held"], counter["refused"]) == (1, 1)


def test_a_run_has_as_many_calls_as_wanted_and_enough_of_each_operation() -> None:
    jobs: list[Job] = list(_jobs(named([]), SEED, 100_000))
    assert sum(job.calls for job in jobs) >= 100_000
    each = {o.id: 0 for o in named([])}
    for job in jobs:
        each[job.operation] += job.calls
    assert min(each[o.id] for o in named([]) if o.body is not None) >= 500
    forms = {o.id: 0 for o in FORM_OPERATIONS}
    for job in jobs:
        if job.start >= FORMS:
            forms[job.operation] += job.calls
    assert min(forms.values()) >= 500
    assert sum(job.calls for job in jobs if job.start >= WIRE) >= 2_000
