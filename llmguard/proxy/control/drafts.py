"""Drafts: what is wrong with a policy as somebody wrote it, what it would loosen, and the policies of before.

It looks, and puts nothing in force. A draft is text until it is proposed.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from llmguard import identity
from llmguard.approvals import rules
from llmguard.approvals.rules import MAX_SOURCE
from llmguard.config import Settings
from llmguard.errors import ConfigError, NotAllowed, NotFound
from llmguard.identity import Person
from llmguard.policy import Policy, document
from llmguard.policy.check import Report, check
from llmguard.policy.loosening import compared
from llmguard.policy.vocabulary import Vocabulary
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, as_json, text, word
from llmguard.proxy.control.schemas import BOOL, HEX, INTEGER, STRING, TIME, maybe, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.store import Transaction

SAMPLES = 1000
"""Made-up calls that a draft is tried with."""
VERSIONS = 50
_DRAFT = Fields(
    {"source": text(MAX_SOURCE, "a policy as TOML, with its tests; the configuration's, if it is not said")}
)
DRAFT = Fields(_DRAFT.schemas, frozenset({"source"}), most=6 * MAX_SOURCE)
_CHECKED = record(
    source={**STRING, "description": "TOML; empty for rules that stand in the configuration itself"},
    version=maybe(HEX),
    policy=maybe({"type": "object"}),
    against=HEX,
    problems=several(record(level=word("error", "warning"), about=STRING, line=INTEGER, text=STRING)),
    tests=several(record(name=STRING, passed=BOOL, expect=STRING, verdict=STRING, rule=STRING)),
    loosens={**several(STRING), "description": "what it would let through, in words, against the policy in force"},
)
_VERSION = record(version=HEX, created=TIME, current=BOOL)


@dataclass(frozen=True, slots=True)
class _Written:
    """``problem``: why it cannot even be read."""

    source: str
    document: dict[str, Any]
    problem: str = ""


class DraftDesk:
    """Endpoints of drafts and former policies."""

    def __init__(self, units: Units, settings: Settings) -> None:
        self._units = units
        self._settings = settings
        self._free = asyncio.Semaphore(1)  # calls on their way come first
        self._vocabulary: Vocabulary | None = None

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/policy/check",
                self.check,
                "What is wrong with a policy, how its tests end, and what it would loosen. Nothing is changed by it.",
                {200: _CHECKED},
                body=DRAFT,
            ),
            Endpoint(
                "GET",
                "/policy/versions",
                self.versions,
                f"The newest {VERSIONS} policies that are or were in force here.",
                {200: record(versions=several(_VERSION))},
            ),
            Endpoint(
                "GET",
                "/policy/versions/{version}",
                self.version,
                "One of them.",
                {200: record(version=HEX, policy={"type": "object"})},
            ),
        )

    async def check(self, request: Request) -> Response:
        body = await http.form(request, DRAFT)

        def work(tx: Transaction, who: Person) -> tuple[str | None, dict[str, int]]:
            if not who.groups:
                raise NotAllowed("policies are tried by people of a group")
            people = identity.people(tx, self._units.vault, who.tenant)
            members = Counter(group for person in people if person.active for group in person.groups)
            return rules.in_force(tx, self._units.vault, who.tenant), dict(members)

        source, members = await self._units.look(request, work)
        async with self._free:
            return http.json(200, await asyncio.to_thread(self._checked, body.get("source"), source, members))

    def _checked(self, draft: str | None, in_force: str | None, members: dict[str, int]) -> bytes:
        written = self._configured() if draft is None else _parsed(draft)
        against = rules.parsed(in_force) if in_force else document.configured(self._settings)
        told: dict[str, Any] = {"source": written.source, "against": against.version, "version": None, "policy": None}
        if written.problem:
            problem = {"level": "error", "about": "policy", "line": 0, "text": written.problem}
            return as_json({**told, "problems": [problem], "tests": [], "loosens": []})
        self._vocabulary = self._vocabulary or Vocabulary.of(self._settings)
        report = check(written.document, self._vocabulary, text=written.source, members=members, count=SAMPLES)
        told |= {"problems": [asdict(p) for p in report.problems], "tests": _tests(report)}
        policy = report.policy
        if policy is None:
            return as_json({**told, "loosens": []})
        loosens = () if policy.version == against.version else _loosened(against.source, policy.source)
        return as_json({**told, "version": policy.version, "policy": policy.document, "loosens": loosens})

    def _configured(self) -> _Written:
        try:
            source, values = document.written(self._settings)
        except ConfigError as e:
            return _Written("", {}, e.message)
        return _Written(source, values)

    async def versions(self, request: Request) -> Response:
        http.query(request)

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            current = rules.current(tx, who.tenant)
            sql = "SELECT version, created FROM policy_versions WHERE tenant = ? ORDER BY created DESC LIMIT ?"
            found = tx.all(sql, who.tenant, VERSIONS)
            listed = [
                {"version": r["version"], "created": r["created"], "current": r["version"] == current} for r in found
            ]
            return {"versions": listed}

        return http.json(200, await self._units.show(request, work))

    async def version(self, request: Request) -> Response:
        http.query(request)
        named = request.path_params["version"]
        if len(named) > 64:
            raise NotFound("no policy of this version was in force here")

        def work(tx: Transaction, who: Person) -> dict[str, Any]:
            found = rules.version(tx, self._units.vault, who.tenant, named)
            return {"version": found.version, "policy": found.document}

        return http.json(200, await self._units.show(request, work))


def _parsed(draft: str) -> _Written:
    try:
        return _Written(draft, document.parsed("the draft", draft))
    except ConfigError as e:
        return _Written(draft, {}, e.message)


def _tests(report: Report) -> list[dict[str, Any]]:
    return [
        {"name": r.case.name, "passed": r.passed, "expect": r.case.expect, "verdict": r.said[0], "rule": r.said[1]}
        for r in report.results
    ]


@lru_cache(maxsize=16)
def _loosened(old: str, new: str) -> tuple[str, ...]:
    """By the two documents: a draft that is looked at again costs nothing."""
    return tuple(compared(Policy.of(json.loads(old)), Policy.of(json.loads(new)), count=SAMPLES).told())
