"""Bytes on the wire that are not as a client library writes them: framing, smuggling, bombs, hang-ups."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from llmguard.config import Settings
from llmguard.proxy import protocol
from llmguard.testing import EchoUpstream, Fakes, LocalGuard


class Line:
    """A raw connection to the data plane of a guard."""

    def __init__(self, local: LocalGuard) -> None:
        local.person("ann@example.org")
        self.port = local.port
        self._key = local.key("app", "ann@example.org")

    def head(self, *headers: str, target: str = "/v1/chat/completions") -> bytes:
        lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self._key}"]
        return "\r\n".join([*lines, "Content-Type: application/json", *headers, "", ""]).encode("latin-1")

    def ask(self, *pieces: bytes, close: bool = False) -> bytes:
        """Everything that comes back until the guard closes, or stays silent after an answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            for piece in pieces:
                try:
                    s.sendall(piece)
                except (BrokenPipeError, ConnectionResetError):
                    break  # the guard has heard enough
            if close:
                s.shutdown(socket.SHUT_WR)
            return b"".join(self._received(s))

    def _received(self, s: socket.socket) -> Iterator[bytes]:
        try:
            while data := s.recv(65536):
                yield data
                s.settimeout(1)
        except (TimeoutError, ConnectionResetError):
            return


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EchoUpstream, Line]]:
    folder = tmp_path_factory.mktemp("guard")
    with EchoUpstream() as upstream:
        settings = Settings(
            data=folder / "data",
            credentials=folder / "credentials.json",
            upstream=upstream.url,
            upstream_key="provider-key",
            port=0,
            control_port=0,
        )
        with LocalGuard(settings) as local:
            yield upstream, Line(local)


@pytest.fixture
def upstream(running: tuple[EchoUpstream, Line]) -> EchoUpstream:
    running[0].received.clear()
    running[0].cancelled.clear()
    running[0].behave = "echo"
    return running[0]


@pytest.fixture
def line(running: tuple[EchoUpstream, Line]) -> Line:
    return running[1]


def chat(content: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_value_cut_by_chunks_is_redacted(line: Line, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    body = chat(email)
    cut = body.index(email.encode()) + 5
    pieces = [chunk(body[:cut]), chunk(body[cut : cut + 1]), chunk(body[cut + 1 :]), b"0\r\n\r\n"]
    answer = line.ask(line.head("Transfer-Encoding: chunked"), *pieces)
    assert answer.startswith(b"HTTP/1.1 200")
    assert email.encode() in answer
    [received] = upstream.received
    assert email.encode() not in received.body
    headers = dict(received.headers)
    assert headers["content-length"] == str(len(received.body))
    assert "transfer-encoding" not in headers


SMUGGLED = {
    "length and chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks and length": ("Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": ("Content-Length: 5", "Content-Length: 50"),
    "a negative length": ("Content-Length: -5",),
    "a length with a sign": ("Content-Length: +5",),
    "a length that is a list": ("Content-Length: 5, 5",),
    "chunks that are not last": ("Transfer-Encoding: chunked, identity",),
    "an unknown coding": ("Transfer-Encoding: xchunked",),
    "a folded header": ("X-A: b", " Content-Length: 5"),
    "a space before the colon": ("Content-Length : 5",),
    "a null byte": ("X-A: a\x00b", "Content-Length: 0"),
    "a bare line feed": ("X-A: b\nContent-Length: 5",),
    "a bare carriage return": ("X-A: b\rContent-Length: 5",),
    "chunks twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunks in quotes": ('Transfer-Encoding: "chunked"',),
    "chunks after a tab": ("Transfer-Encoding:\x0bchunked",),
    "a coding before the chunks": ("Transfer-Encoding: gzip, chunked",),
    "a length in hexadecimal": ("Content-Length: 0x5",),
    "a length with a space inside": ("Content-Length: 5 5",),
    "a length that is empty": ("Content-Length: ",),
    "a length past every number": ("Content-Length: " + "9" * 30,),
    "two hosts": ("Host: attacker.example", "Content-Length: 0"),
    "two credentials": ("Authorization: Bearer other", "Content-Length: 0"),
    "two media types": ("Content-Type: text/plain", "Content-Length: 0"),
    "a name with a space": ("X A: b", "Content-Length: 0"),
    "no name": (": b", "Content-Length: 0"),
    "no colon": ("X-A", "Content-Length: 0"),
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED)
def test_framing_that_could_be_read_in_two_ways_is_refused(
    line: Line, upstream: EchoUpstream, headers: tuple[str, ...]
) -> None:
    second = line.head("Content-Length: 2") + b"{}"
    answer = line.ask(line.head(*headers) + b"0\r\n\r\n" + second)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert not upstream.received


TARGETS = {
    "another host": "http://attacker.example/v1/chat/completions",
    "this host, absolute": "http://127.0.0.1/v1/chat/completions",
    "an authority": "127.0.0.1:443",
    "a star": "*",
    "a fragment": "/v1/chat/completions#/v1/models",
    "a backslash": "\\v1\\chat\\completions",
    "bytes that are no ASCII": "/v1/chat/completions\u00e9",
    "a tab": "/v1/chat\t/completions",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("method", ["POST", "GET", "CONNECT", "OPTIONS"])
def test_targets_that_are_no_plain_path_are_refused(
    line: Line, upstream: EchoUpstream, method: str, target: str
) -> None:
    head = line.head("Content-Length: 2", target=target).replace(b"POST", method.encode(), 1)
    answer = line.ask(head + b"{}")
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert not upstream.received


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", ""])
def test_chunks_in_another_version_are_refused(line: Line, upstream: EchoUpstream, version: str) -> None:
    head = line.head("Transfer-Encoding: chunked").replace(b"HTTP/1.1", version.encode(), 1)
    answer = line.ask(head + chunk(chat("x")) + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4") or not answer
    assert not upstream.received


@pytest.mark.parametrize("size", [b"5;\n\r\n", b"-5\r\n", b"0x5\r\n", b"5 \n", b" 5\r\n", b"\r\n", b"f" * 17 + b"\r\n"])
def test_chunk_sizes_that_could_be_read_in_two_ways_are_refused(
    line: Line, upstream: EchoUpstream, size: bytes
) -> None:
    answer = line.ask(line.head("Transfer-Encoding: chunked") + size + b"hello\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert not upstream.received


def test_trailers_are_no_headers(line: Line, upstream: EchoUpstream) -> None:
    trailers = b"content-encoding: gzip\r\nopenai-organization: other\r\nx-llmguard-mode: ticket\r\n\r\n"
    answer = line.ask(line.head("Transfer-Encoding: chunked") + chunk(chat("x")) + b"0\r\n" + trailers)
    assert answer.startswith(b"HTTP/1.1 200")
    assert "openai-organization" not in dict(upstream.received[0].headers)


@pytest.mark.parametrize(
    "endless",
    ["target", "header", "headers", "chunk extension", "trailers", "tiny chunks of nothing"],
)
def test_what_is_no_body_is_bounded(line: Line, upstream: EchoUpstream, endless: str) -> None:
    chunked = line.head("Transfer-Encoding: chunked")
    begins, goes_on = {
        "target": (b"POST /v1/", b"x" * 4096),
        "header": (line.head()[:-2] + b"X-Long: ", b"x" * 4096),
        "headers": (line.head()[:-2], b"X-More: yes\r\n" * 300),
        "chunk extension": (chunked + b"5;", b"x=y;" * 1000),
        "trailers": (chunked + chunk(b"{}") + b"0\r\n", b"X-More: yes\r\n" * 300),
        "tiny chunks of nothing": (chunked, b"1;" + b"x" * 4000 + b"\r\n \r\n"),
    }[endless]
    answer = line.ask(begins, *(goes_on for _ in range(300)))
    assert not answer or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), answer[:100]
    assert not upstream.received


def test_a_head_just_over_the_bound_is_refused_in_the_apis_own_words(line: Line, upstream: EchoUpstream) -> None:
    body = chat("x")
    length = f"Content-Length: {len(body)}"
    long = [f"X-{i}: {'x' * 7000}" for i in range(10)]
    assert line.ask(line.head(length, *long[:9]) + body).startswith(b"HTTP/1.1 200")
    answer = line.ask(line.head(length, *long) + body)
    assert answer.startswith(b"HTTP/1.1 431")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_too_large"
    assert b"x-should-retry: false" in answer
    assert len(upstream.received) == 1


def test_a_request_that_is_not_http_hears_so_in_the_apis_own_words(line: Line) -> None:
    answer = line.ask(b"\x16\x03\x01\x02\x00\x01\x00")
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "unscannable_request"


@pytest.mark.parametrize("part", ["nothing", "half a head", "half a body"])
def test_a_client_that_does_not_go_on_is_let_go(
    line: Line, upstream: EchoUpstream, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    whole = line.head("Content-Length: 50")
    begun = {"nothing": b"", "half a head": whole[:40], "half a body": whole + b"{"}[part]
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as s:
        s.sendall(begun)
        with suppress(ConnectionResetError):
            assert s.recv(100) == b""
    assert not upstream.received


def test_a_broken_request_behind_one_that_is_answered_adds_no_words_to_its_answer(
    line: Line, upstream: EchoUpstream
) -> None:
    upstream.behave = "wait"
    body = chat("x")
    answer = line.ask(line.head(f"Content-Length: {len(body)}") + body, b"BROKEN\r\n\r\n")
    assert answer.count(b"content-length: ") <= 1
    assert upstream.cancelled.wait(10) or not upstream.received


def test_an_upgrade_is_not_one(line: Line, upstream: EchoUpstream) -> None:
    body = chat("x")
    length = f"Content-Length: {len(body)}"
    for protocol_ in ("websocket", "h2c", "TLS/1.0"):
        answer = line.ask(line.head(length, "Connection: upgrade", f"Upgrade: {protocol_}") + body)
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4")), answer[:100]
    assert not [r for r in upstream.received if {"upgrade", "http2-settings"} & set(dict(r.headers))]


def test_length_longer_than_the_body_sends_nothing(line: Line, upstream: EchoUpstream) -> None:
    body = chat("x")
    line.ask(line.head(f"Content-Length: {len(body) + 10}") + body, close=True)
    assert not upstream.received


def test_length_shorter_than_the_body_sends_nothing(line: Line, upstream: EchoUpstream) -> None:
    body = chat("x")
    answer = line.ask(line.head(f"Content-Length: {len(body) - 3}") + body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert not upstream.received


def test_two_requests_on_one_line_are_two_calls(line: Line, upstream: EchoUpstream, fakes: Fakes) -> None:
    emails = [fakes.email(), fakes.email()]
    bodies = [chat(e) for e in emails]
    answer = line.ask(b"".join(line.head(f"Content-Length: {len(b)}") + b for b in bodies))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert len(upstream.received) == 2
    assert not [r for r in upstream.received if any(e.encode() in r.body for e in emails)]


def test_announced_300_megabytes_are_refused_before_they_come(line: Line, upstream: EchoUpstream) -> None:
    answer = line.ask(line.head(f"Content-Length: {300 * 2**20}"))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"request_too_large" in answer
    assert not upstream.received


def test_300_megabytes_in_chunks_are_refused_at_the_limit(
    local_with: Callable[..., LocalGuard], upstream: EchoUpstream
) -> None:
    line = Line(local_with(max_json_bytes=1 << 20))
    megabyte = chunk(b" " * (1 << 20))
    answer = line.ask(line.head("Transfer-Encoding: chunked"), *(megabyte for _ in range(300)))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")  # the answer is lost if we still write when it is closed
    assert not upstream.received


def test_gzip_bomb_is_refused_at_the_limit(line: Line, upstream: EchoUpstream) -> None:
    bomb = gzip.compress(b" " * (200 << 20), 9)
    assert len(bomb) < 1 << 20
    answer = line.ask(line.head(f"Content-Length: {len(bomb)}", "Content-Encoding: gzip") + bomb)
    assert answer.startswith(b"HTTP/1.1 413")
    assert not upstream.received


def test_guard_lives_on_after_all_of_it(line: Line, upstream: EchoUpstream) -> None:
    for headers in SMUGGLED.values():
        line.ask(line.head(*headers) + b"0\r\n\r\n")
    body = chat("still alive")
    assert line.ask(line.head(f"Content-Length: {len(body)}") + body).startswith(b"HTTP/1.1 200")
