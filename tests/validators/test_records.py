"""Numbers of documents and of practitioners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.validators.records import document_number, practitioner


@pytest.mark.parametrize("value", ["1234567893", "1234 567 893", "388067746", "BB1388568"])
def test_a_number_whose_check_holds_or_that_has_none_may_be_one(value: str) -> None:
    assert practitioner(value) is None


@pytest.mark.parametrize("value", ["1234567894", "111111111", "BB1388569", "12345678", "BBCDEFGHI"])
def test_a_number_whose_check_fails_is_dropped(value: str) -> None:
    assert practitioner(value) is False


def test_a_document_number_needs_three_digits_or_a_check() -> None:
    assert document_number("AB123") is None
    assert document_number("KFYJXCG89") is None
    assert document_number("KFYJXCG88") is False
    assert document_number("PASSPORT") is False


@given(st.text(max_size=40))
def test_nothing_raises(value: str) -> None:
    assert practitioner(value) in (None, False)
    assert document_number(value) in (None, False)
