"""What a plane lets out ends at the front: no text of an exception reaches a log, and the next request is answered."""

from __future__ import annotations

import asyncio
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from llmguard.proxy.front import Front
from llmguard.proxy.serve import _server, listener
from llmguard.testing import Fakes


@pytest.fixture
def front() -> Iterator[tuple[Front, str]]:
    made, sock = Front(), listener("127.0.0.1", 0)
    server = _server(made)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
    thread.start()
    yield made, f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    sock.close()


def test_before_a_plane_is_open_only_health_is_told(front: tuple[Front, str]) -> None:
    _, url = front
    assert urllib.request.urlopen(f"{url}/healthz", timeout=10).status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/v1/models", timeout=10)
    assert caught.value.code == 503
    caught.value.close()


@pytest.mark.parametrize("answered", [False, True])
def test_a_failing_plane_is_named_by_type_alone_and_the_server_goes_on(
    front: tuple[Front, str], fakes: Fakes, caplog: Any, capfd: Any, answered: bool
) -> None:
    made, url = front
    canary = fakes.token()

    async def plane(scope: Any, receive: Any, send: Any) -> None:
        if answered:
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})
        raise ValueError(canary)

    made.plane = plane
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url, timeout=10)
            assert caught.value.code == 500
            assert canary not in caught.value.read().decode()
            caught.value.close()
    out, err = capfd.readouterr()
    assert "a plane failed: ValueError" in caplog.text
    assert canary not in caplog.text + out + err
    assert "Traceback" not in caplog.text + out + err
