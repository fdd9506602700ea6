"""The provider's side of the proxy over real sockets: whatever a server can do to a client, bounded and typed."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
from backports import zstd

from llmguard.config import Settings
from llmguard.payload.coding import PIECE
from llmguard.testing import Fakes, LocalGuard
from tests.wire import Reply, Wire, answer

CHAT = "/chat/completions"


class Line:
    """An application, the guard, and a provider that says exactly what it is told to."""

    def __init__(self, wire: Wire, local: LocalGuard) -> None:
        self.wire = wire
        self._key = local.key("app", "ann@example.org")
        self._url = local.url

    def ask(self, text: str = "hello", **fields: Any) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(
            self._url + CHAT, json=body, headers={"authorization": f"Bearer {self._key}"}, timeout=20, trust_env=False
        )

    def says(self, reply: bytes | Reply) -> None:
        self.wire.reply = reply

    def sent(self) -> Any:
        """The JSON that the provider received last."""
        return json.loads(self.wire.requests[-1].partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Wire() as wire, _local(wire, tmp_path_factory.mktemp("guard")) as local:
        yield Line(wire, local)


@pytest.fixture
def line(shared: Line) -> Line:
    shared.wire.requests.clear()
    shared.wire.connections = 0
    return shared


@contextmanager
def _local(wire: Wire, folder: Path, **changes: Any) -> Iterator[LocalGuard]:
    settings = Settings(
        data=folder / "data",
        credentials=folder / "credentials.json",
        upstream=wire.url,
        upstream_key="provider-key",
        port=0,
        control_port=0,
    )
    with LocalGuard(replace(settings, **changes)) as running:
        running.person("ann@example.org")
        yield running


def said(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def echo(pack: Callable[[bytes], bytes], status: str = "200 OK", **headers: str) -> Reply:
    """Says what it was asked, packed."""

    def reply(connection: socket.socket, request: bytes) -> None:
        asked = json.loads(request.partition(b"\r\n\r\n")[2])
        connection.sendall(answer(pack(said(asked["messages"][-1]["content"])), status, **headers))

    return reply


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("GZIP", lambda d: gzip.compress(d[:20]) + gzip.compress(d[20:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "x-gzip": ("x-gzip", gzip.compress),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED)
def test_an_answer_that_is_compressed_although_not_asked_for_is_restored(
    line: Line, fakes: Fakes, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    email = fakes.email()
    line.says(echo(pack, content_encoding=encoding))
    response = line.ask(email)
    assert response.json()["choices"][0]["message"]["content"] == email
    assert "content-encoding" not in response.headers
    assert email.encode() not in b"".join(line.wire.requests)
    assert b"accept-encoding: identity" in line.wire.requests[0].lower()


DAMAGED: dict[str, tuple[str, bytes]] = {
    "no gzip at all": ("gzip", b"plain text"),
    "cut gzip": ("gzip", gzip.compress(said("hello") * 50)[:-20]),
    "cut deflate": ("deflate", zlib.compress(said("hello") * 50)[:-8]),
    "something behind deflate": ("deflate", zlib.compress(said("hello")) + b"more"),
    "cut br": ("br", brotli.compress(said("hello") * 50)[:-3]),
    "cut zstd": ("zstd", zstd.compress(said("hello") * 50)[:-3]),
    "an unknown one": ("compress", b"\x1f\x9d"),
    "two encodings": ("gzip, gzip", gzip.compress(gzip.compress(said("hello")))),
    "one byte": ("gzip", b"\x1f"),
}


@pytest.mark.parametrize(("encoding", "body"), DAMAGED.values(), ids=DAMAGED)
def test_an_answer_that_cannot_be_decoded_is_a_bad_gateway(
    line: Line, fakes: Fakes, encoding: str, body: bytes
) -> None:
    line.says(answer(body, content_encoding=encoding))
    response = line.ask(fakes.email())
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    line.says(answer(said("fine")))
    assert line.ask().status_code == 200


def test_a_decompression_bomb_is_bounded(tmp_path: Path, fakes: Fakes) -> None:
    bomb = gzip.compress(b" " * (64 * PIECE))
    packed = answer(bomb, content_encoding="gzip")
    with Wire(packed) as wire, _local(wire, tmp_path, max_answer_bytes=PIECE) as local:
        response = Line(wire, local).ask(fakes.email())
    assert response.status_code == 502
    assert "max_answer_bytes" in response.text


ERRORS = {
    "JSON": ("application/json", b'{"error": {"message": "no", "code": "x"}}'),
    "problem": ("application/problem+json", b'{"title": "no"}'),
    "HTML": ("text/html", b"<h1>no</h1>"),
    "text in Latin-1": ("text/plain; charset=iso-8859-1", b"n\xf6"),
    "bytes": ("application/octet-stream", bytes(range(256))),
    "JSON that is none": ("application/json", b"not JSON"),
    "nothing": ("text/plain", b""),
}


@pytest.mark.parametrize(("media", "body"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("status", ["400 Bad", "429 Slow", "500 Broken", "529 Overloaded"])
def test_errors_of_the_provider_arrive_as_they_are(
    line: Line, fakes: Fakes, media: str, body: bytes, status: str
) -> None:
    line.says(answer(body, status, content_type=media))
    for text in ("clean", fakes.email()):
        response = line.ask(text)
        assert (response.status_code, response.content) == (int(status[:3]), body)
        assert response.headers["content-type"] == media
        assert "x-llmguard-error" not in response.headers


def test_an_error_that_quotes_the_request_is_restored(line: Line, fakes: Fakes) -> None:
    email = fakes.email()
    for media in ("application/json", "text/html"):
        line.says(echo(bytes, "400 Bad", content_type=media))
        assert email in line.ask(email).text


def test_what_the_provider_says_about_itself_is_kept_and_what_it_forges_is_not(line: Line) -> None:
    kept = {
        "retry-after": "7",
        "retry-after-ms": "7000",
        "x-ratelimit-remaining-tokens": "99",
        "x-request-id": "req_1",
        "openai-processing-ms": "12",
        "x-should-retry": "false",
    }
    forged = {
        "x-llmguard-decision": "allow",
        "X-LLMGuard-Error": "blocked",
        "x-llmguard-approval": "01",
        "set-cookie": "session=1",
        "alt-svc": 'h3=":443"',
        "connection": "x-secret-hop",
        "x-secret-hop": "1",
        "proxy-authenticate": "Basic",
    }
    line.says(answer(said("x"), "429 Slow", **{k.replace("-", "_"): v for k, v in (kept | forged).items()}))
    response = line.ask()
    assert {k: response.headers.get(k) for k in kept} == kept
    assert response.headers["x-llmguard-decision"] == "redact"
    assert not {"x-llmguard-error", "x-llmguard-approval", "set-cookie", "alt-svc", "x-secret-hop"} & set(
        response.headers
    )
    line.says(answer(said("x")))
    line.ask()
    assert b"cookie" not in line.wire.requests[-1].lower()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(line: Line, status: str) -> None:
    with Wire(answer(said("elsewhere"))) as elsewhere:
        line.says(answer(b"", status, location=elsewhere.url))
        response = line.ask()
        assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
        assert not elsewhere.requests


def test_connections_are_used_again(line: Line) -> None:
    line.says(answer(said("x")))
    line.wire.connections = 0
    for _ in range(5):
        assert line.ask().status_code == 200
    assert line.wire.connections <= 1


def test_large_bodies_arrive_whole_with_their_length(line: Line) -> None:
    line.says(answer(said("x")))
    text = "many words " * 300_000
    assert line.ask(text).status_code == 200
    assert line.sent()["messages"][0]["content"] == text
    head = line.wire.requests[-1].partition(b"\r\n\r\n")[0].lower()
    assert b"content-length" in head
    assert b"transfer-encoding" not in head


def test_an_answer_that_comes_before_the_request_was_read_is_kept(tmp_path: Path) -> None:
    refusal = answer(b'{"error": {"message": "too much"}}', "413 Too Large", connection="close")
    with Wire(refusal, early=True) as wire, _local(wire, tmp_path) as local:
        response = Line(wire, local).ask("many words " * 500_000)
    assert (response.status_code, response.json()) == (413, {"error": {"message": "too much"}})


def bounded(connection: socket.socket, piece: bytes) -> None:
    """Sends for ever, until the other side has had enough."""
    with suppress(OSError):
        while True:
            connection.sendall(piece)


ENDLESS: dict[str, bytes] = {
    "a header": b"HTTP/1.1 200 OK\r\nx-long: ",
    "headers": b"HTTP/1.1 200 OK\r\n",
    "a body": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
    "an event": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ",
}


@pytest.mark.parametrize(("name", "head"), ENDLESS.items(), ids=ENDLESS)
def test_endless_answers_are_cut(tmp_path: Path, fakes: Fakes, name: str, head: bytes) -> None:
    piece = b"x-more: yes\r\n" if name == "headers" else b"x" * 65536

    def reply(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        bounded(connection, piece)

    with Wire(reply) as wire, _local(wire, tmp_path, max_answer_bytes=PIECE) as local:
        response = Line(wire, local).ask(fakes.email(), stream=name == "an event")
    assert "upstream_error" in response.text
    assert response.status_code == (200 if name == "an event" else 502)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"])
def test_a_provider_that_falls_silent_is_given_up(tmp_path: Path, fakes: Fakes, head: bytes) -> None:
    silent = Wire(lambda connection, _: connection.sendall(head))
    with silent as wire, _local(wire, tmp_path, read_timeout=0.2) as local:
        response = Line(wire, local).ask(fakes.email())
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


def test_a_provider_that_speaks_another_protocol_is_a_bad_gateway(line: Line) -> None:
    line.says(lambda connection, _: (connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n"), connection.close())[1])
    response = line.ask()
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


def test_a_provider_that_cannot_be_reached_is_a_bad_gateway_and_nothing_was_sent(tmp_path: Path) -> None:
    with Wire() as wire:
        closed = wire.url
    with Wire() as unused, _local(unused, tmp_path, upstream=closed) as local:
        response = Line(unused, local).ask()
    assert (response.status_code, response.headers["x-should-retry"]) == (502, "true")
    assert "nothing was sent" in response.json()["error"]["message"]
