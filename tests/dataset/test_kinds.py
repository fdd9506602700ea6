"""What a file is: by content before name, and in words where it is none that is cleaned."""

from __future__ import annotations

import gzip

import pytest

from llmguard.dataset.kinds import Shape, named, shape, zstd
from llmguard.errors import DatasetError

LINE = b'{"prompt": "hello"}\n'


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (LINE, "a.jsonl", Shape("jsonl", "")),
        (LINE, "a", Shape("jsonl", "")),
        (b"\xef\xbb\xbf" + LINE, "a", Shape("jsonl", "")),
        (b"id,text\n1,a\n2,b\n", "a", Shape("csv", "")),
        (b"id;text\n1;a, b, c\n2;b\n", "a.dat", Shape("csv", "")),
        (b"dear all,\nwhat is new\n", "a", Shape("text", "")),
        (b"id,text\n", "a.csv", Shape("csv", "")),
        (LINE, "a.txt", Shape("text", "")),
        (b"PAR1....", "a.jsonl", Shape("parquet", "")),
        (gzip.compress(LINE, mtime=0), "a.jsonl", Shape("jsonl", "gzip")),
        (gzip.compress(b"a,b\n", mtime=0), "a.csv.gz", Shape("csv", "gzip")),
        (zstd().compress(LINE), "a.zst", Shape("jsonl", "zstd")),
        (b"", "a.jsonl", Shape("jsonl", "")),
        (b"", "a", Shape("text", "")),
    ],
    ids=str,
)
def test_a_file_is_what_its_content_says_then_its_name(head: bytes, name: str, expected: Shape) -> None:
    assert shape(head, name, None) == expected


@pytest.mark.parametrize(
    ("head", "name", "said"),
    [
        (b"[\n{}]", "a.json", "jq -c"),
        ("a".encode("utf-16"), "a.txt", "iconv"),
        (b"PK\x03\x04...", "a.jsonl", "zip archive"),
        (b"%PDF-1.7", "a.txt", "PDF"),
        (LINE, "a.parquet", "no Parquet file"),
        (gzip.compress(b"PAR1....", mtime=0), "a.parquet.gz", "decompress it first"),
        (b"\x1f\x8b\x08nonsense", "a.gz", "cannot be decompressed"),
    ],
    ids=str,
)
def test_what_is_not_cleaned_is_told_with_what_helps(head: bytes, name: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        shape(head, name, None)


def test_what_its_owner_says_counts_among_texts_alone() -> None:
    assert shape(LINE, "a.jsonl", "text").form == "text"
    with pytest.raises(DatasetError, match="not csv"):
        shape(b"PAR1....", "a", "csv")


def test_names_tell_form_and_coding() -> None:
    assert named("A.JSONL.GZ") == ("jsonl", "gzip")
    assert named("a.parquet") == ("parquet", "")
    assert named("a.zst") == (None, "zstd")
    assert named("a.bin") == (None, "")
