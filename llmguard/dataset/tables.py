"""Tables: Parquet as blocks of rows, and back. Texts are cleaned wherever they stand; every type is kept.

Owns which columns hold text: strings, also in lists, structs, maps and dictionaries. Rows are sifted as lines of JSON
that hold these columns alone. Never does: look at numbers, times and binary columns, which ``unread`` names.
Invariants: a row group of the output comes from one of the input; what is not text is the value that came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llmguard.dataset.kinds import arrow
from llmguard.errors import DatasetError
from llmguard.sifting import Block, Sifted, Sifter

SIZE = 8 << 20
"""Uncompressed bytes of a block, about: larger row groups are cut."""
KEPT = (b"pandas", b"huggingface", b"ARROW:schema")
"""Metadata of the file that stays: types of columns. What else stands there is free text, and goes."""


class Table:
    """An open Parquet file. Raises DatasetError for what cannot be read."""

    def __init__(self, path: Path, file: Any = None) -> None:
        """``file``: the open file, where it does not lie at ``path``."""
        self._pa = arrow()
        self._path = path
        with _told(self._pa, path):
            self._file = self._pa.parquet.ParquetFile(file or path, pre_buffer=False)
            self.schema = self._file.schema_arrow
            names = self.schema.names
        if len(set(names)) < len(names):
            raise DatasetError(f"{path}: two columns have one name")

    def blocks(self) -> Iterator[Block]:
        """Rows as Arrow streams."""
        first, whole = 0, self._file.metadata
        for group in range(whole.num_row_groups):
            about = whole.row_group(group)
            rows = max(1, about.num_rows * SIZE // max(about.total_byte_size, 1))
            with _told(self._pa, self._path):
                for batch in self._file.iter_batches(min(rows, max(about.num_rows, 1)), row_groups=[group]):
                    batch.validate(full=True)
                    yield Block(first, _packed(self._pa, batch))
                    first += batch.num_rows

    def unread(self) -> tuple[str, ...]:
        """Columns that hold no text, or other things besides, with their types."""
        return tuple(f"{f.name} ({f.type})" for f in self.schema if not _is_text(self._pa, f.type))

    @property
    def compression(self) -> str:
        """Of the first column, which is used for all."""
        whole = self._file.metadata
        found = whole.row_group(0).column(0).compression if whole.num_row_groups and whole.num_columns else "SNAPPY"
        return "NONE" if found == "UNCOMPRESSED" else str(found)

    def write(self, path: Path, blocks: Iterable[bytes]) -> None:
        """A Parquet file of cleaned blocks. Raises OSError."""
        pa = self._pa
        metadata = {k: v for k, v in (self.schema.metadata or {}).items() if k in KEPT}
        schema = self.schema.with_metadata(metadata or None)
        with pa.parquet.ParquetWriter(path, schema, compression=self.compression) as writer:
            for data in blocks:
                with pa.ipc.open_stream(data) as stream:
                    table = stream.read_all().replace_schema_metadata(schema.metadata)
                if table.num_rows:
                    writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        self._file.close()


def rows_of(data: bytes) -> list[str]:
    """The texts of a block's rows as lines of JSON, to be shown."""
    pa = arrow()
    with pa.ipc.open_stream(data) as stream:
        return [json.dumps(line, ensure_ascii=False) for line in _lines(pa, stream.read_all())]


def cleaned(sifter: Sifter, alone: Sifter, block: Block) -> Sifted:
    """Sifts the rows of a block as lines of JSON; ``alone`` sifts a row by itself, which nobody watches."""
    pa = arrow()
    with pa.ipc.open_stream(block.data) as stream:
        table = stream.read_all()
    lines = [json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in _lines(pa, table)]
    sifted = sifter.block(Block(block.first, b"".join(lines)))
    out = sifted.data.splitlines(keepends=True) if sifted.data else []
    if len(out) != len(lines):  # rows are left out: which ones, each row by itself says
        out = [alone.block(Block(block.first + i, line)).data for i, line in enumerate(lines)]
    if out == lines:
        return _with(sifted, block.data)
    kept = [i for i, line in enumerate(out) if line.strip()]
    if len(kept) < len(lines):
        table = table.take(pa.array(kept, type=pa.int64()))
    changed = {at: list(json.loads(out[i]).values()) for at, i in enumerate(kept) if out[i] != lines[i]}
    return _with(sifted, _packed(pa, _edited(pa, table, changed)))


def _with(sifted: Sifted, data: bytes) -> Sifted:
    from dataclasses import replace

    return replace(sifted, data=data)


def _edited(pa: Any, table: Any, changed: dict[int, list[Any]]) -> Any:
    """The table with the texts of some rows replaced, in the order of ``_lines``."""
    columns = [i for i, f in enumerate(table.schema) if _has_text(pa, f.type)]
    for at, i in enumerate(columns):
        f = table.schema.field(i)
        values = table.column(i).to_pylist()
        for row, texts in changed.items():
            values[row] = _put(pa, f.type, values[row], texts[at])
        table = table.set_column(i, f, _array(pa, values, f.type))
    return table


def _array(pa: Any, values: list[Any], type_: Any) -> Any:
    if pa.types.is_dictionary(type_):
        return pa.array(values, type=type_.value_type).dictionary_encode().cast(type_)
    return pa.array(values, type=type_)


def _lines(pa: Any, table: Any) -> Iterator[dict[str, Any]]:
    fields = [f for f in table.schema if _has_text(pa, f.type)]
    columns = [table.column(f.name).to_pylist() for f in fields]
    for row in zip(*columns, strict=True) if columns else ((),) * table.num_rows:
        yield {f.name: _texts(pa, f.type, value) for f, value in zip(fields, row, strict=True)}


def _texts(pa: Any, type_: Any, value: Any) -> Any:
    """The texts of a value in its own structure."""
    kinds = pa.types
    if value is None or not _has_text(pa, type_):
        return None
    if kinds.is_struct(type_):
        return {f.name: _texts(pa, f.type, value[f.name]) for f in type_ if _has_text(pa, f.type)}
    if kinds.is_map(type_):
        return [[_texts(pa, type_.key_type, k), _texts(pa, type_.item_type, v)] for k, v in value]
    if kinds.is_nested(type_):
        return [_texts(pa, type_.value_type, v) for v in value]
    return value


def _put(pa: Any, type_: Any, value: Any, texts: Any) -> Any:
    """The reverse: the value with these texts."""
    kinds = pa.types
    if value is None or not _has_text(pa, type_):
        return value
    if kinds.is_struct(type_):
        new = iter(texts.values())
        return {
            f.name: _put(pa, f.type, value[f.name], next(new)) if _has_text(pa, f.type) else value[f.name]
            for f in type_
        }
    if kinds.is_map(type_):
        pairs = zip(value, texts, strict=True)
        return [(_put(pa, type_.key_type, k, t[0]), _put(pa, type_.item_type, v, t[1])) for (k, v), t in pairs]
    if kinds.is_nested(type_):
        return [_put(pa, type_.value_type, v, t) for v, t in zip(value, texts, strict=True)]
    return texts


def _has_text(pa: Any, type_: Any) -> bool:
    return any(_is_string(pa, leaf) for leaf in _leaves(pa, type_))


def _is_text(pa: Any, type_: Any) -> bool:
    """Whether nothing but text stands in a column."""
    return all(_is_string(pa, leaf) for leaf in _leaves(pa, type_))


def _leaves(pa: Any, type_: Any) -> Sequence[Any]:
    kinds = pa.types
    if kinds.is_dictionary(type_):
        return _leaves(pa, type_.value_type)
    if kinds.is_map(type_):
        return (*_leaves(pa, type_.key_type), *_leaves(pa, type_.item_type))
    if kinds.is_struct(type_):
        return tuple(leaf for f in type_ for leaf in _leaves(pa, f.type))
    if kinds.is_nested(type_) and hasattr(type_, "value_type"):
        return _leaves(pa, type_.value_type)
    return (type_,)


def _is_string(pa: Any, type_: Any) -> bool:
    kinds = pa.types
    return bool(kinds.is_string(type_) or kinds.is_large_string(type_) or kinds.is_string_view(type_))


def _packed(pa: Any, rows: Any) -> bytes:
    """A batch or a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class _told:
    """Errors of pyarrow without their messages, which may hold values. Raises DatasetError."""

    def __init__(self, pa: Any, path: Path) -> None:
        self._errors, self._path = (pa.lib.ArrowException, OSError, UnicodeDecodeError), path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, self._errors):
            raise DatasetError(f"{self._path} cannot be read as Parquet ({type(error).__name__})") from None
