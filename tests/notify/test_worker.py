"""From the outbox to the channels: once, in order, again after trouble, and never at the cost of anybody else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmguard.channels import Channel
from llmguard.notify import deliveries, outgoing
from llmguard.notify.deliveries import Health
from llmguard.notify.worker import Worker
from tests.desks import BO, CY, TENANT, Desk
from tests.notify.conftest import SECRET
from tests.notify.counterparts import Answer, Counterpart

Make = Callable[..., Channel]
Tell = Callable[..., None]


def health(desk: Desk, name: str) -> Health:
    return desk.store.read(lambda tx: deliveries.health(tx, TENANT, name))


def types(there: Counterpart) -> list[str]:
    return [got.json["type"] for got in there.got]


def test_every_event_reaches_a_webhook_once_and_in_order(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell
) -> None:
    approval = desk.hold(quorum=2)
    desk.vote(approval, BO)
    desk.vote(approval, CY)
    desk.claim(approval)
    tell(hook())
    tell(hook())
    told = ["approval.pending", "approval.vote", "approval.approved", "approval.executing"]
    assert types(there) == told
    assert [got.json["data"]["state"] for got in there.got] == ["PENDING", "PENDING", "APPROVED", "EXECUTING"]
    assert {got.json["data"]["id"] for got in there.got} == {approval.id}
    assert len({got.headers["webhook-id"] for got in there.got}) == len(told)


def test_what_nobody_hears_is_taken_from_the_outbox_too(desk: Desk, tell: Tell) -> None:
    desk.hold()
    tell()
    assert not desk.store.read(deliveries.news)
    assert not desk.store.read(lambda tx: tx.all("SELECT * FROM deliveries"))


@pytest.mark.parametrize(
    ("narrowed", "told"),
    [
        ({"groups": ("reviewers",)}, True),
        ({"groups": ("security",)}, False),
        ({"min_risk": 80}, True),
        ({"min_risk": 81}, False),
        ({"events": ("approved",)}, False),
        ({"events": ("pending", "approved")}, True),
    ],
)
def test_a_channel_hears_its_groups_events_and_risks(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, narrowed: dict[str, Any], told: bool
) -> None:
    desk.hold()
    tell(hook(**narrowed))
    assert bool(there.got) == told


def test_those_to_whom_it_escalates_hear_of_it_then(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    desk.hold(escalate_after=60, escalate_to="security")
    tell(hook(groups=("security",)))
    assert not there.got
    desk.now += 61_000
    desk.store.transact(desk.approvals.sweep)
    tell(hook(groups=("security",)))
    assert types(there) == ["approval.escalated"]


def test_an_emergency_is_told_whatever_its_risk_and_to_all_its_groups(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell
) -> None:
    approval = desk.hold(break_glass="reviewers", groups=(("security", 1),))
    desk.vote(approval, BO, "break_glass", reason="production is down")
    tell(hook(min_risk=100, groups=("reviewers",)))
    assert "approval.break_glass" in types(there)


def test_another_tenants_approvals_are_told_to_nobody(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    desk.put("zoe@example.org", "reviewers", tenant="other")
    desk.put("yan@example.org", "reviewers", tenant="other")
    desk.hold(desk.principal(tenant="other"))
    tell(hook())
    assert not there.got


def test_a_row_that_was_altered_sends_nobody_to_look(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    desk.hold()
    desk.edit("UPDATE approvals SET destination = 'elsewhere'")
    tell(hook())
    assert not there.got


# --------------------------------------------------------------------------- trouble


def test_a_channel_that_is_down_is_tried_again_later_and_delays_nobody_else(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell
) -> None:
    down = hook("down", url="http://127.0.0.1:1/hook")
    desk.hold()
    desk.hold(key="two")
    tell(down, hook())
    assert len(there.got) == 2
    assert health(desk, "down").failures == 1, "after the first failure it is left alone"
    assert health(desk, "down").waiting == 2
    assert health(desk, "down").problem == "unreachable"
    tell(down, hook())
    assert health(desk, "down").failures == 1, "not before its time"
    for failures in range(2, 6):
        desk.now = health(desk, "down").resumes
        tell(down)
        assert health(desk, "down").failures == failures
    desk.now = health(desk, "down").resumes
    back = desk.now
    tell(hook("down"))
    desk.now += deliveries.LONGEST_PAUSE * 1000
    tell(hook("down"))
    assert len(there.got) == 4
    told = health(desk, "down")
    assert (told.failures, told.problem, told.waiting) == (0, "", 0)
    assert told.delivered >= back


def test_pauses_double_up_to_an_hour_and_are_never_the_same_for_all() -> None:
    for failures in range(40):
        longest = min(5 * 2**failures, 3600) * 1000
        pauses = [deliveries.pause_ms(failures) for _ in range(50)]
        assert all(longest // 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 10


@pytest.mark.parametrize(("status", "kept"), [(500, True), (503, True), (404, True), (429, True), (413, False)])
def test_what_may_pass_is_tried_again_and_what_never_will_is_not(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, status: int, kept: bool
) -> None:
    there.next = [Answer(status)]
    desk.hold()
    tell(hook())
    assert health(desk, "siem").waiting == kept
    assert ("notification.failed" in desk.log()) == (not kept)
    assert health(desk, "siem").lost == (not kept)


def test_a_redirect_is_not_followed(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.next = [Answer(307, headers={"location": f"{there.url}/elsewhere"})]
    desk.hold()
    tell(hook())
    assert [got.path for got in there.got] == ["/hook"]
    assert health(desk, "siem").problem == "redirected"


def test_a_channel_that_never_answers_delays_itself_alone(
    desk: Desk, there: Counterpart, hook: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))

    async def running() -> None:
        with Counterpart() as silent:
            silent.always = Answer(delay=30)
            channels = [hook("silent", url=f"{silent.url}/in"), hook()]
            worker = Worker(desk.store, desk.vault, desk.approvals, channels, TENANT, str)
            task = asyncio.create_task(worker.run())
            await asyncio.to_thread(there.wait, lambda: there.got)
            while not health(desk, "silent").failures:
                await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    desk.hold()
    asyncio.run(running())
    assert health(desk, "silent").problem == "timeout"


def test_a_message_that_breaks_us_is_given_up_and_the_next_one_told(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = desk.hold()
    desk.edit("UPDATE outbox SET body = '[]' WHERE approval = ?", broken.id)
    desk.hold(key="two")
    tell(hook())
    assert len(there.got) == 1
    assert health(desk, "siem").lost == 1


def test_order_is_kept_over_an_outage(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.always = Answer(503)
    approval = desk.hold()
    desk.vote(approval, BO)
    tell(hook())
    there.always, there.got = None, []
    desk.now = health(desk, "siem").resumes
    tell(hook())
    assert types(there) == ["approval.pending", "approval.approved"]


def test_retry_after_is_heeded_up_to_an_hour(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    for said, seconds in (("120", 120), ("999999", 3600)):
        there.next = [Answer(429, headers={"retry-after": said})]
        desk.hold(key=said)
        tell(hook(said))
        assert health(desk, said).resumes == desk.now + seconds * 1000


@pytest.mark.parametrize("said", ["soon", "-1", "1e3", "Wed, 21 Oct 2037 07:28:00 GMT", "9" * 400])
def test_a_retry_after_that_is_nonsense_changes_nothing(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, said: str
) -> None:
    there.next = [Answer(429, headers={"retry-after": said})]
    desk.hold()
    tell(hook())
    assert desk.now < health(desk, "siem").resumes <= desk.now + 5000


def test_an_answer_without_end_is_not_read_to_its_end(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.next = [Answer(body=b"x" * (1 << 20))]
    desk.hold()
    tell(hook())
    assert health(desk, "siem").problem == "answer_too_long"


def test_what_fails_for_good_is_in_the_log_without_text(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.next = [Answer(400, body=b"what the other side says")]
    approval = desk.hold()
    tell(hook())
    row = desk.store.read(lambda tx: tx.one("SELECT leaf FROM audit_entries WHERE kind = 'notification.failed'"))
    assert row
    details = json.loads(row["leaf"])["details"]
    assert details == {"approval": approval.id, "channel": "siem", "event": "pending", "why": "status_400"}


def test_a_day_later_it_is_too_late(desk: Desk, there: Counterpart, hook: Make, tell: Tell) -> None:
    there.always = Answer(503)
    desk.hold(expires_in=7 * 86400)
    tell(hook())
    there.always = None
    desk.now += deliveries.MAX_AGE_MS
    tell(hook())
    assert len(there.got) == 1
    assert health(desk, "siem").lost == 1


def test_a_channel_has_a_bounded_queue(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MAX_WAITING", 3)
    there.always = Answer(503)
    for i in range(5):
        desk.hold(key=str(i))
    tell(hook())
    assert health(desk, "siem").waiting == 3
    assert health(desk, "siem").lost == 2


# --------------------------------------------------------------------------- several processes


def test_a_channel_is_served_by_one_process_at_a_time(desk: Desk, hook: Make) -> None:
    desk.hold()
    desk.store.transact(lambda tx: deliveries.fan_out(tx, desk.vault, TENANT, [hook()]))

    def claim(owner: str) -> int:
        return len(desk.store.transact(lambda tx: deliveries.claim(tx, TENANT, "siem", owner)))

    assert (claim("one"), claim("two")) == (1, 0)
    desk.now += deliveries.LEASE_MS  # the first one died
    assert claim("two") == 1


def test_who_lost_the_lease_goes_no_further(desk: Desk, hook: Make) -> None:
    desk.hold()
    desk.hold(key="two")
    desk.store.transact(lambda tx: deliveries.fan_out(tx, desk.vault, TENANT, [hook()]))
    first, _ = desk.store.transact(lambda tx: deliveries.claim(tx, TENANT, "siem", "one"))
    desk.now += deliveries.LEASE_MS
    assert len(desk.store.transact(lambda tx: deliveries.claim(tx, TENANT, "siem", "two"))) == 2
    assert not desk.store.transact(lambda tx: deliveries.settle(tx, first, "one"))
    assert desk.store.transact(lambda tx: deliveries.settle(tx, first, "two"))


def test_a_newer_word_that_came_while_one_was_on_its_way_is_still_told(desk: Desk, slack: Make) -> None:
    approval = desk.hold()
    desk.store.transact(lambda tx: deliveries.fan_out(tx, desk.vault, TENANT, [slack()]))
    [sent] = desk.store.transact(lambda tx: deliveries.claim(tx, TENANT, "reviews", "one"))
    desk.vote(approval, BO)
    desk.store.transact(lambda tx: deliveries.fan_out(tx, desk.vault, TENANT, [slack()]))
    desk.store.transact(lambda tx: deliveries.settle(tx, sent, "one"))
    assert health(desk, "reviews").waiting == 1


def test_two_workers_at_once_tell_everything_once(desk: Desk, there: Counterpart, hook: Make) -> None:
    for i in range(30):
        desk.hold(key=str(i))

    async def both() -> None:
        made = [Worker(desk.store, desk.vault, desk.approvals, [hook()], TENANT, str) for _ in range(2)]
        await asyncio.gather(*(worker.once() for worker in made))

    asyncio.run(both())
    assert len({got.headers["webhook-id"] for got in there.got}) == len(there.got) == 30


def test_two_processes_tell_everything_once(desk: Desk, there: Counterpart) -> None:
    for i in range(100):
        desk.hold(key=str(i))
    program = [sys.executable, "-c", PROCESS, str(desk.folder), f"{there.url}/hook", SECRET]
    processes = [subprocess.Popen(program, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len({got.headers["webhook-id"] for got in there.got}) == len(there.got) == 100


PROCESS = """
import asyncio, os, sys
from pathlib import Path
from llmguard.approvals import Approvals
from llmguard.channels import Channel
from llmguard.notify import deliveries, outgoing
from llmguard.notify.worker import Worker
from llmguard.store import Store
from llmguard.vault import Keyring, Vault
folder, url, secret = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store, vault = Store(folder / "llmguard.db"), Vault(Keyring.open(folder / "keys"))
channel = Channel("siem", "webhook", url=url, token=secret)
worker = Worker(store, vault, Approvals(vault), [channel], "default", str)
while store.read(deliveries.news) or store.read(lambda tx: deliveries.health(tx, "default", "siem").waiting):
    asyncio.run(worker.once())
store.close()
"""


# --------------------------------------------------------------------------- noise


def test_a_chat_is_not_called_for_what_was_decided_meanwhile(desk: Desk, there: Counterpart, tell: Tell) -> None:
    teams = Channel("floor", "teams", url=f"{there.url}/flow")
    there.always = Answer(503)
    approval = desk.hold()
    tell(teams)
    desk.vote(approval, BO)
    there.always, there.got = None, []
    desk.now += 10_000
    tell(teams)
    assert not there.got


def test_reminders_that_pile_up_are_one(desk: Desk, there: Counterpart, tell: Tell) -> None:
    teams = Channel("floor", "teams", url=f"{there.url}/flow")
    desk.hold(remind_after=60)
    tell(teams)
    there.always = Answer(503)
    for _ in range(5):
        desk.now += 61_000
        desk.store.transact(desk.approvals.sweep)
        tell(teams)
    assert health(desk, "floor").waiting == 1


def test_quiet_hours_end_in_the_channels_own_time(desk: Desk, there: Counterpart, tell: Tell) -> None:
    # 2027-01-15 08:00 UTC is 03:00 in New York
    teams = Channel("floor", "teams", url=f"{there.url}/flow", quiet="22:00-07:30", timezone="America/New_York")
    desk.hold(expires_in=86400)
    tell(teams)
    assert not there.got
    desk.now += (4 * 60 + 29) * 60_000
    tell(teams)
    assert not there.got
    desk.now += 60_000
    tell(teams)
    assert len(there.got) == 1


def test_what_is_urgent_goes_through_quiet_hours(desk: Desk, there: Counterpart, tell: Tell) -> None:
    teams = Channel("floor", "teams", url=f"{there.url}/flow", quiet="00:00-23:59")
    desk.hold(escalate_after=60, escalate_to="security")
    desk.now += 61_000
    desk.store.transact(desk.approvals.sweep)
    tell(teams)
    assert [got.json["attachments"][0]["content"]["body"][0]["inlines"][0]["text"] for got in there.got] == [
        "Waits too long: more people may decide"
    ]


def test_what_was_handed_over_a_week_ago_is_forgotten(desk: Desk, hook: Make, tell: Tell) -> None:
    desk.hold()
    tell(hook())
    desk.now += deliveries.KEPT_MS + 1
    desk.store.transact(deliveries.forget)
    assert not desk.store.read(lambda tx: tx.all("SELECT * FROM outbox"))


# --------------------------------------------------------------------------- text


def test_no_original_text_reaches_a_channel(
    desk: Desk, there: Counterpart, hook: Make, slack: Make, tell: Tell
) -> None:
    approval = desk.hold()
    tell(hook(), slack(), Channel("floor", "teams", url=f"{there.url}/flow"))
    desk.vote(approval, BO, "deny", reason="because of Jane Roe")
    tell(hook(), slack())
    said = b"".join(got.body for got in there.got)
    assert b"Jane Roe" not in said
    assert b"[PERSON_" not in said, "not even what leaves, unless a channel is set to receive it"


def test_an_excerpt_is_redacted_again_and_in_the_log_before_it_leaves(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell
) -> None:
    seen: list[str] = []

    def redact(text: str) -> str:
        seen.append(text)
        assert "notification.excerpt" not in desk.log()
        return text.replace("4242", "[CARD]")

    body = json.dumps({"model": "m", "input": [{"role": "user", "content": "pay 4242\nto \u202eeve " + "x" * 900}]})
    desk.hold(body=body.encode())
    tell(hook(excerpts=True), redact=redact)
    assert seen[0].startswith("pay 4242")
    [got] = there.got
    assert got.json["data"]["excerpt"].startswith("pay [CARD] to [U+202E RLO]eve x")
    assert len(got.json["data"]["excerpt"]) == 400
    assert desk.log().count("notification.excerpt") == 1


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"not json", b'{"input": "' + b"x" * 70_000 + b'"}', b"[" * 50_000, b"{}"]
)
def test_what_cannot_be_read_whole_has_no_excerpt(
    desk: Desk, there: Counterpart, hook: Make, tell: Tell, body: bytes
) -> None:
    desk.hold(body=body)
    tell(hook(excerpts=True))
    assert "excerpt" not in there.got[0].json["data"]
    assert "notification.excerpt" not in desk.log()


def test_a_worker_that_runs_tells_within_moments_and_stops_when_asked(
    desk: Desk, there: Counterpart, hook: Make
) -> None:
    async def running() -> None:
        worker = Worker(desk.store, desk.vault, desk.approvals, [hook()], TENANT, str)
        task = asyncio.create_task(worker.run())
        await asyncio.to_thread(desk.hold)
        await asyncio.to_thread(there.wait, lambda: there.got)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(running())
    assert types(there) == ["approval.pending"]
