"""Rows of CSV, cleaned cell by cell."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sifting.kit import EMAIL, PHONE, sift, surrogate


@pytest.mark.parametrize("by", [",", ";", "\t", "|"])
def test_only_cells_with_findings_are_rewritten(by: str) -> None:
    head = by.join(["name", "contact", "note"])
    row = by.join(["x", EMAIL, '"a ""quoted"" word"'])
    done = sift(f"{head}\r\n{row}\r\n".encode(), "csv")
    lines = done.data.decode().split("\r\n")
    assert lines[0] == head
    assert lines[1].startswith(f"x{by}[EMAIL_")
    assert lines[1].endswith(f'{by}"a ""quoted"" word"')


def test_quoted_line_ends_are_inside_a_row() -> None:
    data = f'a,b\n"one\ntwo {EMAIL}\n","3"\n4,5\n'.encode()
    done = sift(data, "csv")
    assert done.records == 3
    rows = list(csv.reader(io.StringIO(done.data.decode())))
    assert rows[0] == ["a", "b"]
    assert rows[1][0].startswith("one\ntwo [EMAIL_")
    assert rows[2] == ["4", "5"]
    assert done.data.endswith(b'","3"\n4,5\n')


def test_column_names_are_labels_of_what_stands_under_them_in_every_block() -> None:
    secret = "hunter22" + "Kx9"
    data = ("user,password\n" + f"a,{secret}\n" * 300).encode()
    done = sift(data, "csv", size=100)
    assert secret.encode() not in done.data
    assert done.tally.changed == 300


def test_a_new_cell_is_quoted_where_it_has_to_be() -> None:
    done = sift(b"id,text\n1," + f'"x, {EMAIL}"'.encode() + b"\n", "csv", style=surrogate)
    (_, row) = csv.reader(io.StringIO(done.data.decode()))
    assert row[0] == "1"
    assert row[1].startswith("x, ")
    assert EMAIL not in row[1]


def test_a_first_row_that_names_nothing_is_a_row_like_others() -> None:
    done = sift(f"{EMAIL},{PHONE}\n1,2\n".encode(), "csv")
    assert EMAIL.encode() not in done.data
    assert PHONE.encode() not in done.data


def test_a_row_that_is_not_utf8_is_a_problem() -> None:
    done = sift(b"a,b\n\xff,1\n2,3\n", "csv")
    assert done.data == b"a,b\n2,3\n"
    assert [p.record for p in done.problems] == [1]


def test_a_byte_order_mark_and_the_last_line_without_an_end_are_kept() -> None:
    done = sift(b"\xef\xbb\xbfa,mail\n1," + EMAIL.encode(), "csv")
    assert done.data.startswith(b"\xef\xbb\xbfa,mail\n1,[EMAIL_")


CELLS = st.sampled_from(("", "a", EMAIL, PHONE, 'say "so"', "two\nlines", "x, y", "é", " ", '"', '5" pipe'))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=8), st.integers(1, 400), st.sampled_from(",;|"))
def test_any_size_of_blocks_gives_the_same_rows_as_another_reader_reads(
    table: list[list[str]], size: int, by: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=by).writerows([["first", "second"], *table])
    data = out.getvalue().encode()
    whole, parts = sift(data, "csv"), sift(data, "csv", size=size, chunk=1 + size % 37)
    assert whole.data == parts.data
    assert whole.tally == parts.tally
    read = list(csv.reader(io.StringIO(whole.data.decode(), newline=""), delimiter=by))
    for before, after in zip([["first", "second"], *table], read, strict=True):
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            assert (old == new) is (EMAIL not in old and PHONE not in old)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_whatever_stands_in_a_file_its_blocks_put_together_are_the_file(data: bytes, size: int) -> None:
    from llmguard.sifting import blocks

    for layout in ("csv", "text", "jsonl", "json"):
        assert b"".join(b.data for b in blocks([data[:100], data[100:]], layout, size)) == data  # type: ignore[arg-type]
