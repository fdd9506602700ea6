"""The state machine against a small model of it, whatever people, callers, time and crashes do in whatever order.

``World`` says in plain Python what the design says of approvals: no rows, no seals, no SQL. Every step is done to both,
and afterwards states, votes, times and places are the same, the log tells the same story, and nothing was sent twice.
Two steps at once must end as one of their two orders would.

``LLMGUARD_DEEP=1 pytest tests/approvals/test_model.py`` looks a hundred times longer.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from llmguard import identity
from llmguard.approvals import TRANSITIONS, Approvals, delegations, record, standing
from llmguard.errors import LLMGuardError
from llmguard.identity import Person
from llmguard.model import Approval, Decision, Egress, Hold, Principal, Requirement
from tests.desks import ANN, BO, CY, DEE, START, TENANT, Desk, decision

MINUTE = 60_000
ROOM = 3
"""Approvals of one caller that may wait."""
DEAD = f"999999999:{'0' * 26}"
"""The owner of an execution whose process is gone."""
RULES: dict[str, dict[str, Any]] = {
    "one": {},
    "two": {"quorum": 2},
    "both": {"groups": (("reviewers", 1), ("security", 1))},
    "fresh": {"fresh": 300},
    "urgent": {"escalate_after": 600, "escalate_to": "security", "remind_after": 300, "break_glass": "security"},
    "short": {"expires_in": 600, "spend_in": 7200},
}
STAFF = ((ANN, "reviewers", "admins"), (BO, "reviewers"), (CY, "reviewers"), (DEE, "security"))
CALLERS = {"key:1": ANN, "key:2": None}
WAITING = ("PENDING", "APPROVED", "CHANGES_REQUESTED")
TOLD = {"DENIED": 10, "EXPIRED": 10, "INDETERMINATE": 10, "EXECUTED": 20}
"""Minutes for which a retry hears how it ended."""


# --------------------------------------------------------------------------- the model


class No(Exception):
    """The model refuses, and nothing has happened."""


@dataclass
class Need:
    """What an approval needs."""

    groups: dict[str, int]
    decide: int
    spend: int
    fresh: int
    escalate_after: int
    escalate_to: str
    break_glass: str

    @classmethod
    def of(cls, asked: Requirement) -> Need:
        times = asked.expires_in * 1000, asked.spend_in * 1000, asked.fresh * 1000, asked.escalate_after * 1000
        return cls(dict(asked.groups), *times, asked.escalate_to, asked.break_glass)

    def places(self) -> list[str]:
        return [name for name, count in self.groups.items() for _ in range(count)]

    def for_two(self) -> Need:
        if sum(self.groups.values()) >= 2:
            return self
        first = next(iter(self.groups))
        return replace(self, groups={**self.groups, first: self.groups[first] + 1})

    def with_(self, other: Need) -> Need:
        most = {g: max(self.groups.get(g, 0), other.groups.get(g, 0)) for g in {**self.groups, **other.groups}}
        limits = [f for f in (self.fresh, other.fresh) if f]
        return replace(self, groups=most, fresh=min(limits, default=0))


@dataclass
class Item:
    """One approval."""

    id: str
    subject: str
    principal: str
    human: str | None
    barred: set[str]
    key: str
    need: Need
    created: int
    expires: int
    state: str = "PENDING"
    version: int = 1
    updated: int = 0
    returned: int = 0
    votes: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Person → verdict, when, and when the person had logged in."""
    standing: str = ""
    escalated: bool = False
    alive: bool = True
    effect: Any = None
    """What an approved change does."""


@dataclass
class Lent:
    giver: str
    receiver: str
    groups: set[str]
    starts: int
    ends: int
    over: bool = False


@dataclass
class Given:
    """A standing grant."""

    approval: str
    principal: str
    ends: int
    over: bool = False


@dataclass
class World:
    """Everything that decides, at one moment."""

    now: int = START
    people: dict[str, tuple[set[str], bool]] = field(default_factory=dict)
    lent: dict[str, Lent] = field(default_factory=dict)
    given: dict[str, Given] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    # ----------------------------------------------------------------- who counts

    def active(self, who: str) -> bool:
        return who in self.people and self.people[who][1]

    def borrowed(self, who: str, shut: set[str]) -> dict[str, set[str]]:
        """What others have lent somebody, by giver."""
        loans: dict[str, set[str]] = {}
        for loan in self.lent.values():
            runs = not loan.over and loan.starts <= self.now < loan.ends
            if runs and loan.receiver == who and loan.giver not in shut and self.active(loan.giver):
                loans.setdefault(loan.giver, set()).update(loan.groups & self.people[loan.giver][0])
        return loans

    def may_vote(self, item: Item, who: str) -> bool:
        if who in item.barred or not self.active(who):
            return False
        able = {*item.need.groups, *({item.need.escalate_to} if item.escalated else ())} - {""}
        own = self.people[who][0].union(*self.borrowed(who, item.barred).values())
        return bool(own & able)

    def supporters(self, item: Item, need: Need, shut: set[str]) -> list[set[str]]:
        """The groups that each person stands for whose approval counts."""
        votes = item.votes
        if item.standing and not any(v == "approve" for v, _, _ in votes.values()):
            grant = self.given[item.standing]
            votes = {} if grant.over or grant.ends <= self.now else self.items[grant.approval].votes
        voters = [
            who
            for who, (verdict, at, login) in sorted(votes.items(), key=lambda v: (v[1][1], v[0]))
            if verdict == "approve"
            and not (need.fresh and at - login > need.fresh)
            and self.active(who)
            and who not in shut
        ]
        used: set[str] = set()  # whose place somebody took already
        voices = []
        for who in voters:
            groups = set(self.people[who][0])
            for giver, loan in sorted(self.borrowed(who, shut | set(voters) | used).items()):
                if loan - groups:
                    groups |= loan
                    used.add(giver)
            voices.append(groups)
        return voices

    def enough(self, item: Item, need: Need | None = None, human: str | None = None) -> bool:
        need, shut = need or item.need, item.barred | ({human} if human else set())
        for who, (verdict, _, _) in item.votes.items():
            may = self.active(who) and who not in shut and item.need.break_glass in self.people[who][0]
            if may and verdict == "break_glass":
                return True
        stand_in = need.escalate_to if item.escalated else ""
        return seated(need.places(), self.supporters(item, need, shut), stand_in)

    def possible(self, need: Need, shut: set[str]) -> bool:
        others = [groups for who, (groups, active) in self.people.items() if active and who not in shut]
        return seated(need.places(), others, need.escalate_to)

    # ----------------------------------------------------------------- steps

    def move(self, item: Item, state: str) -> None:
        assert state in TRANSITIONS.get(item.state, ()), f"the model goes from {item.state} to {state}"  # type: ignore[call-overload]
        unspent = (item.state, state) == ("EXECUTING", "APPROVED")
        item.state, item.version, item.updated = state, item.version + 1, self.now
        if unspent:
            item.returned += 1
        elif state == "APPROVED":
            item.expires = self.now + item.need.spend
        elif state == "PENDING":
            item.expires = item.created + item.need.decide

    def step(self, item: Item, state: str) -> None:
        if state not in TRANSITIONS.get(item.state, ()):  # type: ignore[call-overload]
            raise No
        self.move(item, state)

    def review(self, item: Item, policy: str = "", rule_: str = "one", human: str | None = None) -> None:
        if item.state == "EXECUTING" and not item.alive:
            return self.move(item, "INDETERMINATE")
        if item.state == "APPROVED" and item.expires > self.now:
            need = self.anew(item, policy, rule_)
            if policy == "block":
                self.move(item, "PENDING")
            elif not self.enough(item, need, human):
                item.need = need
                self.move(item, "PENDING")
        if item.state in WAITING and item.expires <= self.now:
            return self.move(item, "EXPIRED")
        if item.state == "PENDING" and policy == "block":
            self.move(item, "DENIED")
        return None

    def anew(self, item: Item, policy: str, rule_: str) -> Need:
        """What the policy wants of it by now: never less than before."""
        if policy not in ("same", "stricter"):
            return item.need
        wanted = Need.of(asked(policy, rule_))
        return item.need.with_(wanted if item.human else wanted.for_two())

    def room(self, principal: str) -> None:
        if sum(i.principal == principal and i.state in WAITING for i in self.items.values()) >= ROOM:
            raise No

    def newest(self, principal: str, key: str) -> Item | None:
        same = [i for i in self.items.values() if (i.principal, i.key) == (principal, key)]
        return max(same, key=lambda i: (i.created, i.id), default=None)

    def hold(self, principal: str, key: str, rule_: str, policy: str, revises: str, born: Approval | None) -> None:
        last = self.newest(principal, key)
        if (
            last is not None
            and last.id != revises
            and (last.state in (*WAITING, "EXECUTING") or last.updated > self.now - TOLD.get(last.state, 0) * MINUTE)
        ):
            return self.review(last, policy, rule_)
        former = self.items[revises] if revises else None
        if former is not None:
            self.review(former)
            if former.principal != principal or former.subject != "call" or former.state != "CHANGES_REQUESTED":
                raise No
        need = Need.of(asked(policy, rule_))
        human = CALLERS[principal]
        item = self.new("call", principal, human, {human} - {None}, key, need if human else need.for_two(), born)
        grants = {g: v.ends for g, v in self.given.items() if v.principal == principal and self.covers(v)}
        longest = {g for g, ends in grants.items() if ends == max(grants.values())}
        if longest:
            item.standing = born.standing if born is not None and born.standing in longest else min(longest)
        if not (item.standing and self.enough(item)) and not self.possible(item.need, item.barred):
            raise No
        if former is not None:
            self.move(former, "SUPERSEDED")
        if item.standing and self.enough(item):
            self.move(item, "APPROVED")
        return None

    def covers(self, grant: Given) -> bool:
        return not grant.over and grant.ends > self.now

    def new(
        self,
        subject: str,
        principal: str,
        human: str | None,
        barred: Any,
        key: str,
        need: Need,
        born: Any,
        effect: Any = None,
    ) -> Item:
        self.room(principal)
        id_ = born.id if born is not None else f"unborn {len(self.items)}"
        ends = self.now + need.decide
        item = Item(id_, subject, principal, human, set(barred), key, need, self.now, ends, effect=effect)
        self.items[id_] = item
        return item

    def propose(self, by: str, need: Need, gains: set[Any], effect: Any, born: Approval | None) -> None:
        barred = {by, *gains} - {None}
        if not self.possible(need, barred):
            raise No
        self.new("change", f"person:{by}", by, barred, "", need, born, effect)

    def vote(
        self, id_: str, who: str, verdict: str, seen: bool, version: int | None, age: int, born: Approval | None
    ) -> None:
        item = self.items[id_]
        if not self.active(who):
            raise No
        self.review(item)
        if verdict == "break_glass":
            fits = bool(item.need.break_glass) and item.need.break_glass in self.people[who][0]
            fits = fits and who not in item.barred
        else:
            fits = self.may_vote(item, who)
        stale = item.need.fresh and verdict in ("approve", "break_glass") and age > item.need.fresh
        current = version is None or version == item.version
        if not fits or stale or not seen or not current or item.state != "PENDING" or who in item.votes:
            raise No
        item.votes[who] = (verdict, self.now, self.now - age)
        if verdict in ("deny", "request_changes"):
            return self.move(item, {"deny": "DENIED", "request_changes": "CHANGES_REQUESTED"}[verdict])
        if verdict == "approve" and not self.enough(item):
            return None
        self.move(item, "APPROVED")
        if verdict == "break_glass":
            need = Need(item.need.groups, 7 * 86400_000, 3600_000, 0, 0, "", "")
            self.new("review", f"person:{who}", who, {who, *item.barred}, f"review {id_}", need, born)
        if item.subject != "call":
            self.move(item, "EXECUTING")
            done = item.effect is None or item.effect(self, item)
            self.move(item, "EXECUTED" if done else "FAILED")
        return None

    def cancel(self, id_: str, who: str) -> None:
        item = self.items[id_]
        if not self.active(who) or who != item.human:
            raise No
        self.review(item)
        self.step(item, "CANCELLED")

    def revoke(self, id_: str, who: str) -> None:
        item = self.items[id_]
        if not self.active(who):
            raise No
        self.review(item)
        if not self.may_vote(item, who):
            raise No
        self.step(item, "REVOKED")

    def claim(self, id_: str, principal: str, human: str | None, policy: str, rule_: str, alive: bool) -> bool:
        item = self.items[id_]
        if item.principal != principal:
            raise No
        self.review(item, policy, rule_, human)
        if item.state != "APPROVED":
            return False
        self.move(item, "EXECUTING")
        item.alive = alive
        return True

    def settle(self, id_: str, state: str) -> None:
        item = self.items[id_]
        if item.state == "INDETERMINATE":
            return  # the log has it; the state stays
        if state == "APPROVED" and item.returned >= 5:
            state = "EXECUTED"
        if item.state != "EXECUTING":
            raise No
        self.move(item, state)

    def withdraw(self, id_: str, principal: str) -> None:
        item = self.items[id_]
        self.review(item)
        if item.state in WAITING and item.principal == principal:
            self.move(item, "CANCELLED")

    def sweep(self) -> None:
        for item in self.items.values():
            if item.state == "EXECUTING" and not item.alive:
                self.move(item, "INDETERMINATE")
            elif item.state in WAITING and item.expires <= self.now:
                self.move(item, "EXPIRED")
            elif item.state == "PENDING" and item.need.escalate_to and not item.escalated:
                due = self.now - item.created >= item.need.escalate_after
                if due:
                    item.escalated, item.version, item.updated = True, item.version + 1, self.now


def seated(places: list[str], voices: list[set[str]], stand_in: str) -> bool:
    """Whether each place can have a person of its own."""
    if not places:
        return True
    fits = [i for i, groups in enumerate(voices) if groups & {places[0], stand_in or places[0]}]
    return any(seated(places[1:], voices[:i] + voices[i + 1 :], stand_in) for i in fits)


def asked(policy: str, rule_: str) -> Requirement:
    made = decision(**RULES["both"] if policy == "stricter" else RULES[rule_]).requirement
    assert made is not None
    return made


def decided(policy: str, rule_: str) -> Decision:
    if policy in ("allow", "block"):
        return Decision(policy, policy, "policy-2", "why")  # type: ignore[arg-type]
    return Decision("require_approval", rule_, f"policy-{policy}", "why", asked(policy, rule_))


# --------------------------------------------------------------------------- both


@dataclass
class Step:
    """One thing that somebody does, to the guard and to the model. ``model`` gets the approval that the guard made."""

    real: Callable[[Any], Any]
    model: Callable[[World, Approval | None], Any]


class Life(RuleBasedStateMachine):
    """Approvals in the hands of everybody at once."""

    folder: Path
    count = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).count += 1
        shutil.copytree(self.folder / "staffed", self.folder / str(self.count))
        self.desk = Desk(self.folder / str(self.count))
        self.desk.approvals = Approvals(self.desk.vault, max_waiting=ROOM)
        self.world = World()
        self.policy = "same"
        self.sent: Counter[str] = Counter()
        self.rules: dict[str, str] = {}
        self.told: dict[str, tuple[str, int]] = {}
        self.messages: Counter[tuple[str, str]] = Counter()
        self.read = 0
        self.refusal = ""

    @initialize(one=st.sampled_from([*RULES]), other=st.sampled_from([*RULES]), far=st.integers(0, 3))
    def begin(self, one: str, other: str, far: int) -> None:
        """Two calls that wait, are approved, are under way, or returned unspent."""
        for who, *groups in STAFF:
            self.world.people[who] = (set(groups), True)
        self.hold("key:1", "a", one, None)
        self.hold("key:2", "a", other, None)
        for id_ in sorted(self.world.items) if far else ():
            for who in (BO, CY, DEE):
                self.done(self.voting(id_, who, "approve"))
            for step in [self.claiming(id_, False, None, True), self.settling(id_, "APPROVED")][: far - 1]:
                self.sent[id_] += isinstance(self.done(step), Egress)
                self.sent[id_] -= self.world.items[id_].returned

    # ----------------------------------------------------------------- doing

    def done(self, step: Step) -> Any:
        """Does a step to both. The guard refuses exactly where the model does, and then nothing has happened."""
        real = self._really(step)
        made = [a for a in self._all() if a.id not in self.world.items]
        after, modelled = self._modelled(self.world, step, made[0] if made else None)
        assert (real is None) == (modelled is None), f"guard: {real or self.refusal!r}, model: {modelled!r}"
        self.world = after
        return real

    def _really(self, step: Step) -> Any:
        try:
            return self.desk.store.transact(step.real) or True
        except LLMGuardError as e:
            self.refusal = repr(e)
            return None
        finally:
            self.world.now = max(self.world.now, self.desk.now)

    def _modelled(self, world: World, step: Step, made: Approval | None) -> tuple[World, Any]:
        trial = deepcopy(world)
        try:
            result = step.model(trial, made)
        except No:
            return world, None
        return trial, True if result is None else result

    def _all(self) -> list[Approval]:
        def work(tx: Any) -> list[Approval]:
            rows = tx.all("SELECT * FROM approvals ORDER BY id")
            assert all(record.genuine(self.desk.vault, row) for row in rows)
            return [record.from_row(tx, self.desk.vault, row) for row in rows]

        return self.desk.store.read(work)

    def person(self, tx: Any, who: str) -> Person:
        found = identity.person(tx, self.desk.vault, TENANT, who)
        assert found
        return found

    def some(self, which: int, *states: str, calls: bool = False) -> str:
        """An approval; 0 is the newest in one of these states, if there is any."""
        items = [i for i in self.world.items.values() if i.subject == "call" or not calls]
        order = sorted(items, key=lambda i: (i.state in states, i.id), reverse=True)
        return order[which % len(order)].id

    def principal(self, name: str, human: str | None = "") -> Principal:
        return self.desk.principal(CALLERS[name] if human == "" else human, name)

    # ----------------------------------------------------------------- callers

    @rule(
        caller=st.sampled_from([*CALLERS]),
        key=st.sampled_from("ab"),
        name=st.sampled_from([*RULES]),
        revises=st.none() | st.integers(0, 5),
    )
    def hold(self, caller: str, key: str, name: str, revises: int | None) -> None:
        former = "" if revises is None else self.some(revises, "CHANGES_REQUESTED")
        policy = "stricter" if self.policy == "stricter" else "same"
        asks = self.desk.request(self.principal(caller), key=key)
        made = replace(asks, decision=decided(policy, name), kind="inference", revises=former)
        self.held(made, lambda w, b: w.hold(caller, key, name, policy, former, b))
        self.rules |= {id_: name for id_ in self.world.items if id_ not in self.rules}

    def held(self, asks: Hold, model: Any) -> Any:
        return self.done(Step(lambda tx: self.desk.approvals.hold(tx, asks), model))

    @rule(
        which=st.integers(0, 3),
        stranger=st.sampled_from([False] * 4 + [True]),
        turned_out=st.sampled_from([None, None, None, BO]),
        alive=st.booleans(),
    )
    def claim(self, which: int, stranger: bool, turned_out: str | None, alive: bool) -> None:
        """``turned_out``: who is behind the key by now. ``alive``: whether the process lives on afterwards."""
        id_ = self.some(which, "APPROVED", calls=True)
        step = self.claiming(id_, stranger, turned_out, alive)
        if isinstance(self.done(step), Egress):
            self.sent[id_] += 1
            assert self.sent[id_] == 1, "sent twice"

    def claiming(self, id_: str, stranger: bool, turned_out: str | None, alive: bool) -> Step:
        policy, item, name = self.policy, self.world.items[id_], self.rules[id_]
        caller = next(c for c in CALLERS if (c == item.principal) is not stranger)
        human = turned_out if turned_out else CALLERS[caller]
        who, anew = self.principal(caller, human), decided(policy, name)
        owner = self.desk.owner if alive else DEAD

        def real(tx: Any) -> Any:
            return self.desk.approvals.claim(tx, TENANT, id_, who, anew, owner)

        return Step(real, lambda w, _: w.claim(id_, caller, human, policy, name, alive))

    @rule(which=st.integers(0, 3), state=st.sampled_from(["EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"]))
    def settle(self, which: int, state: Any) -> None:
        id_ = self.some(which, "EXECUTING")
        self.done(self.settling(id_, state))
        self.sent[id_] -= self.world.items[id_].state == "APPROVED" and self.sent[id_] > 0

    def settling(self, id_: str, state: Any) -> Step:
        return Step(lambda tx: self.desk.approvals.settle(tx, TENANT, id_, state), lambda w, _: w.settle(id_, state))

    @rule(which=st.integers(0, 3), caller=st.sampled_from([*CALLERS]))
    def hang_up(self, which: int, caller: str) -> None:
        id_, who = self.some(which, *WAITING, calls=True), self.principal(caller)
        self.done(
            Step(lambda tx: self.desk.approvals.withdraw(tx, TENANT, id_, who), lambda w, _: w.withdraw(id_, caller))
        )

    # ----------------------------------------------------------------- people

    @rule(
        which=st.integers(0, 3),
        who=st.sampled_from([ANN, BO, CY, DEE]),
        verdict=st.sampled_from(["approve"] * 6 + ["deny", "request_changes", "request_changes", "break_glass"]),
        odd=st.sampled_from([""] * 8 + ["other bytes", "old version", "replayed"]),
        age=st.sampled_from([0, 0, 10 * MINUTE]),
    )
    def vote(self, which: int, who: str, verdict: str, odd: str, age: int) -> None:
        """``odd``: what is wrong with it. ``age``: how long ago its person logged in."""
        step = self.voting(self.some(which, "PENDING"), who, verdict, odd, age)
        self.done(step)
        if odd == "replayed":
            self.done(step)

    def voting(self, id_: str, who: str, verdict: Any, odd: str = "", age: int = 0) -> Step:
        version = self.world.items[id_].version - 1 if odd == "old version" else None

        def real(tx: Any) -> Any:
            digest = "0" * 64 if odd == "other bytes" else record.load(tx, self.desk.vault, TENANT, id_).egress_digest
            person = Person(TENANT, who, (), True, 0)
            reason = "an emergency, for once"
            return self.desk.approvals.vote(
                tx, TENANT, id_, person, verdict, digest, reason, version, authenticated=tx.now - age
            )

        return Step(real, lambda w, b: w.vote(id_, who, verdict, odd != "other bytes", version, age, b))

    @rule(which=st.integers(0, 3), who=st.sampled_from([ANN, BO, CY, DEE]), name=st.sampled_from(["cancel", "revoke"]))
    def take_back(self, which: int, who: str, name: str) -> None:
        self.done(self.taking_back(self.some(which, *WAITING), who, name))

    def taking_back(self, id_: str, who: str, name: str) -> Step:
        person = Person(TENANT, who, (), True, 0)
        return Step(
            lambda tx: getattr(self.desk.approvals, name)(tx, TENANT, id_, person),
            lambda w, _: getattr(w, name)(id_, who),
        )

    @rule(
        who=st.sampled_from([BO, CY, DEE]),
        groups=st.sampled_from([("reviewers",), ("security",), ("reviewers", "security"), ()]),
        active=st.sampled_from([True, True, True, False]),
    )
    def move_person(self, who: str, groups: tuple[str, ...], active: bool) -> None:
        self.desk.put(who, *groups, active=active)
        kept = set(groups) if active else self.world.people[who][0]
        self.world.people[who] = (kept, active)
        self.world.now = max(self.world.now, self.desk.now)

    # ----------------------------------------------------------------- what two people change

    @rule(
        giver=st.sampled_from([ANN, BO, CY, DEE]),
        receiver=st.sampled_from([ANN, BO, CY, DEE]),
        starts=st.sampled_from([0, 0, 20]),
        voter=st.sampled_from([ANN, BO, CY]),
    )
    def lend(self, giver: str, receiver: str, starts: int, voter: str) -> None:
        """Somebody lets somebody else vote; a third may approve that at once."""
        name = f"loan {len(self.world.items)}"
        begins, ends = self.desk.now + starts * MINUTE, self.desk.now + 60 * MINUTE
        groups = tuple(self.world.people[giver][0] & {"reviewers", "security"})

        def real(tx: Any) -> Any:
            who = self.person(tx, giver)
            change = replace(delegations.asked(tx, who, receiver, groups, begins, ends), id=name)
            return self.desk.approvals.propose(tx, who, change)

        def effect(w: World, _: Item) -> bool:
            if ends <= w.now or not (w.active(giver) and w.active(receiver)):
                return False
            w.lent[name] = Lent(giver, receiver, set(groups), begins, ends)
            return True

        def model(w: World, born: Approval | None) -> None:
            if giver == receiver or not groups or ends <= w.now:
                raise No
            w.propose(giver, Need({"reviewers": 1}, 86400_000, 3600_000, 0, 0, "", ""), {receiver}, effect, born)

        self.decided_by(voter, Step(real, model))

    @rule(which=st.integers(0, 3), by=st.sampled_from([BO, CY, DEE]), voter=st.sampled_from([ANN, BO, CY]))
    def grant(self, which: int, by: str, voter: str) -> None:
        """Somebody asks that calls like this one go through for twenty minutes."""
        id_, name = self.some(which, calls=True), f"grant {len(self.world.items)}"
        caller = self.world.items[id_].principal

        def real(tx: Any) -> Any:
            like = record.load(tx, self.desk.vault, TENANT, id_)
            change = replace(standing.asked(like, tx.now, 1200), id=name)
            return self.desk.approvals.propose(tx, self.person(tx, by), change, human=like.human)

        def effect(w: World, item: Item) -> bool:
            w.given[name] = Given(item.id, caller, w.now + 20 * MINUTE)
            return True

        def model(w: World, born: Approval | None) -> None:
            like = w.items[id_]
            if like.subject != "call":
                raise No
            need = Need(dict(like.need.groups), 86400_000, 3600_000, 0, 0, "", "")
            w.propose(by, need, {like.human}, effect, born)

        self.decided_by(voter, Step(real, model))

    def decided_by(self, voter: str, step: Step) -> None:
        before = set(self.world.items)
        self.done(step)
        for id_ in set(self.world.items) - before:
            self.done(self.voting(id_, voter, "approve"))

    @rule(which=st.integers(0, 3))
    def end_loan_or_grant(self, which: int) -> None:
        both: dict[str, Any] = {**self.world.lent, **self.world.given}
        if not both:
            return
        name = sorted(both)[which % len(both)]
        room: Any = delegations if name in self.world.lent else standing

        def model(w: World, _: Any) -> None:
            where: dict[str, Any] = {**w.lent, **w.given}
            where[name].over = True

        boss = Person(TENANT, "boss@example.com", ("boss",), True, 0)
        self.done(Step(lambda tx: room.revoke(tx, self.desk.vault, boss, name), model))

    @rule(policy=st.sampled_from(["same", "same", "stricter", "allow", "block"]))
    def put_in_force(self, policy: str) -> None:
        self.policy = policy

    # ----------------------------------------------------------------- time

    @rule(minutes=st.sampled_from([1, 4, 9, 25]))
    def wait(self, minutes: int) -> None:
        self.desk.now += minutes * MINUTE

    @rule()
    def clock_is_set_back(self) -> None:
        self.desk.now = START

    @rule()
    def sweep(self) -> None:
        self.done(self.sweeping())

    def sweeping(self) -> Step:
        return Step(lambda tx: self.desk.approvals.sweep(tx), lambda w, _: w.sweep())

    # ----------------------------------------------------------------- two at once

    @rule(which=st.integers(0, 3), first=st.integers(0, 8), second=st.integers(0, 8))
    def at_once(self, which: int, first: int, second: int) -> None:
        """Two people, callers or the clock's hand in the same instant: it ends as one after the other would."""
        id_ = self.some(which, "APPROVED", "PENDING", "EXECUTING", calls=True)
        claim = self.claiming(id_, False, None, True)
        steps = [
            self.voting(id_, BO, "approve"),
            self.voting(id_, CY, "approve"),
            self.voting(id_, CY, "deny"),
            claim,
            claim,
            self.settling(id_, "EXECUTED"),
            self.settling(id_, "APPROVED"),
            self.taking_back(id_, ANN, "cancel"),
            self.taking_back(id_, BO, "revoke"),
        ]
        pair = [steps[first], steps[second]]
        results = self._together(pair)
        possible = []
        for order in ((0, 1), (1, 0)):
            world, answers = self.world, [None, None]
            for i in order:
                world, answers[i] = self._modelled(world, pair[i], None)
            possible.append((world, [a is None for a in answers]))
        fits = [w for w, refused in possible if refused == [r is None for r in results] and self._same(w)]
        assert fits, "neither order ends like this"
        self.sent[id_] += sum(isinstance(r, Egress) for r in results)
        self.sent[id_] -= fits[0].items[id_].returned - self.world.items[id_].returned
        assert self.sent[id_] <= 1, "sent twice"
        self.world = fits[0]

    def _together(self, pair: list[Step]) -> list[Any]:
        results: list[Any] = [None, None]
        barrier = threading.Barrier(2)

        def run(i: int) -> None:
            barrier.wait()
            results[i] = self._really(pair[i])

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    # ----------------------------------------------------------------- always

    @invariant()
    def all_of_it_holds(self) -> None:
        real = self._all()
        self.guard_and_model_agree(real)
        self.nobody_behind_a_request_counts(real)
        self.the_log_tells_the_same_story(real)

    def guard_and_model_agree(self, real: list[Approval]) -> None:
        for approval in real:
            assert self._shown(approval) == self._expected(self.world.items[approval.id])
        assert len(real) == len(self.world.items)

    def _same(self, world: World) -> bool:
        return all(self._shown(a) == self._expected(world.items[a.id]) for a in self._all())

    def _shown(self, a: Approval) -> dict[str, Any]:
        return {
            "state": a.state,
            "version": a.version,
            "expires": a.expires,
            "returned": a.returned,
            "groups": dict(a.requirement.groups),
            "fresh": a.requirement.fresh * 1000,
            "escalated": a.escalated is not None,
            "standing": a.standing,
            "votes": {v.human: v.verdict for v in a.votes},
            "barred": set(a.barred),
        }

    def _expected(self, i: Item) -> dict[str, Any]:
        return {
            "state": i.state,
            "version": i.version,
            "expires": i.expires,
            "returned": i.returned,
            "groups": i.need.groups,
            "fresh": i.need.fresh,
            "escalated": i.escalated,
            "standing": i.standing,
            "votes": {who: verdict for who, (verdict, _, _) in i.votes.items()},
            "barred": i.barred,
        }

    def nobody_behind_a_request_counts(self, real: list[Approval]) -> None:
        def work(tx: Any) -> list[tuple[str, ...]]:
            return [self.desk.approvals.supporters(tx, a) for a in real]

        for approval, counted in zip(real, self.desk.store.read(work), strict=True):
            assert not {*counted, *(v.human for v in approval.votes)} & set(approval.barred)

    def the_log_tells_the_same_story(self, real: list[Approval]) -> None:
        """Replayed, the log gives the states; each step is one of the table and one message."""
        rows = self.desk.store.read(
            lambda tx: tx.all("SELECT * FROM audit_entries WHERE idx >= ? ORDER BY idx", self.read)
        )
        for row in rows:
            self.read = row["idx"] + 1
            said = json.loads(row["leaf"])["details"]
            if row["kind"].startswith("approval.") and "from" in said:
                before, version = self.told[said["approval"]]
                assert said["from"] == before
                assert said["state"] in TRANSITIONS[said["from"]]
                assert said["version"] == version + 1
                self.told[said["approval"]] = (said["state"], said["version"])
                self.messages[(said["approval"], f"approval.{said['state'].lower()}")] += 1
            elif row["kind"] == "approval.held":
                self.told[said["approval"]] = ("PENDING", 1)
                self.messages[(said["approval"], "approval.pending")] += 1
            elif row["kind"] == "approval.escalated":
                state, version = self.told[said["approval"]]
                self.told[said["approval"]] = (state, version + 1)
        assert self.told == {a.id: (a.state, a.version) for a in real}
        also = ("approval.reminder", "approval.escalated", "approval.break_glass", "approval.vote")
        sent = self.desk.store.read(lambda tx: tx.all("SELECT approval, kind FROM outbox"))
        assert Counter((r["approval"], r["kind"]) for r in sent if r["kind"] not in also) == self.messages

    def teardown(self) -> None:
        self.desk.store.close()


DEEP = bool(os.environ.get("LLMGUARD_DEEP"))


@pytest.mark.timeout(1800)  # what it finds is made small before it is told
def test_the_guard_does_what_the_model_says(tmp_path: Path) -> None:
    staffed = Desk(tmp_path / "staffed")
    for who, *groups in STAFF:
        staffed.put(who, *groups)
    staffed.store.close()
    Life.folder = tmp_path
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=2000 if DEEP else 30,
            stateful_step_count=60 if DEEP else 30,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            derandomize=bool(os.environ.get("CI")),
            suppress_health_check=list(HealthCheck),
        ),
    )
