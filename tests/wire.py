"""Servers that speak raw HTTP/1.1 on loopback: one that says exactly what a test tells it to, and a forward proxy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Reply = Callable[[socket.socket, bytes], None]


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer with its length. Names of headers: ``content_type="…"``."""
    pairs = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in pairs.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body


@dataclass
class Wire:
    """``with Wire(answer(b"{}")) as wire``: every request gets the reply, bytes or a function of the connection.

    ``early``: the reply is sent as soon as the head has arrived, and the connection is then closed.
    """

    reply: bytes | Reply = b""
    early: bool = False
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Wire:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        workers = []
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                workers.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                workers[-1].start()
        for worker in workers:
            worker.join(5)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if self.early:
                head = connection.recv(65536)
                self.requests.append(head)
                self._say(connection, head)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
                return
            for request in requests(connection):
                self.requests.append(request)
                self._say(connection, request)

    def _say(self, connection: socket.socket, request: bytes) -> None:
        if callable(self.reply):
            self.reply(connection, request)
        else:
            connection.sendall(self.reply)


def requests(connection: socket.socket) -> Iterator[bytes]:
    """The requests of a connection, head and body, up to its end."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            if not (data := connection.recv(65536)):
                return
            buffer += data
        head, _, rest = buffer.partition(b"\r\n\r\n")
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(names.get(b"content-length", b"0"))
        while len(rest) < length:
            if not (data := connection.recv(65536)):
                return
            rest += data
        yield head + b"\r\n\r\n" + rest[:length]
        buffer = rest[length:]


def forward(connection: socket.socket, request: bytes) -> None:
    """The reply of a forward proxy: absolute-form requests are passed on, CONNECT is refused."""
    line, _, rest = request.partition(b"\r\n")
    method, target, version = line.split(b" ")
    if method == b"CONNECT":
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        return
    url = urlsplit(target.decode())
    path = url.path + (f"?{url.query}" if url.query else "")
    with socket.create_connection((url.hostname or "", url.port or 80)) as onward:
        onward.sendall(b" ".join((method, path.encode(), version)) + b"\r\nconnection: close\r\n" + rest)
        while data := onward.recv(65536):
            connection.sendall(data)
    connection.shutdown(socket.SHUT_RDWR)
