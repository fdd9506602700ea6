"""The operations table: exact, or unknown."""

from __future__ import annotations

import pytest

from llmguard.payload.json import parse
from llmguard.payload.operations import TABLE, find
from llmguard.payload.scopes import references, written


@pytest.mark.parametrize(
    ("method", "path", "name", "kind"),
    [
        ("POST", "/chat/completions", "chat.completions.create", "inference"),
        ("POST", "/v1/chat/completions", "chat.completions.create", "inference"),
        ("GET", "/chat/completions/chatcmpl-1/messages", "chat.completions.messages", "stored"),
        ("POST", "/responses", "responses.create", "inference"),
        ("POST", "/responses/compact", "responses.compact", "inference"),
        ("POST", "/responses/resp_1/cancel", "responses.cancel", "inference"),
        ("POST", "/threads/runs", "threads.create_and_run", "stored"),
        ("POST", "/fine_tuning/jobs", "fine_tuning.jobs.create", "training"),
        ("POST", "/organization/projects/p/users", "organization", "administration"),
        ("DELETE", "/organization/admin_api_keys/k", "organization", "administration"),
        ("POST", "/realtime/client_secrets", "realtime.client_secrets.create", "administration"),
        ("GET", "/models/ft:gpt-4o:org::id", "models.get", "inference"),
    ],
)
def test_operation_is_found(method: str, path: str, name: str, kind: str) -> None:
    found = find(method, path)
    assert found is not None
    assert (found[0].name, found[0].kind) == (name, kind)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/chat/completions"),
        ("post", "/chat/completions"),
        ("POST", "/chat/completions/"),
        ("POST", "//chat/completions"),
        ("POST", "/chat//completions"),
        ("POST", "/v1/v1/chat/completions"),
        ("POST", "/chat/./completions"),
        ("POST", "/x/../chat/completions"),
        ("GET", "/models/.."),
        ("GET", "/models/%2e%2e"),
        ("GET", "/models/a%2Fb"),
        ("GET", "/models/a%2fb"),
        ("GET", "/models/a%5cb"),
        ("GET", "/models/a\\b"),
        ("GET", "/models/a%00"),
        ("GET", "/models/a\x00"),
        ("GET", "/models/a%252Fb"),
        ("GET", "/models/é"),
        ("GET", "/models/%c3%a9"),
        ("GET", "/models/a%zz"),
        ("GET", "/models/a b"),
        ("GET", "/models/{model}"),
        ("GET", "/models/a?b=c"),
        ("GET", "models"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/unheard/of"),
    ],
)
def test_everything_else_is_unknown(method: str, path: str) -> None:
    assert find(method, path) is None


def test_parameters_come_with_their_names() -> None:
    found = find("GET", "/threads/thread_1/runs/run_2/steps/step_3")
    assert found is not None
    assert found[1] == (("thread_id", "thread_1"), ("run_id", "run_2"), ("step_id", "step_3"))


def test_rows_are_unique_and_find_themselves() -> None:
    assert len({(row.method, row.path) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        path = row.path.replace("**", "x").replace("{", "").replace("}", "")
        found = find(row.method, path)
        assert found is not None
        assert found[0] is row or "{" in row.path


def test_what_gets_drawn_or_spoken_is_marked() -> None:
    assert {row.name for row in TABLE if row.rendered} >= {
        "images.generate",
        "images.edit",
        "audio.speech",
        "videos.create",
    }


def scopes(method: str, path: str, body: bytes = b"{}") -> tuple[str, ...]:
    found = find(method, path)
    assert found is not None
    return references(found[0], parse(body), found[1])


def test_requests_refer_to_what_was_granted_before() -> None:
    assert scopes("POST", "/responses", b'{"previous_response_id": "resp_1"}') == ("response:resp_1",)
    assert scopes("POST", "/responses", b'{"conversation": "conv_1"}') == ("conversation:conv_1",)
    assert scopes("POST", "/responses", b'{"conversation": {"id": "conv_1"}}') == ("conversation:conv_1",)
    assert scopes("POST", "/responses", b'{"previous_response_id": 7, "conversation": [1]}') == ()
    assert scopes("POST", "/responses", b'"text"') == ()
    assert scopes("GET", "/responses/resp_1") == ("response:resp_1",)
    assert scopes("GET", "/chat/completions/chatcmpl-1") == ("completion:chatcmpl-1",)
    assert scopes("GET", "/threads/thread_1/messages") == ("thread:thread_1",)


def test_answers_name_what_is_granted() -> None:
    found = find("POST", "/responses")
    assert found is not None
    answer = {"id": "resp_2", "conversation": {"id": "conv_1"}}
    assert written(found[0], answer) == ("response:resp_2", "conversation:conv_1")
    assert written(found[0], None) == ()
    found = find("POST", "/threads/thread_1/messages")
    assert found is not None
    assert written(found[0], {"id": "msg_1"}, found[1]) == ("thread:thread_1",)
