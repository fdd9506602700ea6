"""Outgoing: HTTP to configured destinations. No redirects, no cookies, no proxy of the environment, bounded answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from llmguard.notify.failure import Undelivered, ensure

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
MAX_ANSWER = 256 * 1024
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """POSTs bytes, and says what came back."""

    http: aiohttp.ClientSession

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The body of a success. The address goes out as it is configured. Raises Undelivered for anything else."""
        sent = {
            "user-agent": "llmguard",
            "accept-encoding": "identity",
            "content-type": "application/json; charset=utf-8",
        }
        try:
            async with self.http.post(
                URL(url, encoded=True), data=body, headers=sent | dict(headers), allow_redirects=False
            ) as answer:
                ensure(answer.status, answer.headers)
                return await _bounded(answer.content)
        except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041  two types before 3.11 of what aiohttp raises
            raise Undelivered("timeout") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
            raise Undelivered("certificate") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise Undelivered("unreachable") from None


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    received = b""
    async for chunk in content.iter_chunked(16 * 1024):
        received += chunk
        if len(received) > MAX_ANSWER:
            raise Undelivered("answer_too_long")
    return received


@contextlib.asynccontextmanager
async def outgoing() -> AsyncIterator[Outgoing]:
    """While the block runs."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refused)  # WebSockets, too, which have no argument for it
    async with aiohttp.ClientSession(
        timeout=TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        trace_configs=[trace],
    ) as http:
        yield Outgoing(http)


async def _refused(*_: Any) -> None:
    raise aiohttp.ClientError("redirects are not followed")


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
