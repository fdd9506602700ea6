"""Loopback: where the browser brings a login back to the command line (RFC 8252 §7.3).

It listens on 127.0.0.1 for one answer that names the challenge of this login, and hears nothing else: no other page,
Host name or path. What it shows is fixed text, or escaped.
"""

from __future__ import annotations

import hmac
import html
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from llmguard.errors import Unauthenticated

DONE = "You are logged in. You can close this window."
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>llmguard</title></head>
<body><h1>llmguard</h1><p>{text}</p></body></html>
"""
_SILENT = 10.0
"""Seconds that one connection may say nothing: browsers open some on suspicion."""


class Loopback:
    """Waits for one answer to ``challenge``."""

    def __init__(self, challenge: str) -> None:
        self._challenge = challenge
        self._answers: queue.Queue[dict[str, str]] = queue.Queue(maxsize=1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._take))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()

    def code(self, timeout: float) -> str:
        """The one-time code that the browser brings, within so many seconds. Raises Unauthenticated."""
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise Unauthenticated("nobody logged in in time: llmguard login starts again") from None
        if "code" not in answer:
            raise Unauthenticated(answer.get("error") or "the browser brought no code")
        return answer["code"]

    def _take(self, host: str, target: str) -> str | None:
        """The text of the page, or None where nothing is to be had."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
        told = query.get("challenge", "")
        if host != f"127.0.0.1:{self.port}" or parts.path != "/":
            return None
        if not hmac.compare_digest(told.encode(), self._challenge.encode()):
            return None
        try:
            self._answers.put_nowait(query)
        except queue.Full:
            return None
        return DONE if "code" in query else f"The login did not succeed: {query.get('error', '')}"


def _handler(answer: Callable[[str, str], str | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SILENT

        def do_GET(self) -> None:
            text = answer(self.headers.get("host", ""), self.path)
            page = _PAGE.format(text=html.escape(text or "There is nothing here.")).encode()
            self.send_response(200 if text else 404)
            for name, value in (
                ("content-type", "text/html; charset=utf-8"),
                ("content-length", str(len(page))),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
                ("connection", "close"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Requests hold codes: nothing of them is written anywhere."""

    return Handler
