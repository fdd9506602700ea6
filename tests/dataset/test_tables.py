"""Parquet: texts wherever they stand, every type kept, bad files told."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from llmguard.dataset import tables
from llmguard.dataset.job import Job
from llmguard.errors import DatasetError

MAIL = "jane.doe@mail-of-many.net"
Cleaned = Callable[..., tuple[bytes, Any]]


def packed(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, **options)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def unpacked(data: bytes) -> pa.Table:
    return parquet.read_table(pa.BufferReader(data))


def test_texts_are_cleaned_wherever_they_stand_and_types_kept(cleaned: Cleaned) -> None:
    message = pa.struct([("role", pa.string()), ("content", pa.large_string()), ("at", pa.timestamp("ms"))])
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("text", pa.string()),
            ("messages", pa.list_(message)),
            ("labels", pa.dictionary(pa.int32(), pa.string())),
            ("extra", pa.map_(pa.string(), pa.string())),
            ("price", pa.decimal128(10, 2)),
            ("raw", pa.binary()),
            ("fixed", pa.list_(pa.string(), 2)),
        ]
    )
    when = datetime.datetime(2026, 1, 2)  # noqa: DTZ001  as Parquet keeps it
    rows = [
        {
            "id": i,
            "text": None if i == 1 else f"mail {MAIL}",
            "messages": [{"role": "user", "content": f"I am {MAIL}", "at": when}, None],
            "labels": MAIL if i else "plain",
            "extra": [("to", MAIL)],
            "price": Decimal("1.20"),
            "raw": b"\x00\xff",
            "fixed": ["a", MAIL],
        }
        for i in range(4)
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    data, summary = cleaned(packed(table, row_group_size=2), "in.parquet", style="placeholder")
    new = unpacked(data)
    assert new.schema == table.schema
    assert MAIL not in str(new.to_pylist())
    assert str(new.to_pylist()).count("[EMAIL_") == 3 + 4 + 3 + 4 + 4
    untouched = ("id", "price", "raw")
    assert new.select(untouched).equals(table.select(untouched))
    assert new["messages"][0].as_py()[0]["at"] == when
    assert new["text"][1].as_py() is None
    assert parquet.ParquetFile(pa.BufferReader(data)).metadata.num_row_groups == 2
    assert summary.tally.records == 4
    [note] = summary.notes
    assert "raw (binary)" in note
    assert "text (" not in note


def test_rows_with_findings_are_dropped(cleaned: Cleaned) -> None:
    table = pa.table({"n": range(6), "text": ["a", MAIL, "b", "c", MAIL, MAIL]})
    data, summary = cleaned(packed(table), "in.parquet", style="drop-record")
    assert unpacked(data).to_pydict() == {"n": [0, 2, 3], "text": ["a", "b", "c"]}
    assert (summary.tally.records, summary.tally.dropped) == (6, 3)


def test_large_row_groups_are_cut(cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SIZE", 1000)
    table = pa.table({"text": [f"{i} {MAIL}" for i in range(300)]})
    data, _ = cleaned(packed(table), "in.parquet", style="drop")
    assert unpacked(data)["text"].to_pylist() == [f"{i} …" for i in range(300)]
    assert parquet.ParquetFile(pa.BufferReader(data)).metadata.num_row_groups > 3


def test_an_empty_table_stays_one(cleaned: Cleaned) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    data, summary = cleaned(packed(table), "in.parquet")
    assert unpacked(data).schema == table.schema
    assert summary.tally.records == 0


def test_free_metadata_does_not_leave(cleaned: Cleaned) -> None:
    table = pa.table({"text": ["a"]}).replace_schema_metadata({"author": MAIL, "huggingface": "{}"})
    data, _ = cleaned(packed(table), "in.parquet")
    assert MAIL.encode() not in data
    assert unpacked(data).schema.metadata[b"huggingface"] == b"{}"


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-30], lambda d: d[:4] + bytes(len(d) - 8) + d[-4:]], ids=["cut", "zeros"]
)
def test_unreadable_parquet_is_told_without_content(
    job: Callable[..., Job], here: Any, damage: Callable[[bytes], bytes]
) -> None:
    from llmguard.dataset.run import sanitize

    one = job(damage(packed(pa.table({"text": [MAIL] * 100}))), "in.parquet")
    with pytest.raises(DatasetError, match="cannot be read as Parquet") as told:
        sanitize(one, here, lambda _: None)
    assert MAIL not in told.value.message
    assert not one.output.exists()
    assert sorted(p.name for p in Path(one.source).parent.iterdir()) == ["data", "in.parquet"]


def test_columns_of_one_name_are_told(job: Callable[..., Job], here: Any) -> None:
    from llmguard.dataset.run import sanitize

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])
    with pytest.raises(DatasetError, match="one name"):
        sanitize(job(packed(table), "in.parquet"), here, lambda _: None)
