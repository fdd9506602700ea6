"""Slack, Teams and mail as they look from here: real servers on loopback, each in a thread of its own.

Slack's answers and errors follow its public reference; nothing of it was tried against the real one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web

BOT, APP, SIGNING = "bot-token-of-the-test", "app-token-of-the-test", "signing-secret-of-the-test"


@dataclass
class Got:
    """One request that arrived."""

    path: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What is answered next. ``delay`` in seconds."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


class Counterpart:
    """An HTTP server that keeps what it gets, answers as told, and speaks Slack's Web API and Socket Mode."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.next: list[Answer] = []
        self.always: Answer | None = None
        self.acks: list[Any] = []
        self.connections = 0
        self.socket_url: str | None = None
        self.news = threading.Condition()
        self._messages = 0
        self._sockets: list[web.WebSocketResponse] = []

    # ----------------------------------------------------------------- life

    def __enter__(self) -> Counterpart:
        started: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        self._loop, self.port = started.result(10)
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, started: Future[Any]) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=2**22)
        app.router.add_get("/socket", self._socket)
        app.router.add_route("*", "/{path:.*}", self._request)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        started.set_result((asyncio.get_running_loop(), site._server.sockets[0].getsockname()[1]))  # type: ignore[union-attr]
        await self._stop.wait()
        for ws in self._sockets:
            await ws.close()
        await runner.cleanup()

    # ----------------------------------------------------------------- answers

    async def _request(self, request: web.Request) -> web.Response:
        body = await request.read()
        answer = self.next.pop(0) if self.next else self.always
        if answer is not None and answer.delay:
            await asyncio.sleep(answer.delay)
        with self.news:
            self.got.append(
                Got(request.path, request.raw_path, {k.lower(): v for k, v in request.headers.items()}, body)
            )
            self.news.notify_all()
        if answer is None:
            answer = Answer(body=self._slack(request.path, request.headers.get("authorization", "")))
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return web.Response(status=answer.status, body=content, headers=answer.headers)

    def _slack(self, path: str, authorization: str) -> Any:
        if not path.startswith("/api/"):
            return {}
        method = path.removeprefix("/api/")
        wanted = APP if method == "apps.connections.open" else BOT
        if authorization != f"Bearer {wanted}":
            return {"ok": False, "error": "invalid_auth"}
        self._messages += method == "chat.postMessage"
        return {
            "chat.postMessage": {"ok": True, "channel": "C0000000001", "ts": f"1800000000.{self._messages:06}"},
            "chat.update": {"ok": True},
            "chat.postEphemeral": {"ok": True},
            "views.open": {"ok": True},
            "apps.connections.open": {"ok": True, "url": self.socket_url or f"ws://127.0.0.1:{self.port}/socket"},
        }.get(method, {"ok": False, "error": "unknown_method"})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str(json.dumps({"type": "hello", "num_connections": 1}))
        with self.news:
            self.connections += 1
            self._sockets.append(ws)
            self.news.notify_all()
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                with self.news:
                    self.acks.append(json.loads(message.data))
                    self.news.notify_all()
        return ws

    def push(self, text: str) -> None:
        """Sends an envelope to whoever is connected last."""
        asyncio.run_coroutine_threadsafe(self._sockets[-1].send_str(text), self._loop).result(5)

    def hang_up(self) -> None:
        asyncio.run_coroutine_threadsafe(self._sockets[-1].close(), self._loop).result(5)

    def wait(self, there: Callable[[], Any]) -> None:
        """Until something is so that a request or an acknowledgement brings about."""
        with self.news:
            assert self.news.wait_for(there, 20)

    def called(self, method: str) -> list[Any]:
        """The arguments of the calls of a method of Slack's, in order."""
        return [got.json for got in self.got if got.path == f"/api/{method}"]


# --------------------------------------------------------------------------- what Slack sends, signed independently


def signed(body: bytes, at: int, secret: str = SIGNING) -> dict[str, str]:
    """Headers of a request of Slack, by its documentation alone. ``at`` in seconds."""
    digest = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "x-slack-request-timestamp": str(at),
        "x-slack-signature": f"v0={digest}",
        "content-type": "application/x-www-form-urlencoded",
    }


def form(payload: Any) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()


def pressed(value: str, action: str, *, user: str = "U0000000001", team: str = "T0000000001", **more: Any) -> Any:
    """A button that was pressed."""
    return {
        "type": "block_actions",
        "team": {"id": team, "domain": "example"},
        "user": {"id": user, "username": "whoever", "team_id": more.pop("user_team", team)},
        "channel": {"id": more.pop("conversation", "C0000000001")},
        "trigger_id": "1.2.3",
        "actions": [{"type": "button", "action_id": action, "block_id": "decide", "value": value}],
        **more,
    }


def submitted(metadata: str, reason: str, *, user: str = "U0000000001", team: str = "T0000000001") -> Any:
    """A window that was sent."""
    return {
        "type": "view_submission",
        "team": {"id": team},
        "user": {"id": user, "team_id": team},
        "view": {
            "callback_id": "llmguard_request_changes",
            "private_metadata": metadata,
            "state": {"values": {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}},
        },
    }


def command(text: str, *, user: str = "U0000000001", team: str = "T0000000001") -> bytes:
    """A slash command."""
    fields = {"command": "/llmguard", "text": text, "team_id": team, "user_id": user, "channel_id": "C0000000001"}
    return urlencode(fields).encode()


# --------------------------------------------------------------------------- mail


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP (RFC 5321) as takes a mail. ``context``: TLS, from the start or with STARTTLS."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None, *, at_once: bool = False, code: int = 250) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.context = context
        self.at_once = at_once
        self.code = code
        self.mails: list[bytes] = []
        self.logins: list[tuple[str, str]] = []
        self.recipients: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Mail(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._secure = False
        if self.server.context and self.server.at_once and not self._encrypt():
            return
        self._say("220 test")
        while line := self.rfile.readline(1000).strip():
            word, _, rest = line.decode().partition(" ")
            if not self._answer(word.upper(), rest):
                return

    def _answer(self, word: str, rest: str) -> bool:
        if word == "EHLO":
            offers = ["test", *(["STARTTLS"] if self.server.context and not self._secure else []), "AUTH PLAIN"]
            for offer in offers[:-1]:
                self._say(f"250-{offer}")
            self._say(f"250 {offers[-1]}")
        elif word == "STARTTLS":
            self._say("220 go")
            return self._encrypt()
        elif word == "AUTH":
            _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
            self.server.logins.append((user, password))
            self._say("235 fine")
        elif word == "DATA":
            self._say("354 go")
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            self._say(f"{self.server.code} done")
            if self.server.code == 250:
                self.server.mails.append(b"".join(lines))
        elif word == "QUIT":
            self._say("221 bye")
            return False
        else:
            if word == "RCPT":
                self.server.recipients.append(rest)
            self._say("250 ok")
        return True

    def _encrypt(self) -> bool:
        assert self.server.context
        try:
            self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, OSError):
            return False
        self.rfile = self.connection.makefile("rb", -1)
        self._secure = True
        return True

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _say(self, line: str) -> None:
        self.connection.sendall(f"{line}\r\n".encode())


@contextmanager
def mail_server(*args: Any, **more: Any) -> Iterator[MailServer]:
    with MailServer(*args, **more) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
