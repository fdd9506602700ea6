"""Texts, cleaned passage by passage."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sifting.kit import CARD, EMAIL, PHONE, sift

LINES = st.lists(
    st.sampled_from(["so it goes", "", "  ", f"mail {EMAIL}", f"call {PHONE}", CARD, "é" * 200, "x " * 2000, "\r"]),
    max_size=60,
)


def pem(seed: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    drawn = random.Random(seed)
    body = "\n".join("".join(drawn.choices(letters, k=64)) for _ in range(20))
    kind = "RSA PRIVATE " + "KEY"
    return f"-----BEGIN {kind}-----\nMII{body}\n-----END {kind}-----"


@settings(max_examples=40, deadline=None)
@given(LINES, st.integers(1, 5000), st.booleans())
def test_any_size_of_blocks_gives_the_same_text(lines: list[str], size: int, drop: bool) -> None:
    data = "\n".join(lines).encode()
    whole, parts = sift(data, "text", drop=drop), sift(data, "text", size=size, drop=drop, chunk=50 + size)
    assert whole.data == parts.data
    assert whole.tally == parts.tally
    assert EMAIL.encode() not in whole.data


@settings(max_examples=15, deadline=None)
@given(st.integers(7_000, 34_000), st.integers(1, 40_000), st.sampled_from(["\n", "\n\n"]))
def test_no_key_is_cut_wherever_it_stands(before: int, size: int, between: str) -> None:
    filling = ("so it goes on" + between) * (before // 13)
    data = f"{filling}{pem(1)}\n{filling}".encode()
    done = sift(data, "text", size=size)
    assert done.tally.findings == 1
    assert b"BEGIN RSA" not in done.data
    assert all(line not in done.data for line in pem(1).encode().splitlines())


def test_lines_with_findings_are_dropped_or_kept_as_people_decide() -> None:
    data = f"one\n{EMAIL}\ntwo {PHONE}\nthree".encode()
    assert sift(data, "text", drop=True).data == b"one\nthree"
    done = sift(data, "text", decisions={1: "keep", 3: "drop"})
    assert done.data.startswith(f"one\n{EMAIL}\ntwo [PHONE_".encode())
    assert b"three" not in done.data


def test_lines_that_are_not_utf8_are_problems_and_the_others_are_cleaned() -> None:
    done = sift(b"one\n\xff\xfe\n" + EMAIL.encode() + b"\n\xff\n", "text")
    assert done.data.startswith(b"one\n[EMAIL_")
    assert [p.record for p in done.problems] == [1, 3]


def test_zero_bytes_and_marks_stay() -> None:
    data = b"\xef\xbb\xbfa\x00b\r\n" + EMAIL.encode() + b" \x00\r\n"
    done = sift(data, "text")
    assert done.data.startswith(b"\xef\xbb\xbfa\x00b\r\n[EMAIL_")
    assert done.data.endswith(b" \x00\r\n")


def test_a_text_without_findings_is_the_very_bytes_that_came() -> None:
    data = b"so it goes\r\n\r\n" * 10_000
    assert sift(data, "text").data == data
