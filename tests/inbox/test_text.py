"""Words on a page: other people's as text, ours for times, sizes and risks."""

from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import invisible
from llmguard.inbox import text
from llmguard.inbox.charts import bars

CHIP = re.compile(r'<span class="chip" title="[^"<>]*">(U\+[0-9A-F]{4,6})[A-Z ]*</span>')


@given(st.text())
def test_text_on_a_page_reads_as_it_was_written_but_for_chips(written: str) -> None:
    shown = str(text.body(written))
    back = html.unescape(CHIP.sub(lambda m: chr(int(m[1][2:], 16)), shown))
    if "chip" not in written and "&" not in written:
        assert back == written
    left = CHIP.sub("", shown)
    assert not re.search(r"[<>\"']", left)
    assert all(invisible.harmless(c, lines=True) for c in left)


@pytest.mark.parametrize(
    ("character", "label"),
    [
        ("\u202e", "U+202E RLO"),
        ("\u200b", "U+200B ZWSP"),
        ("\ufeff", "U+FEFF BOM"),
        ("\x1b", "U+001B ESC"),
        ("\U000e0041", "U+E0041 TAG"),
        ("\u3164", "U+3164"),
        ("\u2066", "U+2066 LRI"),
        ("\u00ad", "U+00AD SHY"),
    ],
)
def test_what_shows_nothing_or_turns_the_direction_has_a_label(character: str, label: str) -> None:
    assert f">{label}</span>" in text.visible(f"a{character}b")


def test_line_feeds_stay_in_bodies_only() -> None:
    assert text.body("a\n\tb") == "a\n\tb"
    assert "U+000A LF" in text.visible("a\nb")


def test_letters_of_any_language_and_emoji_are_themselves() -> None:
    for written in ("Jürgen Müller", "שלום", "日本語", "🙂", "Ελλάδα"):
        assert text.visible(written) == written


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (10, "in less than a minute"),
        (-30, "less than a minute ago"),
        (-61, "1 min ago"),
        (7000, "in 116 min"),
        (-7300, "2 h ago"),
        (-47 * 3600, "47 h ago"),
        (49 * 3600, "in 2 d"),
    ],
)
def test_times_are_told_from_now(seconds: int, told: str) -> None:
    at = int((time.time() + seconds + (0.5 if seconds > 0 else -0.5)) * 1000)
    assert re.search(r">([^<]+)</time>", text.since(at))[1] == told  # type: ignore[index]


def test_sizes_counts_digests_and_risks_are_words() -> None:
    assert [text.size(n) for n in (1, 1023, 3482, 5 * 1024**2)] == ["1 byte", "1,023 bytes", "3.4 KB", "5.0 MB"]
    assert text.count(2, "person", "people") == "2 people"
    assert text.digits("0123456789abcdef" * 4) == "0123 4567 89ab cdef"
    assert [text.level(n) for n in (0, 29, 30, 69, 70, 100)] == ["low", "low", "medium", "medium", "high", "high"]
    assert text.state("INDETERMINATE") == "unclear: may have been sent"


def test_a_chart_holds_no_style_and_no_markup_of_its_labels() -> None:
    drawn = bars([("<script>\u202e", 3), ("b", 0)], " calls")
    assert "<script" not in drawn
    assert "style=" not in drawn
    assert "\u202e" not in drawn
    assert "3 calls" in drawn
