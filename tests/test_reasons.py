"""Why a caller asks, and policies that are only tried, over real sockets with the real client, by both ways in."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import openai
import pytest

from llmguard.store import calls
from llmguard.testing import Fakes
from tests.test_held import HOLD_SECRETS, enter, office_with, until, way

__all__ = ["enter", "office_with", "way"]
WANTS = ({**HOLD_SECRETS[0], "justification": True},)


def test_a_call_that_wants_a_reason_is_refused_without_and_held_with_one(
    office_with: Any, enter: Any, fakes: Fakes
) -> None:
    office = office_with(rules=WANTS)
    app, token, mail = enter(office), fakes.token(), fakes.email()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        app.chat(token)
    assert caught.value.code == "justification_required"
    assert "x-llmguard-justification" in str(caught.value)
    why = {"x-llmguard-justification": quote(f"Prüfung für {mail}")}
    answer = office.meanwhile(app.chat, token, why)
    until(lambda: len(app.guard.room) == 1)
    waiting = office.pending()
    told = office.guard.store.read(lambda tx: office.guard.approvals.justification(tx, waiting))
    assert told.startswith("Prüfung für [EMAIL_")
    assert mail not in told
    office.decide()
    assert answer.result().startswith("You wrote: ")
    assert not any(name.lower().startswith("x-llmguard") for name, _ in office.upstream.received[0].headers)


def test_a_rule_in_shadow_mode_holds_nothing_and_is_counted(office_with: Any, enter: Any, fakes: Fakes) -> None:
    office = office_with(rules=({**HOLD_SECRETS[0], "shadow": True},))
    app = enter(office)
    token = fakes.token()
    assert app.chat(token) == f"You wrote: {token}"
    assert token.encode() not in office.upstream.received[0].body
    kept = office.guard.store.read(lambda tx: calls.page(tx, "default"))
    assert [(k.verdict, k.shadow) for k in kept] == [("redact", (("secrets", "require_approval"),))]
    [entry] = office.log("call.decided")
    assert entry["shadow"] == [["secrets", "require_approval"]]


def test_a_policy_in_shadow_mode_lets_everything_through_as_it_is(
    office_with: Any, enter: Any, fakes: Fakes, tmp_path: Any
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('mode = "shadow"\n[[rules]]\nname = "all"\nverdict = "block"\n')
    office = office_with(rules=None, policy=file)
    app = enter(office)
    token = fakes.token()
    assert app.chat(token) == f"You wrote: {token}"
    assert token.encode() in office.upstream.received[0].body
    [kept] = office.guard.store.read(lambda tx: calls.page(tx, "default"))
    assert (kept.verdict, kept.rule, kept.shadow) == ("allow", "shadow", (("all", "block"),))
    assert kept.residual == kept.inherent > 0
    assert token.encode() not in kept.facts.encode()
