"""Many want to spend one approval, or decide it differently, in one instant."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai

import llmguard
from llmguard import identity
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.identity import Cause
from llmguard.testing import EchoUpstream, LocalGuard
from tests.abuse.offices import ANN, BO, CY, TENANT, Office

PROCESSES, THREADS = 4, 60


def spend(settings: Settings, url: str, go: Any, outcomes: Any) -> None:
    """One process: a guard of its own on the shared folder, and many threads that send the approved call at once."""
    guard = Guard(settings)
    client = llmguard.wrap(openai.OpenAI(base_url=url + "/v1", api_key="own", max_retries=0), guard)
    barrier, heard = threading.Barrier(THREADS), []

    def one() -> None:
        barrier.wait()
        try:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "once"}])
            heard.append("answered")
        except openai.APIStatusError as e:
            heard.append(str(e.code))

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    go.wait()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes.put(heard)
    guard.close()


def test_hundreds_of_threads_and_several_processes_spend_one_approval_once(
    office: Office, upstream: EchoUpstream, settings: Settings
) -> None:
    mine = replace(office.local.settings, key=office.key, hold="ticket")
    with Guard(mine) as guard:
        client = llmguard.wrap(openai.OpenAI(base_url=upstream.url + "/v1", api_key="own", max_retries=0), guard)
        try:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "once"}])
            raise AssertionError("it was not held")
        except openai.ConflictError as e:
            id_ = e.body["approval_id"]  # type: ignore[index]
    assert office.vote(BO, id_) == 200
    context = multiprocessing.get_context("fork")
    go, outcomes = context.Event(), context.Queue()
    workers = [context.Process(target=spend, args=(mine, upstream.url, go, outcomes)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    go.set()
    heard = Counter(code for _ in workers for code in outcomes.get(timeout=100))
    for worker in workers:
        worker.join()
    assert sum(heard.values()) == PROCESSES * THREADS
    assert set(heard) <= {"answered", "approval_executing"}  # of the answered, all but one were replays
    assert heard["answered"] >= 1
    assert len(upstream.received) == 1
    assert office.approval(id_).state == "EXECUTED"
    assert [e["approval"] for e in office.log("approval.claimed")] == [id_]


def test_approving_against_denying_in_one_instant_has_one_outcome(office: Office) -> None:
    """Whichever wins, the log has one outcome, the state is that, and only an approved one is sent."""
    for round_ in range(6):
        text, before = f"round {round_}", office.sent
        id_ = office.held(text)
        answers = together(lambda i=id_: office.vote(BO, i), lambda i=id_: office.vote(CY, i, "deny"))  # type: ignore[misc]
        assert sorted(answers) == [200, 409]
        state = office.approval(id_).state
        assert state == ("APPROVED" if answers[0] == 200 else "DENIED")
        ended = [e["kind"] for e in office.log() if e.get("approval") == id_ and "from" in e]
        assert ended == [f"approval.{state.lower()}"]
        assert office.ask(text)[0] == (200 if state == "APPROVED" else 403)
        assert office.sent == before + (state == "APPROVED")


def test_one_person_in_many_sessions_at_once_has_one_vote(office: Office) -> None:
    id_ = office.held(key=office.local.key("of nobody"))
    answers = together(*[lambda: office.vote(BO, id_)] * 8)
    assert sorted(answers) == [200] + [409] * 7
    assert len(office.approval(id_).votes) == 1
    assert office.approval(id_).state == "PENDING"


def test_many_who_ask_the_same_at_once_share_one_approval(office: Office) -> None:
    ids = together(*[lambda: office.held("the same")] * 12)
    assert len(set(ids)) == 1


def test_withdrawing_against_spending_in_one_instant_is_one_of_them(office: Office) -> None:
    for round_ in range(6):
        text, before = f"round {round_}", office.sent
        id_ = office.held(text)
        office.vote(BO, id_)
        answers = together(
            lambda t=text: office.ask(t)[0],  # type: ignore[misc]
            lambda i=id_: office.control(CY, f"/approvals/{i}/cancel", {})[0],  # type: ignore[misc]
        )
        state = office.approval(id_).state
        assert (state, office.sent - before, answers[1]) in (("REVOKED", 0, 200), ("EXECUTED", 1, 409))


def test_a_spent_approval_is_not_spent_again_by_a_key_of_the_same_person(office: Office) -> None:
    id_ = office.held()
    office.vote(BO, id_)
    assert office.ask()[0] == 200
    guard = office.local.guard

    def second(tx: Any) -> str:
        token, change = identity.new_key(tx, guard.vault, "second", ANN)
        identity.apply(tx, guard.vault, TENANT, change, Cause("test"))
        return token

    assert office.held(key=guard.store.transact(second)) != id_
    assert office.sent == 1


def together(*works: Callable[[], Any]) -> list[Any]:
    """Their results, begun in one instant."""
    results: list[Any] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(i: int) -> None:
        barrier.wait()
        results[i] = works[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_guards_on_one_folder_spend_one_approval_once(office_with: Any, upstream: EchoUpstream) -> None:
    office = office_with()
    id_ = office.held()
    office.vote(BO, id_)
    with LocalGuard(replace(office.local.settings, port=0, control_port=0)) as second:
        there = Office.__new__(Office)
        there.local, there.upstream, there.key = second, upstream, office.key
        answers = together(*[lambda: office.ask()[0], lambda: there.ask()[0]] * 6)
    assert set(answers) <= {200, 409}
    assert len(upstream.received) == 1
