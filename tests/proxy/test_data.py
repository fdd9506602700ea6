"""The data plane over real sockets: hostile and broken requests, upstreams and clients."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import brotli
import pytest
from backports import zstd

from llmguard.audit import CHECKPOINTS, verify
from llmguard.config import DATABASE
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from tests.wire import Wire

CHAT = "/v1/chat/completions"


class Door:
    """Speaks HTTP to a data plane as one application."""

    def __init__(self, local: LocalGuard, key: str) -> None:
        self._local = local
        self.key = key

    def ask(
        self, body: bytes = b"", path: str = CHAT, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._local.port, timeout=20)
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def code(self, body: bytes = b"", path: str = CHAT, method: str = "POST", **headers: str) -> tuple[int, str]:
        status, _, answer = self.ask(body, path, method, **headers)
        return status, json.loads(answer)["error"]["code"]


@pytest.fixture
def door(local: LocalGuard) -> Door:
    local.person("ann@example.org")
    return Door(local, local.key("app", "ann@example.org"))


def chat(content: str, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode()


NOT_UNDERSTOOD = {
    "not JSON": b"hello",
    "truncated": b'{"model": "m", "messages": [',
    "ten thousand levels deep": b"[" * 10_000 + b"]" * 10_000,
    "duplicate keys": b'{"model": "m", "model": "n"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "invalid UTF-8": b'{"model": "\xff"}',
    "NaN": b'{"temperature": NaN}',
    "lone surrogate": b'{"model": "\\ud800"}',
    "two documents": b"{} {}",
}


@pytest.mark.parametrize("body", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood_is_a_bad_request_and_never_leaves(
    door: Door, upstream: EchoUpstream, body: bytes
) -> None:
    assert door.code(body) == (400, "unscannable_request")
    assert not upstream.received
    assert door.ask(chat("still alive"))[0] == 200


def test_unknown_path_method_and_content_type_are_refused(door: Door, upstream: EchoUpstream) -> None:
    assert door.code(chat("x"), path="/v1/unheard/of") == (403, "blocked")
    assert door.code(chat("x"), path="/elsewhere") == (403, "blocked")
    assert door.code(chat("x"), path="/v1/chat%2Fcompletions") == (403, "blocked")
    assert door.code(chat("x"), path="/v1/files/../chat/completions") == (403, "blocked")
    assert door.code(b"a=b", content_type="application/x-www-form-urlencoded")[0] in (400, 403)
    assert not upstream.received


def test_body_over_the_limit_is_refused(local_with: Callable[..., LocalGuard], upstream: EchoUpstream) -> None:
    local = local_with(max_json_bytes=1000)
    local.person("ann@example.org")
    small = Door(local, local.key("app", "ann@example.org"))
    assert small.code(chat("x" * 2000)) == (413, "request_too_large")
    bomb = gzip.compress(chat("x" * 1_000_000))
    assert len(bomb) > 1000 or small.code(bomb, content_encoding="gzip") == (413, "request_too_large")
    assert not upstream.received


def test_cut_gzip_and_unknown_encodings_are_refused(door: Door, upstream: EchoUpstream) -> None:
    assert door.code(gzip.compress(chat("x"))[:-9], content_encoding="gzip") == (400, "unscannable_request")
    assert door.code(gzip.compress(chat("x")) + b"more", content_encoding="gzip") == (400, "unscannable_request")
    assert door.code(chat("x"), content_encoding="compress") == (400, "unscannable_request")
    assert not upstream.received


def test_numbers_key_order_and_escapes_survive_beside_a_redacted_string(
    door: Door, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    raw = (
        '{ "zeta" :1e5,"alpha": 1.10 ,"model":"m",\n "messages":[{"content":"caf\\u00e9 '
        + email
        + '","role":"user"}], "user":"\\u00e9" }'
    ).encode()
    assert door.ask(raw)[0] == 200
    sent = upstream.received[0].body
    before, _, after = raw.partition(b'"caf\\u00e9')
    assert sent.startswith(before)
    assert sent.endswith(after.partition(b'"')[2])
    assert email.encode() not in sent


def test_credentials_cookies_and_our_own_headers_stay_here(door: Door, upstream: EchoUpstream) -> None:
    status, headers, _ = door.ask(chat("x"), cookie="a=b", x_llmguard_mode="x", openai_organization="org-1")
    assert status == 200
    sent = dict(upstream.received[0].headers)
    assert sent["authorization"] == "Bearer provider-key-of-the-test"
    assert sent["openai-organization"] == "org-1"
    assert not {"cookie", "x-llmguard-mode"} & set(sent)
    assert headers["x-llmguard-decision"] == "redact"
    assert len(headers["x-llmguard-call"]) == 26


def test_value_in_a_header_or_the_query_blocks(door: Door, upstream: EchoUpstream, fakes: Fakes) -> None:
    assert door.code(chat("x"), x_customer=fakes.email()) == (403, "blocked")
    assert door.code(chat("x"), path=f"{CHAT}?who={fakes.email()}") == (403, "blocked")
    assert not upstream.received


def test_callers_without_a_valid_key_are_refused(door: Door, local: LocalGuard, upstream: EchoUpstream) -> None:
    for wrong in ("lg_wrong", "sk-something", "", door.key + "x"):
        assert Door(local, wrong).code(chat("x")) == (401, "invalid_api_key")
    assert not upstream.received


def test_pass_through_forwards_the_callers_own_key_in_a_tenant_of_its_own(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream, fakes: Fakes
) -> None:
    local = local_with(pass_through=True, upstream_key=None)
    email = fakes.email()
    for own in ("own-key-of-one", "own-key-of-other"):
        assert Door(local, own).ask(chat(email))[0] == 200
    one, other = upstream.received
    assert dict(one.headers)["authorization"] == "Bearer own-key-of-one"
    assert email.encode() not in one.body + other.body
    assert one.json()["messages"] != other.json()["messages"]


def test_held_call_of_an_unaccountable_caller_names_what_to_do(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream, fakes: Fakes
) -> None:
    rules = ({"name": "hold", "when": "size(findings) > 0", "verdict": "require_approval"},)
    local = local_with(pass_through=True, rules=rules)
    status, _, answer = Door(local, "own-key").ask(chat(fakes.email()))
    error = json.loads(answer)["error"]
    assert (status, error["code"]) == (403, "approval_impossible")
    assert "llmguard" in error["message"]
    assert not upstream.received


def test_unknown_host_and_web_pages_are_refused(door: Door, upstream: EchoUpstream) -> None:
    assert door.code(chat("x"), host="attacker.example") == (403, "blocked")
    assert door.code(chat("x"), origin="https://attacker.example") == (403, "blocked")
    assert not upstream.received


def test_upstream_that_is_down_is_a_typed_error(local_with: Callable[..., LocalGuard]) -> None:
    local = local_with(upstream="http://127.0.0.1:9")
    local.person("ann@example.org")
    assert Door(local, local.key("app", "ann@example.org")).code(chat("x")) == (502, "upstream_error")


@pytest.mark.parametrize("behaviour", ["hangup", "redirect", "cut_body"])
def test_upstream_that_breaks_its_protocol_is_a_typed_error(
    door: Door, upstream: EchoUpstream, behaviour: Any, fakes: Fakes
) -> None:
    upstream.behave = behaviour
    assert door.code(chat(fakes.email())) == (502, "upstream_error")
    upstream.behave = "echo"
    assert door.ask(chat("still alive"))[0] == 200


def test_upstream_error_that_quotes_the_prompt_returns_restored(
    door: Door, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    upstream.behave = "error"
    status, _, answer = door.ask(chat(email))
    assert status == 500
    assert email in json.loads(answer)["error"]["message"]


def test_client_that_hangs_up_cancels_the_upstream_and_leaves_an_outcome(
    door: Door, local: LocalGuard, upstream: EchoUpstream
) -> None:
    upstream.behave = "wait"
    body = chat("x")
    with socket.create_connection(("127.0.0.1", local.port)) as s:
        s.sendall(
            f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {door.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        until(lambda: bool(upstream.received))
    assert upstream.cancelled.wait(10)
    until(lambda: "client_gone" in outcomes(local))
    upstream.behave = "echo"
    assert door.ask(body)[0] == 200


def head_of(door: Door, length: int) -> bytes:
    return (
        f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {door.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def test_client_that_hangs_up_within_a_stream_ends_it_at_the_provider(
    local_with: Callable[..., LocalGuard],
) -> None:
    gone = threading.Event()

    def reply(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with suppress(OSError):
            while True:
                connection.sendall(b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n')
                time.sleep(0.01)
        gone.set()

    with Wire(reply) as wire:
        local = local_with(upstream=wire.url)
        local.person("ann@example.org")
        door = Door(local, local.key("app", "ann@example.org"))
        body = chat("x", stream=True)
        with socket.create_connection(("127.0.0.1", local.port)) as s:
            s.sendall(head_of(door, len(body)) + body)
            assert b"200" in s.recv(1000)
        assert gone.wait(10)
        until(lambda: "client_gone" in outcomes(local))


def test_client_that_hangs_up_within_its_request_sends_nothing(
    door: Door, local: LocalGuard, upstream: EchoUpstream
) -> None:
    body = chat("many words " * 100_000)
    with socket.create_connection(("127.0.0.1", local.port)) as s:
        s.sendall(head_of(door, len(body)) + body[: len(body) // 2])
    assert door.ask(chat("still alive"))[0] == 200
    assert len(upstream.received) == 1


def test_guard_that_stops_ends_what_it_has_begun_and_begins_nothing(
    local_with: Callable[..., LocalGuard], fakes: Fakes
) -> None:
    email, stopping = fakes.email(), threading.Event()

    def reply(connection: socket.socket, request: bytes) -> None:
        placeholder = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"]
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for piece in (placeholder[:5], placeholder[5:], " and the end"):
            event = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            connection.sendall(b"data: " + json.dumps(event).encode() + b"\n\n")
            assert stopping.wait(10)
        connection.sendall(b"data: [DONE]\n\n")
        connection.shutdown(socket.SHUT_WR)

    with Wire(reply) as wire:
        local = local_with(upstream=wire.url)
        local.person("ann@example.org")
        door = Door(local, local.key("app", "ann@example.org"))
        body, received = chat(email, stream=True), b""
        with socket.create_connection(("127.0.0.1", local.port), timeout=20) as s:
            s.sendall(head_of(door, len(body)) + body)
            received += s.recv(65536)
            stop = threading.Thread(target=local.stop)
            stop.start()
            until(lambda: not listens(local.port))
            stopping.set()
            while data := s.recv(65536):
                received += data
        stop.join(20)
    texts = [json.loads(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: {")]
    assert "".join(e["choices"][0]["delta"]["content"] for e in texts) == f"{email} and the end"
    assert b"data: [DONE]" in received
    assert received.endswith(b"0\r\n\r\n")


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_body_in_every_coding_is_looked_through(door: Door, upstream: EchoUpstream, fakes: Fakes, coding: str) -> None:
    email = fakes.email()
    pack: Any = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}[coding]
    status, _, answer = door.ask(pack(chat(email)), content_encoding=coding.upper())
    assert status == 200
    assert email in answer.decode()
    assert email not in upstream.received[0].body.decode()
    assert "content-encoding" not in dict(upstream.received[0].headers)
    assert door.code(pack(pack(chat(email))), content_encoding=f"{coding}, {coding}") == (400, "unscannable_request")
    assert door.code(pack(pack(chat(email))), content_encoding=coding) == (400, "unscannable_request")
    assert len(upstream.received) == 1


def test_detector_that_raises_sends_nothing_and_the_process_lives_on(
    door: Door, local: LocalGuard, upstream: EchoUpstream, monkeypatch: pytest.MonkeyPatch, caplog: Any, fakes: Fakes
) -> None:
    email = fakes.email()

    def broken(parts: Any) -> Any:
        raise ValueError(f"a rule failed on {email}")

    with monkeypatch.context() as patch:
        patch.setattr(local.guard.scanner.engine, "scan", broken)
        status, headers, answer = door.ask(chat(email))
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(answer)["error"]["code"] == "guard_unavailable"
    assert email not in answer.decode() + caplog.text
    assert "ValueError" in caplog.text
    assert not upstream.received
    assert door.ask(chat("still alive"))[0] == 200


def test_locked_store_sends_nothing(local_with: Callable[..., LocalGuard], upstream: EchoUpstream) -> None:
    local = local_with(lock_timeout=0.3)
    local.person("ann@example.org")
    door = Door(local, local.key("app", "ann@example.org"))
    blocker = sqlite3.connect(local.settings.data / DATABASE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        assert door.code(chat("x")) == (503, "guard_unavailable")
    finally:
        blocker.close()
    assert not upstream.received
    assert door.ask(chat("still alive"))[0] == 200


def test_full_disk_sends_nothing_and_the_guard_recovers(
    door: Door, local: LocalGuard, upstream: EchoUpstream, fakes: Fakes
) -> None:
    values = [fakes.email() for _ in range(400)]

    def limit(tx: Any) -> None:
        tx.all(f"PRAGMA max_page_count = {tx.one('PRAGMA page_count')[0] + 4}")

    local.guard.store.submit(limit).result()
    status, _, answer = door.ask(chat(" ".join(values)))
    assert (status, json.loads(answer)["error"]["code"]) == (503, "guard_unavailable")
    assert not [v for v in values if v in answer.decode()]
    assert not upstream.received
    assert door.ask(chat(values[0]))[0] == 200


def test_log_of_a_lively_day_verifies(door: Door, local: LocalGuard, upstream: EchoUpstream, fakes: Fakes) -> None:
    values = [fakes.email(), fakes.card()]
    for body in (chat(" ".join(values)), chat("clean"), b"hello", chat(values[0], stream=True)):
        door.ask(body)
    until(lambda: outcomes(local).count("completed") == 3)
    local.stop()
    outside = local.settings.checkpoint_folder / CHECKPOINTS
    report = verify(local.settings.data / DATABASE, outside)
    assert report.ok
    assert report.unwitnessed == 0
    with sqlite3.connect(local.settings.data / DATABASE) as db:
        leaves = " ".join(bytes(row[0]).decode() for row in db.execute("SELECT leaf FROM audit_entries"))
    db.close()
    assert not [v for v in values if v in leaves]


def outcomes(local: LocalGuard) -> list[str]:
    rows = local.guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries WHERE kind = 'call.outcome'"))
    return [json.loads(row["leaf"])["details"]["outcome"] for row in rows]


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Waits for something that another thread does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
