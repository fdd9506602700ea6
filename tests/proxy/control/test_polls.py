"""People wait for news: they hear it at once, cost next to nothing, and never wait for too long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from llmguard.approvals import WaitingRoom
from llmguard.proxy.control.polls import EACH
from tests.desks import ANN, BO, CY, TENANT, Desk, Plane, control_plane


def client(plane: Plane, who: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {plane.desk.session(who)}"}
    return httpx.Client(base_url=f"{plane.url}/guard/v1", headers=headers, trust_env=False, timeout=40)


def meanwhile(work: Callable[[], Any]) -> threading.Thread:
    def later() -> None:
        time.sleep(0.5)  # so that the poll is waiting by then
        work()

    thread = threading.Thread(target=later)
    thread.start()
    return thread


def test_a_vote_wakes_whoever_waits_for_the_approval(plane: Plane) -> None:
    approval = plane.desk.hold()
    with client(plane, ANN) as ann:
        voting = meanwhile(lambda: plane.desk.vote(approval, BO))
        answer = ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=30")
        voting.join()
    assert (answer.json()["state"], answer.json()["version"], answer.headers["etag"]) == ("APPROVED", 2, '"2"')


def test_a_version_that_has_passed_is_answered_at_once_and_time_ends_the_rest(plane: Plane) -> None:
    approval = plane.desk.hold()
    with client(plane, ANN) as ann:
        assert ann.get(f"/approvals/{approval.id}/wait?version=0").json()["version"] == 1
        assert ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=0").json()["state"] == "PENDING"
        assert ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=31").status_code == 400
        assert ann.get(f"/approvals/{approval.id}/wait").status_code == 400


def test_a_list_waits_until_it_is_another_one(plane: Plane) -> None:
    approval = plane.desk.hold(quorum=2)
    with client(plane, BO) as bo:
        first = bo.get("/approvals")
        known = {"if-none-match": first.headers["etag"]}
        assert bo.get("/approvals", headers=known).status_code == 304
        assert bo.get("/approvals?wait=1", headers=known).status_code == 304
        voting = meanwhile(lambda: plane.desk.vote(approval, CY))  # one of two: the same version, another list
        news = bo.get("/approvals?wait=30", headers=known)
        voting.join()
    assert news.json()["approvals"][0]["missing"] == 1
    assert news.headers["etag"] != first.headers["etag"]


def test_other_tenants_and_other_approvals_wake_nobody(plane: Plane) -> None:
    desk = plane.desk
    mine, other = desk.hold(), desk.hold(key="other")
    with client(plane, ANN) as ann:
        voting = meanwhile(lambda: desk.vote(other, BO))
        answer = ann.get(f"/approvals/{mine.id}/wait?version=1&timeout=2")
        voting.join()
    assert answer.json()["version"] == 1


def test_two_hundred_polls_cost_neither_threads_nor_queries(desk: Desk) -> None:
    people = [f"p{i}@example.com" for i in range(10)]
    for email in people:
        desk.put(email, "reviewers")
    approval = desk.hold()
    sessions = [desk.session(email) for email in people]
    reads: list[float] = []
    read = desk.store.read

    def counted(work: Any) -> Any:
        reads.append(time.monotonic())
        return read(work)

    desk.store.read = counted  # type: ignore[method-assign]

    async def wait(http: httpx.AsyncClient, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        path = f"/guard/v1/approvals/{approval.id}/wait?version=1&timeout=30"
        answer = await http.get(path, headers=headers)
        return int(answer.json()["version"])

    async def everybody(plane: Plane) -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=plane.url, trust_env=False, timeout=60, limits=limits) as http:
            waiting = [asyncio.ensure_future(wait(http, token)) for token in sessions for _ in range(20)]
            before = 0
            while before < len(waiting) or len(reads) - before > 12:  # until all of them have looked
                before = len(reads)
                await asyncio.sleep(1.2)
            quiet, threads = len(reads), threading.active_count()
            await asyncio.sleep(2)
            assert len(reads) - quiet <= 16
            assert threads < 60
            await asyncio.to_thread(desk.vote, approval, BO)
            return list(await asyncio.gather(*waiting))

    with control_plane(desk) as plane:
        assert asyncio.run(everybody(plane)) == [2] * 200


def test_one_person_may_wait_so_often_and_no_more(plane: Plane) -> None:
    approval = plane.desk.hold()
    token = plane.desk.session(ANN)

    async def many() -> list[int]:
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=plane.url, trust_env=False, timeout=60, headers=headers) as http:
            path = f"/guard/v1/approvals/{approval.id}/wait?version=1&timeout=3"
            return [a.status_code for a in await asyncio.gather(*(http.get(path) for _ in range(EACH + 5)))]

    codes = asyncio.run(many())
    assert (codes.count(200), codes.count(429)) == (EACH, 5)


def test_whoever_hangs_up_waits_no_more(plane: Plane) -> None:
    approval = plane.desk.hold()
    path = f"/approvals/{approval.id}/wait?version=1&timeout=30"
    with client(plane, ANN) as ann:
        for _ in range(EACH + 5):
            try:
                ann.get(path, timeout=0.05)
            except httpx.TimeoutException:
                continue
        time.sleep(0.5)  # the server notices who hung up a moment later
        assert ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=0").status_code == 200
        assert ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=1").status_code == 200


def test_a_guard_that_stops_sends_everybody_home(desk: Desk) -> None:
    room = WaitingRoom(desk.store)
    approval = desk.hold()
    with control_plane(desk, room=room) as plane, client(plane, ANN) as ann:
        closing = meanwhile(room.close)
        answer = ann.get(f"/approvals/{approval.id}/wait?version=1&timeout=30")
        closing.join()
        assert answer.json()["version"] == 1
    assert desk.store.read(lambda tx: desk.approvals.get(tx, TENANT, approval.id)).state == "PENDING"
