from __future__ import annotations

import pytest

from llmguard.validators import national as v


@pytest.mark.parametrize(
    "number", ["000-12-3456", "666-12-3456", "900-12-3456", "536-00-3456", "536-12-0000", "078-05-1120"]
)
def test_ssn_that_was_never_issued_is_dropped(number: str) -> None:
    assert v.us_ssn(number) is False


def test_ssn_has_no_check_digit_to_prove_it() -> None:
    assert v.us_ssn("536-22-8745") is None


@pytest.mark.parametrize(
    "number",
    [
        "131052-308T",  # Finland
        "RCCMNL83S18D969H",  # Italy
        "12345678Z",  # Spain, DNI
        "X1234567L",  # Spain, NIE
        "S0000001I",  # Singapore
        "15070649C103",  # Germany, pension
    ],
)
def test_a_lettered_number_proves_itself_and_no_other_last_character_does(number: str) -> None:
    assert v.national_lettered(number) is True
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
        if last != number[-1]:
            assert not v.national_lettered(number[:-1] + last), last


@pytest.mark.parametrize("number", ["44051401458", "36574261809", "10000000146", "11144477735"])
def test_one_check_digit_in_eleven_proves_nothing_but_a_wrong_one_drops_it(number: str) -> None:
    assert v.national_eleven(number) is None
    wrong = [number[:-1] + str(d) for d in range(10) if str(d) != number[-1]]
    assert sum(v.national_eleven(w) is False for w in wrong) >= 7


def test_korean_number_needs_a_birthday() -> None:
    assert v.national_formatted("911124-5678901") is True
    assert v.national_formatted("911324-5678901") is False


def test_vin_is_proved_by_the_check_digit_of_north_america_only() -> None:
    assert v.vin("1HGCM82633A004352") is True
    assert v.vin("1HGCM82643A004352") is False
    assert v.vin("WVWZZZ1JZXW000001") is None
