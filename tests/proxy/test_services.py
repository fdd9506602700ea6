"""Services and agents on real sockets: scoped keys, linked provider keys and access tokens."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import openai
import pytest

import llmguard
from llmguard import identity
from llmguard.config import DATABASE, TokenIssuer
from llmguard.errors import CallBlocked, OutOfScope
from llmguard.guard import Guard
from llmguard.testing import EchoUpstream, LocalGuard
from tests.issuers import AUDIENCE, CLIENT, Issuer

ANN, BO = "ann@example.org", "bo@example.org"
HOLD = ({"name": "hold", "when": "true", "verdict": "require_approval", "quorum": 1},)


def ask(local: LocalGuard, credential: str, path: str = "/v1/chat/completions") -> tuple[int, dict[str, Any]]:
    return _asked(local.port, path, credential, {"model": "m", "messages": [{"role": "user", "content": "hello"}]})


def control(local: LocalGuard, credential: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    return _asked(local.control_port, f"/guard/v1{path}", credential, body)


def _asked(port: int, path: str, credential: str, body: Any) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"authorization": f"Bearer {credential}", "content-type": "application/json"}
    try:
        sent = None if body is None else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, sent, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()


def refusal(answer: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


def logged(local: LocalGuard, kind: str) -> list[dict[str, Any]]:
    rows = local.guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries WHERE kind = ? ORDER BY idx", kind))
    return [json.loads(row["leaf"])["details"] for row in rows]


def session(local: LocalGuard, email: str) -> str:
    status, answer = control(local, "none", "/login", {"code": local.person(email)})
    assert status == 200
    return str(answer["token"])


# --------------------------------------------------------------------------- scopes


def test_a_call_outside_its_keys_scope_is_refused_before_it_is_looked_at_and_the_log_says_who(
    local: LocalGuard, upstream: EchoUpstream
) -> None:
    local.person(ANN)
    key = local.key("embeddings only", ANN, scopes=("embeddings.*",))
    status, answer = ask(local, key)
    assert (status, answer["error"]["code"]) == (403, "out_of_scope")
    assert "embeddings.*" in answer["error"]["message"]
    assert not upstream.received
    assert not logged(local, "call.decided")
    (entry,) = logged(local, "call.refused")
    assert entry["code"] == "out_of_scope"
    assert entry["operation"] == "chat.completions.create"
    assert entry["principal"].startswith("key:")
    assert ask(local, local.key("chat", ANN, scopes=("inference",)))[0] == 200


def test_a_wrapped_client_keeps_within_its_keys_scope(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream
) -> None:
    local = local_with()
    local.person(ANN)
    key = local.key("embeddings only", ANN, scopes=("embeddings.*",))
    with Guard(replace(local.settings, key=key)) as guard:
        client = llmguard.wrap(openai.OpenAI(api_key="k", base_url=f"{upstream.url}/v1", max_retries=0), guard=guard)
        with client, pytest.raises(OutOfScope) as refused:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert isinstance(refused.value, CallBlocked | openai.PermissionDeniedError)
    assert not upstream.received


def test_an_action_outside_its_keys_scope_does_not_run(local: LocalGuard) -> None:
    local.person(ANN)
    key = local.key("exports", ANN, scopes=("action.db.*",))
    ran: list[str] = []
    allow = ({"name": "all", "when": "true", "verdict": "allow"},)
    with Guard(replace(local.settings, key=key, rules=allow)) as guard:

        @guard.action("mail.send")
        def mail() -> None:
            ran.append("mail")

        @guard.action("db.export")
        def export() -> None:
            ran.append("export")

        with pytest.raises(OutOfScope, match=r"action\.mail\.send"):
            mail()
        export()
    assert ran == ["export"]


def test_an_expired_key_hears_what_to_do(local: LocalGuard) -> None:
    local.person(ANN)
    key = local.key("short", ANN, lifetime=1)
    with closing(sqlite3.connect(local.settings.data / DATABASE, isolation_level=None)) as db:
        db.execute("UPDATE clock SET last = last + 1000")  # time passes
    status, answer = ask(local, key)
    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
    assert "llmguard keys add" in answer["error"]["message"]


@pytest.mark.parametrize("ends", ["revoked", "human deactivated"])
def test_what_was_approved_for_a_key_that_ended_meanwhile_is_not_sent(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream, ends: str
) -> None:
    local = local_with(rules=HOLD)
    local.person(ANN)
    bo = session(local, BO)
    key = local.key("waits", ANN)
    vault, store = local.guard.vault, local.guard.store
    answers: list[tuple[int, dict[str, Any]]] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(local, key)))
    waiting.start()
    while not (rows := control(local, bo, "/approvals")[1]["approvals"]):
        pass
    if ends == "revoked":
        (known,) = store.read(lambda tx: identity.keys(tx, vault, "default"))
        store.transact(lambda tx: identity.revoke_key(tx, vault, "default", known.id, ANN))
    else:
        change = identity.PersonChange(ANN, (), active=False)
        store.transact(lambda tx: identity.apply(tx, vault, "default", change, identity.Cause("test")))
    vote = {"verdict": "approve", "digest": rows[0]["digest"]}
    assert control(local, bo, f"/approvals/{rows[0]['id']}/votes", vote)[0] == 200
    waiting.join()
    assert refusal(answers[0]) == (401, "invalid_api_key")
    assert not upstream.received


# --------------------------------------------------------------------------- provider keys


@pytest.fixture
def passing(local_with: Callable[..., LocalGuard]) -> LocalGuard:
    local = local_with(pass_through=True, upstream_key=None)
    local.person(ANN)
    return local


def link(local: LocalGuard, digest: str, **more: Any) -> None:
    vault, tenant = local.guard.vault, local.settings.tenant

    def work(tx: Any) -> None:
        change = identity.link_key(tx, digest, ANN, **more)
        identity.apply(tx, vault, tenant, change, identity.Cause("test"))

    local.guard.store.transact(work)


def digest_in(answer: tuple[int, dict[str, Any]]) -> str:
    words = answer[1]["error"]["message"].split()
    assert "llmguard keys link" in answer[1]["error"]["message"]
    return str(words[words.index("link") + 1])


def test_off_loopback_only_linked_provider_keys_are_passed_through(passing: LocalGuard, upstream: EchoUpstream) -> None:
    passing.guard.settings = replace(passing.guard.settings, host="0.0.0.0")
    refused = ask(passing, "own-key")
    assert refusal(refused) == (401, "invalid_api_key")
    assert not upstream.received
    link(passing, digest_in(refused))
    assert ask(passing, "own-key")[0] == 200
    assert dict(upstream.received[0].headers)["authorization"] == "Bearer own-key"
    assert refusal(ask(passing, "another-key")) == (401, "invalid_api_key")
    (decided,) = logged(passing, "call.decided")
    assert decided["human"] == ANN


def test_a_held_call_with_a_provider_key_of_nobody_names_the_command_that_fixes_it(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream
) -> None:
    local = local_with(pass_through=True, upstream_key=None, rules=HOLD, hold="ticket")
    local.person(ANN)
    local.person(BO)
    refused = ask(local, "own-key")
    assert refusal(refused) == (403, "approval_impossible")
    link(local, digest_in(refused))
    assert refusal(ask(local, "own-key")) == (409, "approval_pending")
    assert not upstream.received


def test_a_linked_key_keeps_within_its_scope(passing: LocalGuard, upstream: EchoUpstream) -> None:
    link(passing, passing.guard.vault.attest("api key hash", "own-key"), scopes=("embeddings.*",))
    assert refusal(ask(passing, "own-key")) == (403, "out_of_scope")
    assert not upstream.received


def test_a_session_that_is_sent_to_the_wrong_plane_is_not_passed_on_to_the_provider(
    passing: LocalGuard, upstream: EchoUpstream
) -> None:
    assert refusal(ask(passing, session(passing, BO))) == (401, "invalid_api_key")
    assert not upstream.received


# --------------------------------------------------------------------------- tokens


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def service(local_with: Callable[..., LocalGuard], issuer: Issuer) -> LocalGuard:
    known = TokenIssuer(issuer.url, AUDIENCE, {CLIENT: ANN, "app": ""})
    local = local_with(issuers=(known,), pass_through=True, rules=None)
    local.person(ANN)
    return local


def test_a_service_calls_with_its_access_token_and_the_guard_pays(
    service: LocalGuard, issuer: Issuer, upstream: EchoUpstream
) -> None:
    token = issuer.token()
    assert ask(service, token)[0] == 200
    assert ask(service, token)[0] == 200
    assert issuer.asked.count("/keys") == 1
    assert token.encode() not in upstream.received[0].body
    assert "eyJ" not in str(upstream.received[0].headers)
    assert [d["human"] for d in logged(service, "call.decided")] == [ANN, ANN]
    assert logged(service, "call.decided")[0]["principal"].startswith(f"token:{CLIENT}:")


def test_a_wrong_token_is_never_passed_through_as_a_provider_key(
    service: LocalGuard, issuer: Issuer, upstream: EchoUpstream
) -> None:
    for wrong in (issuer.token(aud="other"), issuer.token()[:-3], "eyJhbGciOiJub25lIn0.e30."):
        assert refusal(ask(service, wrong)) == (401, "invalid_api_key")
    assert not upstream.received


def test_while_the_issuer_is_down_an_unknown_key_is_a_503_and_a_known_one_goes_on(
    service: LocalGuard, issuer: Issuer
) -> None:
    assert ask(service, issuer.token())[0] == 200
    issuer.stop()
    assert ask(service, issuer.token(jti="another"))[0] == 200


def test_an_issuer_that_never_answered_is_a_503(service: LocalGuard, issuer: Issuer, upstream: EchoUpstream) -> None:
    issuer.status = 500
    assert refusal(ask(service, issuer.token())) == (503, "guard_unavailable")
    assert not upstream.received


def test_many_callers_with_an_unknown_key_share_one_fetch(service: LocalGuard, issuer: Issuer) -> None:
    answers: list[int] = []

    def call(n: int) -> None:
        answers.append(ask(service, issuer.token(jti=str(n)))[0])

    threads = [threading.Thread(target=call, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert issuer.asked.count("/keys") == 1


def test_a_deactivated_persons_token_ends_at_once(service: LocalGuard, issuer: Issuer) -> None:
    token = issuer.token(client_id="app", sub="u", email=ANN, email_verified=True)
    assert ask(service, token)[0] == 200
    change = identity.PersonChange(ANN, (), active=False)
    service.guard.store.transact(
        lambda tx: identity.apply(tx, service.guard.vault, "default", change, identity.Cause("test"))
    )
    assert refusal(ask(service, token)) == (401, "invalid_api_key")


# --------------------------------------------------------------------------- machines never vote


@pytest.mark.parametrize("credential", ["key", "agent's key", "token", "agent's token"])
def test_a_machine_is_worth_nothing_on_the_control_plane(service: LocalGuard, issuer: Issuer, credential: str) -> None:
    of_ann = {"sub": "u", "email": ANN, "email_verified": True}
    shown = {
        "key": lambda: service.key("k", ANN),
        "agent's key": lambda: service.key("k", ANN, agent=True),
        "token": lambda: issuer.token(**of_ann),
        "agent's token": lambda: issuer.token(**of_ann, act={"sub": "agent"}),
    }[credential]()
    assert ask(service, shown)[0] == 200
    for path, body in (
        ("/me", None),
        ("/approvals", None),
        ("/people", None),
        ("/keys", {"name": "more", "human": ANN}),
        ("/password", {"password": "correct horse battery"}),
        ("/approvals/01M80M8ZG0000000000000000A/votes", {"verdict": "approve", "digest": "0" * 64}),
        ("/logout", {}),
    ):
        assert control(service, shown, path, body)[0] == 401, path


def test_the_human_of_an_agent_does_not_approve_what_the_agent_asks_for(
    local_with: Callable[..., LocalGuard], issuer: Issuer, upstream: EchoUpstream
) -> None:
    known = TokenIssuer(issuer.url, AUDIENCE, {CLIENT: ""})
    local = local_with(issuers=(known,), rules=HOLD, hold="ticket")
    ann, bo = session(local, ANN), session(local, BO)
    by_token = issuer.token(sub="u", email=ANN, email_verified=True, act={"sub": "agent"})
    for credential in (by_token, local.key("agent", ANN, agent=True)):
        status, answer = ask(local, credential)
        assert (status, answer["error"]["code"]) == (409, "approval_pending")
        id_ = answer["error"]["approval_id"]
        _, shown = control(local, bo, f"/approvals/{id_}")
        vote = {"verdict": "approve", "digest": shown["egress"]["digest"] if "egress" in shown else shown["digest"]}
        status, _ = control(local, ann, f"/approvals/{id_}/votes", vote)
        assert status == 403
        assert control(local, bo, f"/approvals/{id_}/votes", vote)[0] == 200
        assert ask(local, credential)[0] == 200
    assert len(upstream.received) == 2
