"""Uploads over HTTP: broken and hostile forms, parts in every order, and a spool that is empty when all is over."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard import spool, uploads
from llmguard.config import Settings
from llmguard.spool import MEMORY
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

LINE = b'{"note": "' + b"the weather is fine, " * 100 + b'"}\n'
TYPE = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, filename: str | None = None, media_type: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head += f"\r\nContent-Type: {media_type}" if media_type else ""
    return b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


class Door:
    """One application, and what lies in the spool."""

    def __init__(self, local: LocalGuard, key: str) -> None:
        self.local, self.key = local, key

    def ask(self, path: str, body: bytes, media_type: str = TYPE, **headers: str) -> tuple[int, Any]:
        sent = {"authorization": f"Bearer {self.key}", "content-type": media_type}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.local.port, timeout=120)
        try:
            connection.request("POST", f"/v1{path}", body, sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def file(self, data: bytes, name: str = "a.txt", purpose: str = "user_data", **headers: str) -> tuple[int, Any]:
        body = form(part("purpose", purpose.encode()), part("file", data, name))
        return self.ask("/files", gzip.compress(body) if "content_encoding" in headers else body, **headers)

    def json(self, path: str, value: Any) -> tuple[int, Any]:
        return self.ask(path, json.dumps(value).encode(), "application/json")

    def begin(self, size: int, **more: Any) -> str:
        asked = {"filename": "a.txt", "purpose": "user_data", "bytes": size, "mime_type": "text/plain", **more}
        status, told = self.json("/uploads", asked)
        assert status == 200, told
        return str(told["id"])

    def part(self, upload: str, data: bytes) -> tuple[int, Any]:
        return self.ask(f"/uploads/{upload}/parts", form(part("data", data, "upload")))

    def parts(self, upload: str, *data: bytes) -> list[str]:
        return [self.part(upload, one)[1]["id"] for one in data]

    def complete(self, upload: str, ids: list[Any], **more: Any) -> tuple[int, Any]:
        return self.json(f"/uploads/{upload}/complete", {"part_ids": ids, **more})

    def ended(self, upload: str) -> None:
        """Waits until an upload whose answer was read is over."""
        store = self.local.guard.store
        for _ in range(500):
            rows = store.read(lambda tx: tx.all("SELECT state FROM uploads WHERE id = ?", upload))
            if [row["state"] for row in rows] == ["completed"]:
                return
            time.sleep(0.01)  # between two looks

    @property
    def lies(self) -> list[Path]:
        """The files of the spool, once every request that is over has wiped its own."""
        folder = spool.folder_of(self.local.guard.vault)
        for _ in range(200):
            found = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("alive")]
            if not found:
                break
            time.sleep(0.01)  # between two looks
        return found


@pytest.fixture(scope="module")
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


def started(folder: Path, upstream: EchoUpstream, **more: Any) -> LocalGuard:
    settings = Settings(
        data=folder / "data",
        credentials=folder / "credentials.json",
        upstream=upstream.url,
        upstream_key="provider-key",
        port=0,
        control_port=0,
        names=False,
        hold="ticket",
        **more,
    )
    return LocalGuard(settings)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: EchoUpstream) -> Iterator[tuple[Door, Door]]:
    with started(tmp_path_factory.mktemp("guard"), upstream) as local:
        for name in ("ann", "bob"):
            local.person(f"{name}@example.org")
        yield Door(local, local.key("one", "ann@example.org")), Door(local, local.key("two", "bob@example.org"))


@pytest.fixture
def door(shared: tuple[Door, Door], upstream: EchoUpstream) -> Iterator[Door]:
    upstream.received.clear()
    yield shared[0]
    assert shared[0].lies == []


@pytest.fixture
def other(shared: tuple[Door, Door]) -> Door:
    return shared[1]


def large(text: str = "") -> bytes:
    """More than stays in memory, with a text in its middle."""
    half = LINE * (MEMORY // len(LINE))
    return half + json.dumps({"note": text}).encode() + b"\n" + half


def unseen(upstream: EchoUpstream, value: str) -> None:
    assert not [r for r in upstream.received if value.encode() in r.body]


# --------------------------------------------------------------------------- one form


def test_a_large_file_is_redacted_and_wiped(door: Door, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    status, _ = door.file(large(f"write to {email}"), "a.jsonl")
    assert status == 200
    unseen(upstream, email)
    assert b"[EMAIL_" in upstream.received[0].body


def test_a_compressed_form_is_read_like_any_other(door: Door, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    assert door.file(f"write to {email}".encode(), content_encoding="gzip")[0] == 200
    unseen(upstream, email)


def test_the_original_is_nowhere_in_the_data_folder(door: Door, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    raw = large(f"write to {email}")
    upload = door.begin(len(raw))
    ids = door.parts(upload, raw[:MEMORY], raw[MEMORY:], b"x" * 10)
    folder = door.local.settings.data
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        assert email.encode() not in data
        assert b"the weather is fine" not in data
    assert door.complete(upload, ids[:2])[0] == 200
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        assert email.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "broken",
    [
        large()[:-1],
        form(part("purpose", b"user_data"), part("file", large(), "a.txt"))[:-8],
        form(part("file", large(), "a.txt"), part("file", large(), "b.txt"))[:-3],
        form(part("file", large(), "a.txt"), part("note", b"\xff")),
        form(part("file", large(), "a.txt"), *[part(f"f{i}", b"x") for i in range(256)]),
        form(part("file", large(), "a.txt"), part("purpose", b"x"), part("purpose", b"fine-tune")),
    ],
    ids=[
        "no form",
        "cut in its end",
        "cut in its second file",
        "a field that is no text",
        "257 fields",
        "two purposes",
    ],
)
def test_a_broken_form_leaves_nothing_behind(door: Door, upstream: EchoUpstream, broken: bytes) -> None:
    status, told = door.ask("/files", broken)
    assert (status, told["error"]["code"]) == (400, "unscannable_request")
    assert upstream.received == []


def test_a_caller_who_hangs_up_in_the_middle_leaves_nothing_behind(door: Door, upstream: EchoUpstream) -> None:
    body = form(part("purpose", b"user_data"), part("file", large(), "a.txt"))
    head = (
        f"POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {door.key}\r\n"
        f"content-type: {TYPE}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", door.local.port)) as s:
        s.sendall(head.encode() + body[: len(body) - 100])
    assert door.lies == []
    assert upstream.received == []


def test_a_form_that_unpacks_without_end_is_refused(tmp_path: Path, upstream: EchoUpstream) -> None:
    upstream.received.clear()
    with started(tmp_path, upstream, max_upload_bytes=4 * MEMORY) as local:
        local.person("ann@example.org")
        door = Door(local, local.key("app", "ann@example.org"))
        bomb = gzip.compress(form(part("file", bytes(64 * MEMORY), "a.bin")))
        status, told = door.ask("/files", bomb, content_encoding="gzip")
        assert (status, told["error"]["code"]) == (413, "request_too_large")
        assert door.lies == []
    assert upstream.received == []


def test_a_full_spool_refuses_and_takes_the_next_one_again(
    tmp_path: Path, upstream: EchoUpstream, fakes: Fakes
) -> None:
    upstream.received.clear()
    with started(tmp_path, upstream, spool_bytes=5 * MEMORY) as local:
        local.person("ann@example.org")
        door = Door(local, local.key("app", "ann@example.org"))
        upload = door.begin(3 * MEMORY)
        assert door.part(upload, bytes(3 * MEMORY))[0] == 200
        status, told = door.file(large(fakes.email()), "a.jsonl")
        assert (status, told["error"]["code"]) == (503, "guard_unavailable")
        assert upstream.received == []
        assert door.json(f"/uploads/{upload}/cancel", {})[0] == 200
        assert door.file(large("x"), "a.jsonl")[0] == 200
        assert door.lies == []


def test_a_file_that_was_altered_on_disk_never_leaves(door: Door, upstream: EchoUpstream) -> None:
    raw = large("x")
    harms: list[Callable[[bytes], bytes]] = [
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[:500] + bytes([sealed[500] ^ 1]) + sealed[501:],
        lambda sealed: b"",
    ]
    for harm in harms:
        upload = door.begin(len(raw))
        ids = door.parts(upload, raw)
        held = spool.folder_of(door.local.guard.vault) / "held"
        (path,) = held.iterdir()
        path.write_bytes(harm(path.read_bytes()))
        status, told = door.complete(upload, ids)
        assert (status, told["error"]["code"]) == (503, "guard_unavailable")
        assert door.json(f"/uploads/{upload}/cancel", {})[0] == 200
    assert upstream.received == []


# --------------------------------------------------------------------------- in parts


def test_a_value_over_every_border_of_parts_is_redacted(door: Door, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    raw = json.dumps({"note": f"write to {email} please"}).encode() + b"\n"
    at = raw.index(email.encode())
    for border in range(at, at + len(email) + 1):
        upload = door.begin(len(raw))
        last, first = door.parts(upload, raw[border:], raw[:border])
        assert door.complete(upload, [first, last])[0] == 200
    unseen(upstream, email)
    assert sum(b"[EMAIL_" in r.body for r in upstream.received) == len(email) + 1


def test_parts_of_two_uploads_stay_apart(door: Door, upstream: EchoUpstream) -> None:
    one, two = door.begin(2), door.begin(2)
    a, x, b, y = (door.part(u, d)[1]["id"] for u, d in ((one, b"a"), (two, b"x"), (one, b"b"), (two, b"y")))
    for upload, ids in ((one, [a, y]), (two, [x, b])):
        status, told = door.complete(upload, ids)
        assert (status, told["error"]["code"]) == (400, "invalid_request")
    assert upstream.received == []
    assert door.complete(one, [a, b])[0] == door.complete(two, [y, x])[0] == 200
    sent = [r.body for r in upstream.received if r.path.endswith("/parts")]
    assert [b"\r\n\r\nab\r\n" in sent[0], b"\r\n\r\nyx\r\n" in sent[1]] == [True, True]


def test_anothers_upload_is_none(door: Door, other: Door, upstream: EchoUpstream) -> None:
    upload = door.begin(2 * MEMORY)
    ids = door.parts(upload, bytes(2 * MEMORY))
    refused = [
        other.part(upload, bytes(2 * MEMORY)),
        other.complete(upload, ids),
        other.json(f"/uploads/{upload}/cancel", {}),
        door.part("upload_" + "0" * 32, bytes(2 * MEMORY)),
        other.complete(other.begin(2 * MEMORY), ids),
    ]
    assert [status for status, _ in refused] == [404, 404, 404, 404, 400]
    assert len(list((spool.folder_of(door.local.guard.vault) / "held").iterdir())) == 1
    assert door.json(f"/uploads/{upload}/cancel", {})[0] == 200
    assert upstream.received == []


WRONG: dict[str, Callable[[list[str]], Any]] = {
    "no part": lambda ids: {"part_ids": []},
    "no list": lambda ids: {"part_ids": ids[0]},
    "nothing": lambda ids: {},
    "a part twice": lambda ids: {"part_ids": [ids[0], ids[1], ids[1]]},
    "too few parts": lambda ids: {"part_ids": ids[:1]},
    "a part that is none": lambda ids: {"part_ids": [*ids, "part_x"]},
    "a number": lambda ids: {"part_ids": [*ids, 1]},
    "the MD5 of something else": lambda ids: {"part_ids": ids, "md5": hashlib.md5(b"x").hexdigest()},
    "an MD5 that is none": lambda ids: {"part_ids": ids, "md5": 1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_and_may_be_done_right(door: Door, upstream: EchoUpstream, wrong: str) -> None:
    raw = b"one" + b"two"
    upload = door.begin(len(raw))
    ids = door.parts(upload, b"one", b"two")
    status, told = door.json(f"/uploads/{upload}/complete", WRONG[wrong](ids))
    assert (status, told["error"]["code"]) == (400, "invalid_request")
    assert upstream.received == []
    assert door.complete(upload, ids, md5=hashlib.md5(raw).hexdigest())[0] == 200
    door.ended(upload)
    assert door.complete(upload, ids)[0] == 404
    assert door.part(upload, b"x")[0] == 404
    assert door.json(f"/uploads/{upload}/cancel", {})[0] == 404


@pytest.mark.parametrize(
    "asked",
    [
        {"bytes": -1},
        {"bytes": 1.5},
        {"bytes": "10"},
        {"bytes": 10**16},
        {"filename": ""},
        {"filename": "a\r\nX-Note: b"},
        {"filename": "a" * 513},
        {"purpose": None},
        {"mime_type": "text/plain\r\n\r\njane"},
        {"mime_type": "jane"},
        {"expires_after": {"anchor": "created_at", "seconds": 3600, "jane": 1}},
        {"expires_after": "jane"},
    ],
)
def test_what_is_announced_is_what_an_upload_has(door: Door, asked: dict[str, Any]) -> None:
    right = {"filename": "a.jsonl", "purpose": "user_data", "bytes": 1, "mime_type": "application/jsonl"}
    status, told = door.json("/uploads", right | asked)
    assert (status, told["error"]["code"]) == (400, "invalid_request")
    assert "jane" not in json.dumps(told)


def test_a_part_is_one_file_of_the_size_that_was_announced(door: Door) -> None:
    upload = door.begin(1)
    for body in (form(), form(part("file", b"x", "a")), form(part("data", b"x", "a"), part("data", b"y", "b"))):
        assert door.ask(f"/uploads/{upload}/parts", body)[0] == 400
    assert door.json(f"/uploads/{upload}/parts", {"data": "x"})[0] == 400
    assert door.json(f"/uploads/{upload}/cancel", {})[0] == 200
    assert door.part(upload, b"x")[0] == 404


def test_a_caller_has_a_hundred_uploads_open(door: Door) -> None:
    door = Door(door.local, door.local.key("many", "ann@example.org"))
    ids = [door.begin(1) for _ in range(uploads.MAX_OPEN)]
    status, told = door.json(
        "/uploads", {"filename": "a", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
    )
    assert (status, told["error"]["code"]) == (503, "guard_unavailable")
    for id_ in ids:
        assert door.json(f"/uploads/{id_}/cancel", {})[0] == 200
    assert door.json(f"/uploads/{door.begin(1)}/cancel", {})[0] == 200


def test_an_upload_that_the_provider_did_not_take_can_be_completed_again(door: Door, upstream: EchoUpstream) -> None:
    raw = b"one and two\n"
    upload = door.begin(len(raw))
    ids = door.parts(upload, raw)
    upstream.behave = "busy_once"
    assert door.complete(upload, ids)[0] == 429
    for _ in range(200):
        status, _ = door.complete(upload, ids)
        if status != 404:  # the answer is out a moment before the upload is back
            break
        time.sleep(0.01)  # between two tries
    assert status == 200
    door.ended(upload)
    assert door.complete(upload, ids)[0] == 404


def test_an_upload_is_completed_by_one_request_at_a_time(door: Door) -> None:
    raw = b"one and two\n"
    upload = door.begin(len(raw))
    ids = door.parts(upload, raw)
    guard = door.local.guard
    guard.store.transact(lambda tx: tx.run("UPDATE uploads SET state = 'sending' WHERE id = ?", upload))
    assert door.complete(upload, ids)[0] == 404
    assert door.json(f"/uploads/{upload}/cancel", {})[0] == 404
    guard.store.transact(lambda tx: tx.run("UPDATE uploads SET state = 'pending' WHERE id = ?", upload))
    assert door.json(f"/uploads/{upload}/cancel", {})[0] == 200


def test_what_is_not_completed_in_a_day_is_wiped(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = door.local.guard
    upload = door.begin(2 * MEMORY)
    door.parts(upload, bytes(2 * MEMORY))
    guard.sweep()
    assert len(list((spool.folder_of(guard.vault) / "held").iterdir())) == 1
    guard.store.transact(lambda tx: tx.run("UPDATE uploads SET expires = 1 WHERE id = ?", upload))
    assert door.part(upload, b"x")[0] == 404
    monkeypatch.setattr(spool, "ABANDONED", -1.0)
    guard.sweep()
    assert guard.store.read(lambda tx: tx.all("SELECT * FROM upload_parts")) == []
