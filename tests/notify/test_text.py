"""Other people's words in messages: bounded, on one line, nothing hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmguard.notify.text import counted, mrkdwn, shown


@given(st.text(max_size=400), st.integers(1, 300))
def test_what_is_shown_is_one_bounded_line_that_prints(text: str, most: int) -> None:
    told = shown(text, most)
    assert len(told) <= most
    assert told.isprintable()
    if text.isascii() and text.isprintable() and len(text) <= most:
        assert told == text


@given(st.text(max_size=400))
def test_markup_has_no_way_in(text: str) -> None:
    told = mrkdwn(text)
    assert "<" not in told
    assert ">" not in told
    assert all(told[i:].startswith(("&amp;", "&lt;", "&gt;")) for i, c in enumerate(told) if c == "&")


@given(st.dictionaries(st.text(max_size=60), st.integers(1, 10**6), max_size=40))
def test_counts_are_whole_whatever_types_are_called(findings: dict[str, int]) -> None:
    told = counted(findings)
    assert len(told) < 1000
    if len(findings) > 10:
        rest = sorted(findings.values(), reverse=True)[10:]
        assert told.endswith(f" and {sum(rest)} more of {len(rest)} types")


def test_a_text_without_end_costs_no_more_than_its_beginning() -> None:
    assert shown("\U0001f600" * 50_000_000, 100) == "\U0001f600" * 99 + "…"
