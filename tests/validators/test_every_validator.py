from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import validators as v
from llmguard.validators.base import merged


@given(st.text(max_size=200))
def test_no_validator_ever_raises(value: str) -> None:
    for validator in v.VALIDATORS.values():
        assert validator(value) in (True, False, None)


@given(
    st.sampled_from(sorted(v.VALIDATORS)),
    st.sampled_from(["a", "-", "(", "my-", "aA", "a.", "_", "x1", "[", "{", "eyJ.", "0", "=", " "]),
)
def test_no_validator_backtracks_on_repetition(name: str, unit: str) -> None:
    assert v.VALIDATORS[name]((unit * 20_000)[:20_000] + "!") in (True, False, None)


def test_two_validators_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="named twice: jwt"):
        merged({"jwt": v.VALIDATORS["jwt"]}, {"jwt": v.VALIDATORS["vin"], "vin": v.VALIDATORS["vin"]})
