"""A running guard and its policy file: a change is pending, a broken file changes nothing, several processes agree."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llmguard.cli.doctor import policy as doctor_policy
from llmguard.errors import Conflict
from llmguard.guard import Guard
from llmguard.policy.file import PolicyFile
from llmguard.testing import LocalGuard

ANN, BO, CY, DEE, SECOND = (f"{n}@example.com" for n in ("ann", "bo", "cy", "dee", "bo+two"))
HOLD = '[[rules]]\nname = "hold"\nverdict = "require_approval"\nhold = "ticket"\n'
LOOSE = '[[rules]]\nname = "loose"\nverdict = "allow"\n'
BLOCK = '[[rules]]\nname = "none"\nverdict = "block"\n'
BROKEN = LOOSE.replace("allow", "alow")
PATIENCE = 20.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "policy.toml"
    made.write_text(HOLD)
    return made


@pytest.fixture
def running(local_with: Callable[..., LocalGuard], file: Path) -> LocalGuard:
    return local_with(policy=file, names=False)


class People:
    """Sessions of people, and what the control plane tells them."""

    def __init__(self, local: LocalGuard) -> None:
        self._local = local
        self._tokens: dict[str, str] = {}

    def call(self, who: str, method: str, path: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self._token(who)}"}
        with httpx.Client(base_url=f"{self._local.control_url}/guard/v1", trust_env=False) as client:
            return client.request(method, path, headers=headers, **more)

    def _token(self, who: str) -> str:
        if who not in self._tokens:
            self._tokens[who] = self.session(who)
        return self._tokens[who]

    def session(self, who: str) -> str:
        from llmguard import identity

        guard = self._local.guard
        cause = identity.Cause("test")
        code = guard.store.transact(lambda tx: identity.issue_code(tx, guard.vault, guard.settings.tenant, who, cause))
        return guard.store.transact(lambda tx: identity.login(tx, guard.vault, code)).token

    def policy(self) -> dict[str, Any]:
        told: dict[str, Any] = self.call(BO, "GET", "/policy").json()
        return told

    def until(self, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while not done(told := self.policy()):
            assert time.monotonic() < end, told
            time.sleep(0.05)  # between two looks
        return told


@pytest.fixture
def people(running: LocalGuard) -> People:
    for email in (ANN, BO, CY):
        running.person(email)
    return People(running)


def asked(local: LocalGuard, key: str) -> str:
    """How a chat is answered: "sent", or the code of the refusal."""
    client = openai.OpenAI(api_key=key, base_url=local.url, max_retries=0)
    try:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    except openai.APIStatusError as e:
        return str(e.code)
    return "sent"


def test_a_changed_file_is_pending_a_broken_one_is_told_and_the_old_one_decides(
    running: LocalGuard, people: People, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = running.key("app", ANN)
    assert asked(running, key) == "approval_pending"
    first = people.policy()
    assert (first["pending"], first["file_error"]) == (None, None)

    file.write_text(LOOSE)
    pending = people.until(lambda told: told["pending"] is not None)
    assert (pending["version"], pending["file_error"]) == (first["version"], None)
    assert asked(running, key) == "approval_pending"

    file.write_text(BROKEN)
    broken = people.until(lambda told: told["file_error"] is not None)
    assert "did you mean 'allow'?" in broken["file_error"]
    assert (broken["version"], broken["pending"]) == (first["version"], pending["pending"])
    assert asked(running, key) == "approval_pending"

    file.write_text(BLOCK)
    repaired = people.until(lambda told: told["file_error"] is None)
    assert repaired["pending"] not in (None, pending["pending"])
    file.write_text(HOLD)
    people.until(lambda told: told["pending"] is None)
    assert sum("cannot be used" in m for m in caplog.messages) == 1


def test_while_one_sets_up_alone_a_changed_file_decides_at_once(running: LocalGuard, file: Path) -> None:
    running.person(BO)
    key = running.key("app", BO)
    file.write_text(BLOCK)
    end = time.monotonic() + PATIENCE
    while running.guard.kit.policy.rules[0].name != "none":
        assert time.monotonic() < end
        time.sleep(0.05)  # between two looks
    assert asked(running, key) == "blocked"


def test_a_policy_that_was_approved_decides_the_very_next_call(running: LocalGuard, people: People) -> None:
    key = running.key("app", ANN)
    assert asked(running, key) == "approval_pending"
    document = {"rules": [{"name": "none", "verdict": "block"}]}
    proposed = people.call(BO, "POST", "/policy", json=document).json()["approval"]
    vote = {"verdict": "approve", "digest": proposed["digest"]}
    assert people.call(CY, "POST", f"/approvals/{proposed['id']}/votes", json=vote).status_code == 200
    assert asked(running, key) == "blocked"


def test_one_admin_alone_does_not_loosen_anything(running: LocalGuard, people: People, file: Path) -> None:
    """Neither by proposing it, nor in another session, nor through a delegate of oneself, nor in the file."""
    key = running.key("app", ANN)
    loose = {"rules": [{"name": "loose", "verdict": "allow"}]}
    before = people.policy()["version"]
    proposed = people.call(BO, "POST", "/policy", json=loose).json()["approval"]
    shown = people.call(CY, "GET", f"/approvals/{proposed['id']}").json()
    assert any("held → leaves as written: what 'hold' decided" in line for line in shown["loosens"])

    vote = {"verdict": "approve", "digest": proposed["digest"]}
    path = f"/approvals/{proposed['id']}/votes"
    assert people.call(BO, "POST", path, json=vote).status_code == 403
    again = {"authorization": f"Bearer {people.session(BO)}"}
    with httpx.Client(base_url=f"{running.control_url}/guard/v1", trust_env=False) as client:
        assert client.post(path, json=vote, headers=again).status_code == 403
    with pytest.raises(Conflict):
        running.person(SECOND)  # a second account of the same mailbox
    running.person(DEE, "guests")
    now = int(time.time() * 1000)
    lent = {"receiver": DEE, "groups": ["reviewers"], "starts": now - 1000, "ends": now + 3_600_000}
    asked_for = people.call(BO, "POST", "/delegations", json=lent).json()["approval"]
    agreed = {"verdict": "approve", "digest": asked_for["digest"]}
    assert people.call(CY, "POST", f"/approvals/{asked_for['id']}/votes", json=agreed).json()["state"] == "EXECUTED"
    assert people.call(DEE, "POST", path, json=vote).status_code in (403, 404)
    file.write_text(LOOSE)
    people.until(lambda told: told["pending"] is not None)
    assert people.policy()["version"] == before
    assert asked(running, key) == "approval_pending"

    assert people.call(CY, "POST", path, json=vote).status_code == 200
    assert people.policy()["version"] != before
    assert asked(running, key) == "sent"


def test_several_processes_agree_on_what_is_in_force(running: LocalGuard, people: People, file: Path) -> None:
    with Guard(running.settings) as other:
        document = {"rules": [{"name": "none", "verdict": "block"}]}
        proposed = people.call(BO, "POST", "/policy", json=document).json()["approval"]
        vote = {"verdict": "approve", "digest": proposed["digest"]}
        people.call(CY, "POST", f"/approvals/{proposed['id']}/votes", json=vote)
        file.write_text(LOOSE)
        people.until(lambda told: told["pending"] is not None)
        other.file.look()
        other.file.look()
        other.reload()
        assert other.file.policy.rules[0].name == "loose"
        assert other.kit.policy.version == people.policy()["version"]


# --------------------------------------------------------------------------- the file


def test_a_file_is_read_once_it_has_stayed_the_same(settings: Any, file: Path) -> None:
    from dataclasses import replace

    policy = PolicyFile(replace(settings, policy=file))
    file.write_text(LOOSE)
    assert (policy.look(), policy.policy.rules[0].name) == (False, "hold")
    file.write_text(LOOSE + BLOCK)
    assert (policy.look(), policy.look(), len(policy.policy.rules)) == (False, True, 2)
    assert not policy.look()


def test_a_file_of_the_same_size_and_age_is_read_when_it_is_asked_for(settings: Any, file: Path) -> None:
    from dataclasses import replace

    policy = PolicyFile(replace(settings, policy=file))
    at = file.stat()
    file.write_text(HOLD.replace("hold", "held", 1))
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert not policy.look()
    policy.again()
    assert policy.look()
    assert policy.policy.rules[0].name == "held"


def test_a_file_that_is_gone_keeps_what_was_in_it(settings: Any, file: Path) -> None:
    from dataclasses import replace

    policy = PolicyFile(replace(settings, policy=file))
    file.unlink()
    policy.look()
    assert not policy.look()
    assert "cannot be read" in policy.error
    assert policy.policy.rules[0].name == "hold"
    file.write_text(HOLD)
    policy.look()
    policy.look()
    assert policy.error == ""


def test_the_doctor_says_what_is_wrong_with_the_file(settings: Any, file: Path) -> None:
    from dataclasses import replace

    from llmguard.errors import ConfigError

    file.write_text(BROKEN)
    with pytest.raises(ConfigError, match="did you mean 'allow'"):
        list(doctor_policy(replace(settings, policy=file)))
