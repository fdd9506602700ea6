"""The control plane keeps to its own document, whoever asks and whatever they send (schemathesis).

``CASES=1000 pytest tests/proxy/control/test_contract.py --timeout=0`` asks that often of each operation.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from llmguard import audit
from llmguard.approvals import evidence
from llmguard.model import Approval
from tests.desks import ANN, BO, CY, Desk, Plane

CASES = int(os.environ.get("CASES", "6"))
STRANGER = "eve@example.com"
WITHOUT_SESSION = {
    "openapi.json",
    "setup",
    "slack",
    "login",
    "login/providers",
    "login/start",
    "login/callback/{provider}",
}
checks.load_all_checks()
_CHECKS = checks.CHECKS.get_by_names(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
        *("response_schema_conformance", "negative_data_rejection", "unsupported_method"),
    ]
)


def in_each_state(desk: Desk) -> list[Approval]:
    """Approvals in every state that people see."""
    made: dict[str, Approval] = {}

    def held(name: str, **more: Any) -> Approval:
        desk.now += 1
        made[name] = desk.hold(key=name, groups=(("reviewers", 2),), break_glass="reviewers", **more)
        return made[name]

    for name in ("pending", "pending too", "cancelled", "approved", "denied", "changes", "executing", "executed"):
        held(name)
    for name in ("approved", "executing", "executed"):
        for who in (BO, CY):
            desk.vote(made[name], who)
    desk.vote(made["denied"], BO, "deny")
    desk.vote(made["changes"], BO, "request_changes", reason="no", proposal=b'{"input": "x"}')
    for name in ("executing", "executed"):
        desk.claim(made[name])
    a = made["executed"]
    desk.store.transact(lambda tx: desk.approvals.settle(tx, a.tenant, a.id, "EXECUTED"))
    return [desk.get(a) for a in made.values()]


def operations(plane: Plane) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{plane.url}/guard/v1/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def test_every_answer_is_as_the_document_says(plane: Plane) -> None:
    desk = plane.desk
    desk.put(STRANGER)
    desk.approvals._max_waiting = 10**6
    approvals = in_each_state(desk)
    audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault))
    sessions = [desk.session(who) for who in (ANN, BO, STRANGER)]
    for operation in operations(plane):
        if operation.path == "/guard/v1/logout":
            continue  # it would end the session

        @settings(
            max_examples=CASES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(
            case=operation.as_strategy(),
            known=st.sampled_from(approvals),
            who=st.sampled_from(sessions),
            real=st.booleans(),
        )
        def answers(case: Any, known: Approval, who: str, real: bool) -> None:
            if real and "{id}" in case.path:
                case.path_parameters["id"] = known.id
                if isinstance(case.body, dict) and "digest" in case.body:
                    case.body["digest"] = known.egress_digest
            for slow in {"wait", "timeout"} & set(case.query or {}):
                case.query[slow] = 0
            case.call_and_validate(headers={"authorization": f"Bearer {who}"}, checks=_CHECKS)

        answers()


def test_nothing_is_told_without_a_session(plane: Plane) -> None:
    approval = plane.desk.hold()
    for operation in operations(plane):
        if operation.definition.raw["security"]:
            path = operation.path.replace("{id}", approval.id).replace("{email}", BO).replace("{index}", "0")
            for headers in ({}, {"authorization": "Bearer lgs_wrong"}, {"authorization": "Basic eDp5"}):
                answer = plane.call(operation.method, path, headers=headers, content=b"[")
                assert answer.status_code == 401, operation.path
                assert answer.headers["www-authenticate"] == "Bearer"
        else:
            assert operation.path.removeprefix("/guard/v1/") in WITHOUT_SESSION
