"""Reading: bounded, and of a file that stays the same."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from llmguard.dataset import reading
from llmguard.dataset.kinds import zstd
from llmguard.dataset.reading import CHUNK, Prefix, PrefixChanged, Reader
from llmguard.errors import DatasetError


def made(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [gzip.compress, lambda d: zstd().compress(d), bytes], ids=["gzip", "zstd", "plain"])
def test_content_and_digest_are_those_of_the_file(tmp_path: Path, pack: object) -> None:
    content = os.urandom(3 * CHUNK) + b"end"
    path = made(tmp_path, pack(content) if callable(pack) else content)
    reader = Reader(path)
    assert b"".join(reader.chunks()) == content
    assert reader.prefix() == Prefix(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    reader.unchanged()
    reader.close()


def test_members_of_gzip_follow_one_another(tmp_path: Path) -> None:
    reader = Reader(made(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"b\n")))
    assert b"".join(reader.chunks()) == b"a\nb\n"
    reader.close()


@pytest.mark.parametrize("cut", [-1, 40])
def test_damaged_compression_is_told(tmp_path: Path, cut: int) -> None:
    reader = Reader(made(tmp_path, gzip.compress(os.urandom(1000))[:cut]))
    with pytest.raises(DatasetError, match="damaged or cut"):
        list(reader.chunks())
    reader.close()


def test_a_bomb_ends_at_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FREE", 4 << 20)
    path, sizes = made(tmp_path, gzip.compress(bytes(16 << 20), 9)), []
    reader = Reader(path)
    with pytest.raises(DatasetError, match="--max-expansion"):
        sizes.extend(map(len, reader.chunks()))
    assert sum(sizes) <= reading.FREE + 2 * CHUNK
    reader.close()
    allowed = Reader(path, expansion=2000)
    assert sum(map(len, allowed.chunks())) == 16 << 20
    allowed.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.write_bytes(p.read_bytes() + b"more"),
        lambda p: p.write_bytes(p.read_bytes()[::-1]),
        lambda p: p.replace(p.with_name("b")) and p.write_bytes(b"x" * 100),
        lambda p: p.unlink(),
    ],
    ids=["longer", "other bytes", "another file", "gone"],
)
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, change: object) -> None:
    path = made(tmp_path, b"a" * 50 + b"b" * 50)
    reader = Reader(path)
    assert callable(change)

    def read() -> None:
        for _ in reader.chunks():
            change(path)
        reader.unchanged()

    with pytest.raises(DatasetError, match="while it was read"):
        read()
    reader.close()


def test_a_file_that_does_not_begin_as_before_is_noticed(tmp_path: Path) -> None:
    content = os.urandom(2 * CHUNK + 5)
    path = made(tmp_path, content)
    reader = Reader(path)
    prefixes = [reader.prefix() for _ in reader.chunks()]
    reader.close()
    for known in prefixes:
        again = Reader(path)
        assert b"".join(again.chunks(known)) == content
        again.close()
    path.write_bytes(b"x" + content[1:])
    for known in prefixes:
        again = Reader(path)
        with pytest.raises(PrefixChanged):
            list(again.chunks(known))
        again.close()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        Reader(tmp_path / "none")
