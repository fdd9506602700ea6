"""Table: the texts of a Parquet file, column by column, where pyarrow is installed.

Owns reading text columns a batch at a time. Never reads numbers or bytes: a file with columns of other kinds than
text, numbers and times counts as not looked into as well.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from llmguard.payload.files.looking import Looking

_ROWS = 1000
MAX_CHUNK = 64 << 20
"""Bytes of a column in a group of rows, unpacked, by what the file says."""


def look(looking: Looking, file: BinaryIO, address: str) -> None:
    """Raises Spent, and what pyarrow raises (``HOSTILE``)."""
    try:
        import pyarrow.parquet as pq
        import pyarrow.types as types
    except ImportError:
        looking.blind("file")
        return
    file.seek(0)
    table = pq.ParquetFile(file)
    schema = table.schema_arrow
    looking.text("\n".join(schema.names), f"{address}#names")
    for key, value in (schema.metadata or {}).items():
        looking.text(f"{key.decode('utf-8', 'replace')}: {value.decode('utf-8', 'replace')}", f"{address}#metadata")
    texts = [n for n, t in zip(schema.names, schema.types, strict=True) if not _number(types, t)]
    if not texts:
        return
    if _too_large(table.metadata):
        looking.blind("file")
        return
    for number, batch in enumerate(table.iter_batches(_ROWS, columns=texts, use_threads=False)):
        looking.hurry()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            looking.text("\n".join(_strings(looking, column.to_pylist())), f"{address}#{number}/{name}", name)


def _number(types: Any, kind: Any) -> bool:
    return any(
        (types.is_integer(kind), types.is_floating(kind), types.is_boolean(kind), types.is_temporal(kind))
    ) or types.is_null(kind)


def _too_large(metadata: Any) -> bool:
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return any(g.column(j).total_uncompressed_size > MAX_CHUNK for g in groups for j in range(g.num_columns))


def _strings(looking: Looking, values: list[Any]) -> list[str]:
    """Texts of values, however nested; bytes that are no text are told."""
    found: list[str] = []
    stack = values[::-1]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, bytes):
            looking.member(value, "", "file!")
        elif isinstance(value, dict):
            stack.extend([*value.keys(), *value.values()][::-1])
        elif isinstance(value, (list, tuple)):
            stack.extend(value[::-1])
        elif value is not None and not isinstance(value, (bool, float)):
            found.append(str(value))
    return found
