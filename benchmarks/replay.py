"""Replay: what deciding 100,000 kept calls anew costs, and what keeping a call costs when it is decided.

Calls are made from a seed as a team's week may look: most of them clean, some with a few findings, some uploads with
hundreds. They are read from a real database, a page at a time, on one core, as the control plane does it.
"""

from __future__ import annotations

import random
import resource
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from benchmarks.report import Row, Tables, timed
from llmguard.approvals.history import needs
from llmguard.effects import Record
from llmguard.facts import Facts, Found
from llmguard.model import Body, Call, Destination, Operation, Principal, new_id
from llmguard.policy import Policy
from llmguard.policy.replay import replay
from llmguard.store import Store, Transaction, calls

PACKAGES = ("llmguard", "cel-expr-python")
CALLS = 100_000
BATCH = 100
"""Calls that one unit of work keeps while keeping is timed."""
START = 1_800_000_000_000
WEEK = 7 * 86_400_000
_TYPES = {
    "EMAIL": ("pii", "medium"),
    "PERSON": ("pii", "medium"),
    "PHONE": ("pii", "medium"),
    "IP_ADDRESS": ("pii", "low"),
    "CREDIT_CARD": ("pii", "high"),
    "API_KEY": ("secret", "critical"),
    "ADDRESS": ("pii", "medium"),
    "DATE_OF_BIRTH": ("pii", "medium"),
}
_KINDS = (
    ("chat.completions.create", "inference", 0.72),
    ("responses.create", "inference", 0.14),
    ("embeddings.create", "inference", 0.08),
    ("files.create", "stored", 0.03),
    ("fine_tuning.jobs.create", "training", 0.02),
    ("images.generate", "inference", 0.01),
)
TENANT = "default"
_MORE = {
    "name": "held-cards",
    "when": 'findings.exists(f, f.type == "CREDIT_CARD") && principal.name != "billing"',
    "verdict": "require_approval",
}
_AT_NIGHT = {"name": "at-night", "when": "time.hour < 6 && risk.inherent >= 10", "verdict": "require_approval"}


def run(options: Namespace) -> Tables:
    """Tables by title."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "llmguard.db")
        try:
            took = fill(store, Policy(), CALLS)
            replays = list(_replays(store))
        finally:
            store.close()
    return {f"{took:,} kept calls decided anew": replays, "what keeping a call costs": list(_keeping(options.seconds))}


def others() -> dict[str, Policy]:
    """Policies to compare the shipped one with."""
    rules = list(Policy().document["rules"])
    many = [
        {"name": f"n{i}", "when": f'principal.name == "nobody-{i}" && risk.residual > {i % 90}', "verdict": "block"}
        for i in range(300)
    ]
    return {
        "the shipped rules": Policy(),
        "one rule more": Policy([_MORE, *rules]),
        "a rule that reads the time": Policy([_AT_NIGHT, *rules]),
        "other weights": Policy(rules, weights={"scale": 50.0}),
        "other styles": Policy(rules, styles={"pii": "mask"}),
        "300 rules more": Policy([*many, *rules]),
    }


def _replays(store: Store) -> Iterator[Row]:
    old = Policy()
    for name, new in others().items():
        start = process_time()
        report = store.read(lambda tx, new=new: replay(calls.since(tx, TENANT, START), old, new, needs))  # type: ignore[misc]
        took = process_time() - start
        yield {
            "compared with": name,
            "calls": report.calls,
            "CPU s": took,
            "µs a call": took / report.calls * 1e6,
            "newly held": report.effects.get("newly_held", 0),
            "newly freed": report.effects.get("newly_freed", 0),
            "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def fill(store: Store, policy: Policy, most: int = CALLS) -> int:
    """Keeps that many calls, decided by ``policy``; how many."""
    made = made_calls(random.Random(8), most)
    while page := [record for _, record in zip(range(1000), made, strict=False)]:

        def work(tx: Transaction, page: list[Any] = page) -> None:
            for call, facts in page:
                risk = policy.risk(facts)
                calls.keep(tx, call, Record(facts, policy.decide(facts, risk), risk))

        store.transact(work)
    return most


def made_calls(drawn: random.Random, most: int) -> Iterator[tuple[Call, Facts]]:
    """Calls over a week, with what is known of them."""
    for i in range(most):
        moment = START + WEEK * i // most
        name, kind, _ = drawn.choices(_KINDS, [share for *_, share in _KINDS])[0]
        size = int(drawn.lognormvariate(7.5, 1.2)) + 50
        many = {"inference": (0, 0, 0, 0, 1, 2, 4, 9), "stored": (0, 5, 40), "training": (20, 80, 300)}[kind]
        principal = f"key:{drawn.randrange(40):02}"
        facts = Facts(
            operation=name,
            kind=kind,  # type: ignore[arg-type]
            trust="public",
            found=tuple(_found(drawn, drawn.choice(many))),
            unscanned=("image",) if drawn.random() < 0.01 else ("names",) if drawn.random() < 0.01 else (),
            rendered=name == "images.generate",
            size=size + 400,
            characters=size,
            principal=principal,
            principal_name="billing" if principal.endswith("7") else "app",
            human="" if principal.endswith("3") else "ann@example.com",
            destination="openai",
            received=moment,
        )
        yield call(facts, drawn), facts


def _found(drawn: random.Random, many: int) -> Iterator[Found]:
    for _ in range(many):
        type_ = drawn.choice(list(_TYPES))
        category, severity = _TYPES[type_]
        identity = f"{drawn.getrandbits(256):064x}"
        confidence, row = drawn.choice((0.6, 0.85) if category == "pii" else (1.0,)), drawn.randrange(30)
        yield Found(
            type_,
            category,  # type: ignore[arg-type]
            severity,  # type: ignore[arg-type]
            confidence,
            redactable=drawn.random() > 0.003,
            identity=identity,
            record=row // 3,
            row=row,
        )


def call(facts: Facts, drawn: random.Random) -> Call:
    """A call that facts are kept under."""
    id_ = new_id(facts.received)[:10] + "".join(drawn.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=16))
    principal = Principal(facts.principal, TENANT, "service", facts.principal_name, facts.human or None)
    operation = Operation(facts.operation, "POST", "/chat/completions", facts.kind)
    to = Destination(facts.destination, "https://api.example/v1", facts.trust)
    return Call(id_, principal, operation, to, "POST", "/chat/completions", "", (), Body("empty", b"", ""), "", 0)


# --------------------------------------------------------------------------- what keeping costs


def _keeping(seconds: float) -> Iterator[Row]:
    drawn, policy = random.Random(8), Policy()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "llmguard.db")
        try:
            for many in (0, 4, 20, 100):
                yield _kept(store, policy, drawn, many, seconds)
        finally:
            store.close()


def _kept(store: Store, policy: Policy, drawn: random.Random, many: int, seconds: float) -> Mapping[str, Any]:
    each: list[float] = []
    facts = Facts("o", "inference", "public", characters=2000, received=START)
    for _ in range(max(3, int(10 * seconds))):
        made = []
        for _ in range(BATCH):
            facts = replace(facts, found=tuple(_found(drawn, many)))
            risk = policy.risk(facts)
            made.append((call(facts, drawn), Record(facts, policy.decide(facts, risk), risk)))

        def keep(tx: Transaction, made: list[Any] = made) -> float:
            start = perf_counter()
            for one, record in made:
                calls.keep(tx, one, record)
            return (perf_counter() - start) / BATCH * 1e6

        each.append(store.transact(keep))
    return {
        "findings": many,
        "encode µs": timed(facts.encode, seconds / 4)["p50_us"],
        "bytes": len(facts.encode()),
        "keep µs (JSON, rows, index)": median(each),
        "least µs": min(each),
        "rows": 1 + len(facts.identities),
    }
