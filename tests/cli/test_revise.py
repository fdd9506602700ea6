"""A revision from the command line, through a whole guard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from llmguard.testing import LocalGuard
from tests.desks import ANN, BO, CY, Shell

HELD = ({"name": "all", "when": "size(findings) > 0", "verdict": "require_approval"},)
PATH = "/chat/completions"


def chat(*values: str) -> str:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": " and ".join(values)}]})


def test_the_human_behind_a_call_revises_it_and_the_call_joins(
    local_with: Callable[..., LocalGuard], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = local_with(rules=HELD, hold="ticket")
    shells = {}
    for who in (ANN, BO, CY):
        shells[who] = Shell(tmp_path / who, local.control_url, capsys)
        code = local.person(who)
        assert shells[who]("login", "--code", code).code == 0
    key = local.key("app", ANN)

    def send() -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        content = chat("jo.doe@mail.example", "al.roe@mail.example")
        return httpx.post(local.url + PATH, content=content, headers=headers, trust_env=False)

    old = send().headers["x-llmguard-approval"]
    body = tmp_path / "smaller.json"
    body.write_text(chat("jo.doe@mail.example"))
    ann = shells[ANN]
    assert "no changes were asked for" in ann("approvals", "revise", old, str(body)).err
    assert shells[BO]("approvals", "request-changes", old, "--reason", "one address will do").code == 0
    revised = ann("approvals", "revise", old, str(body), "--json")
    assert revised.code == 0
    assert '+      "content": "jo.doe@mail.example"' in revised.err
    new = json.loads(revised.out)["id"]
    shown = shells[CY]("approvals", "show", new).out
    assert f"2, in place of {old}" in shown
    assert "--- changes against revision 1" in shown
    assert f"{new} took its place" in ann("approvals", "show", old).out
    assert shells[CY]("approvals", "approve", new).code == 0
    assert ann("approvals", "wait", new, "--timeout", "1s").code == 0
    assert send().status_code == 200
