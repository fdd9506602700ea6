"""Whatever a file holds: an answer, no exception, and no more memory than the bounds."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.payload.files import HEAD, Limits, kind_of, look_into
from tests.payload.files.test_archives import tarred, zipped, zstd
from tests.payload.files.test_office import DOCUMENT, SHARED, SHEET, office
from tests.payload.files.test_others import PNG, XMP, chunk, exif, message
from tests.payload.files.test_pdf import PAGE, pages, stream

CORPUS: dict[str, bytes] = {
    "pdf": pages(PAGE % b"words", PAGE % b"more"),
    "docx": office({"word/document.xml": DOCUMENT}),
    "xlsx": office({"xl/worksheets/sheet1.xml": SHEET, "xl/sharedStrings.xml": SHARED}),
    "zip": zipped({"a.txt": "words", "b.zip": zipped({"c": "d"})}),
    "tar": tarred({"a.txt": b"words", "b": b"x" * 600}),
    "zstd": zstd(b"words " * 100),
    "eml": message().as_bytes(),
    "png": PNG + chunk(b"tEXt", b"Comment\0by Jane") + chunk(b"eXIf", exif()),
    "tiff": exif(">") + XMP,
    "rtf": rb"{\rtf1\ansi{\info{\author Jane}}J\'fcrgen \u8364 ?{\pict 00}}",
    "mp3": b"ID3\3\0\0\0\0\0\x20TPE1\0\0\0\x0b\0\0\3said by me" + bytes(40),
}
SMALL = Limits(held=1 << 20, unpacked=1 << 20, characters=1 << 18, seconds=10)


@pytest.mark.parametrize("name", CORPUS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_damaged_files_never_raise(name: str, data: st.DataObject) -> None:
    raw = bytearray(CORPUS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        raw = raw or bytearray(b"x")
    seen = look_into(io.BytesIO(raw), kind_of(bytes(raw[:HEAD])), limits=SMALL)
    for part in seen.parts:
        part.text.encode()


@given(
    st.binary(max_size=200),
    st.sampled_from(["pdf", "docx", "archive", "eml", "rtf", "image", "audio", "parquet", "mbox"]),
)
@settings(deadline=None)
def test_a_look_for_another_kind_never_raises(data: bytes, kind) -> None:  # type: ignore[no-untyped-def]
    look_into(io.BytesIO(data), kind, limits=SMALL)


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_seen_does_not_stand_in_a_repr(name: str) -> None:
    seen = look_into(io.BytesIO(CORPUS[name]), kind_of(CORPUS[name][:HEAD]))
    assert seen.parts
    assert not any(word in repr(seen) + repr(seen.parts) for word in ("Jane", "words", "jane"))


BOMBS: dict[str, Callable[[], bytes]] = {
    "zip of zips": lambda: zipped(dict.fromkeys(map(str, range(100)), zipped({"a": bytes(4 << 20)}))),
    "gzip": lambda: gzip.compress(bytes(100 << 20), 1),
    "cells": lambda: office({"xl/worksheets/sheet1.xml": "<a><row>" + "<c><v>0</v></c>" * 110_000 + "</row></a>"}),
    "attribute": lambda: office({"word/document.xml": '<a x="' + "A b " * 3_000_000 + '"/>'}),
    "numbers": lambda: pages(b"", more={800: b"[" + b"[0 0 0 0 0 0 0 0]" * 200_000 + b"]"}),
    "drawing": lambda: pages(b"", more={5: stream(zlib.compress(b"0 0 m " * 10_000_000, 1), b"/Filter/FlateDecode")}),
    "comment": lambda: PNG + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 << 20), 1)),
}


def test_bombs_stay_within_memory(tmp_path: Path) -> None:
    """Made here, looked into by another process, whose peak is what counts."""
    for name, made in BOMBS.items():
        (tmp_path / name).write_bytes(made())
    code = """
        import re, sys
        from pathlib import Path
        from llmguard.payload.files import HEAD, Limits, kind_of, look_into
        for path in sorted(Path(sys.argv[1]).iterdir()):
            with path.open("rb") as file:
                seen = look_into(file, kind_of(file.read(HEAD)), limits=Limits(operators=200_000, characters=1 << 20))
            # not getrusage: its peak begins with that of the process that started this one
            peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
            print(path.name, int(peak[1]) >> 10, *seen.unscanned, sep=",")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=110)
    lines = [line.split(",") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == sorted(BOMBS)
    assert max(int(line[1]) for line in lines) < 700, lines
    assert all(line[2:] for line in lines), lines
