"""Bytes on the wire that are not as a client library writes them: framing, smuggling, bombs, hang-ups."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator

import pytest

from llmguard.testing import EchoUpstream, Fakes, LocalGuard


class Line:
    """A raw connection to the data plane of a guard."""

    def __init__(self, local: LocalGuard) -> None:
        local.person("ann@example.org")
        self._port = local.port
        self._key = local.key("app", "ann@example.org")

    def head(self, *headers: str, target: str = "/v1/chat/completions") -> bytes:
        lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {self._key}"]
        return "\r\n".join([*lines, "Content-Type: application/json", *headers, "", ""]).encode()

    def ask(self, *pieces: bytes, close: bool = False) -> bytes:
        """Everything that comes back until the guard closes, or stays silent after an answer."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as s:
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


@pytest.fixture
def line(local: LocalGuard) -> Line:
    return Line(local)


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
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED)
def test_framing_that_could_be_read_in_two_ways_is_refused(
    line: Line, upstream: EchoUpstream, headers: tuple[str, ...]
) -> None:
    second = line.head("Content-Length: 2") + b"{}"
    answer = line.ask(line.head(*headers) + b"0\r\n\r\n" + second)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert not upstream.received


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


def test_target_that_names_another_host_goes_to_the_configured_provider(
    line: Line, upstream: EchoUpstream, fakes: Fakes
) -> None:
    body = chat(fakes.email())
    target = "http://attacker.example/v1/chat/completions"
    answer = line.ask(line.head(f"Content-Length: {len(body)}", target=target) + body)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))
    assert all("attacker" not in repr(r.headers) + r.path for r in upstream.received)


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
