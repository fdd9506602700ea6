from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators import shape


@given(st.text(max_size=300))
def test_shape_is_told_of_any_text(value: str) -> None:
    assert shape.machine_made(value) in (True, False)
    assert shape.counted(value) in (True, False)
    assert shape.entropy(value) >= 0


@pytest.mark.parametrize(
    "value", ["tokenizer", "next_token_2", "x86-64", "utf-8", "getHTTPResponse", "0x54c6ba63", "4.85e-12", ""]
)
def test_names_are_written_not_drawn(value: str) -> None:
    assert not shape.machine_made(value)


@pytest.mark.parametrize("value", ["kr1q978tenggwx45", "v2icE5/27LxAW/", "3f0c9a5e-1b2d-4c3e-8f7a-9b8c7d6e5f4a"])
def test_what_chance_made_is_told_from_words(value: str) -> None:
    assert shape.machine_made(value)


def test_counting_is_told_up_and_down() -> None:
    assert shape.counted("k-123456789012")
    assert shape.counted("zyxwvutsrqponm")
    assert not shape.counted("12345678")


def test_words_are_told_from_drawn_letters() -> None:
    assert shape.worded("the_name_of_your_key_goes_here")
    assert not shape.worded("kqzvTxwpJbnhgXdfQ")
