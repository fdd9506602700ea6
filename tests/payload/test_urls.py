"""Trail: a URL that was opened stays open, however its text was cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.payload.urls import Trail

PIECES = st.sampled_from(
    [
        "https://",
        "x.example",
        "www.",
        " ",
        "\n",
        '"',
        "'",
        "<",
        ">",
        "](",
        ")",
        "src=",
        "href = ",
        "url(",
        "[a]: ",
        "mailto:",
        "a",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.lists(st.integers(1, 5), max_size=20))
@settings(max_examples=400, deadline=None)
def test_answer_does_not_depend_on_how_the_text_was_cut(text: str, sizes: list[int]) -> None:
    whole, cut, at = Trail(), Trail(), 0
    whole.add(text)
    for size in sizes:
        cut.add(text[at : at + size])
        cut.inside()
        at += size
    cut.add(text[at:])
    assert cut.inside() == whole.inside()


def test_memory_is_bounded() -> None:
    trail = Trail()
    for _ in range(1000):
        trail.add("word " * 100)
    assert not trail.inside()
    assert len(trail._text) < 10_000
