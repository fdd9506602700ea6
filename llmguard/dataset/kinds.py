"""Kinds: what a data set's file is, by its content and its name.

Owns forms (what records are) and codings (how the file is compressed). Where both can tell, the content does: a name
decides among texts alone. Never reads more than the head of a file.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from llmguard.errors import ConfigError, DatasetError
from llmguard.payload.coding import Damaged, Decoder

Form = Literal["jsonl", "csv", "parquet", "text"]
Coding = Literal["", "gzip", "zstd"]
HEAD = 64 << 10
"""Bytes of a file that are looked at."""
_CODINGS: dict[bytes, Coding] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_CODED: dict[str, Coding] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FORMS: dict[str, Form] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".txt", ".text", ".log", ".md", ".markdown", ".html", ".xml", ".yaml", ".yml"), "text"),
}
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_PACKED = {b"PK\x03\x04": "a zip archive", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"%PDF-": "a PDF"}


@dataclass(frozen=True, slots=True)
class Shape:
    form: Form
    coding: Coding


def shape(head: bytes, name: str, wanted: Form | None) -> Shape:
    """Of a file with these first bytes. ``wanted``: the form as its owner says. Raises DatasetError."""
    coding: Coding = next((c for magic, c in _CODINGS.items() if head.startswith(magic)), "")
    try:
        inside = _inside(head, coding) if coding else head
    except Damaged:
        raise DatasetError(f"{name} begins as {coding}, and cannot be decompressed") from None
    if inside.startswith(b"PAR1"):
        if coding:
            raise DatasetError(f"{name} is a Parquet file within {coding}: decompress it first")
        found: Form = "parquet"
    else:
        _readable(inside, name)
        found = wanted or named(name)[0] or _guess(inside)
        if found == "parquet" and inside:
            raise DatasetError(f"{name} is no Parquet file, whatever its name or --format says")
        if found == "jsonl" and inside.lstrip().startswith(b"["):
            raise DatasetError(f"{name} is one JSON array, not a line a record: jq -c '.[]' makes JSONL of it")
    if wanted and wanted != found:
        raise DatasetError(f"{name} is a {found} file, not {wanted}")
    return Shape(found, coding)


def named(name: str) -> tuple[Form | None, Coding]:
    """What a name says: ``x.jsonl.gz`` is JSONL in gzip."""
    path = PurePath(name.lower())
    coding: Coding = _CODED.get(path.suffix, "")
    return _FORMS.get(path.with_suffix("").suffix if coding else path.suffix), coding


def zstd() -> Any:
    """The module of the standard library, or what it was before Python 3.14."""
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def arrow() -> Any:
    """pyarrow with its Parquet part. Raises ConfigError where it is not installed."""
    with suppress(ImportError):
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    raise ConfigError("Parquet needs a package that is not installed: pip install 'llmguard[data]'")


def _inside(head: bytes, coding: Coding) -> bytes:
    decoder = Decoder(coding)
    decoder.feed(head)
    return decoder.next()[:HEAD]


def _readable(inside: bytes, name: str) -> None:
    if inside.startswith(_WIDE):
        raise DatasetError(f"{name} is UTF-16: iconv -f UTF-16 -t UTF-8 makes UTF-8 of it")
    for magic, what in _PACKED.items():
        if inside.startswith(magic):
            raise DatasetError(f"{name} is {what}; JSONL, CSV, Parquet and text are cleaned, plain or in gzip or zstd")


def _guess(inside: bytes) -> Form:
    """Of a name that says nothing: JSON in the first line, or a delimiter as often in each of the first lines."""
    lines = [line for line in inside.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:6] if line.strip()]
    if lines and lines[0].lstrip().startswith(b"{"):
        return "jsonl"
    whole = lines[:-1]
    if len(whole) > 1 and any(
        whole[0].count(d) and len({line.count(d) for line in whole}) == 1 for d in (b",", b"\t", b";")
    ):
        return "csv"
    return "text"
