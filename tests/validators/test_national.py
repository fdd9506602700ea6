from __future__ import annotations

import pytest
from stdnum import luhn

from llmguard.validators import VALIDATORS
from llmguard.validators import national as v
from llmguard.validators.national import dispatch, documents
from llmguard.validators.national.checks import CHECKS, STRUCTURAL
from llmguard.validators.national.table import by_shape, candidates, check_of
from tests.national_numbers import numbers

NUMBERS = tuple(numbers())
PARTLY = frozenset({"cz.rc", "de_doctor", "id.npwp", "kr_person", "si.maticna", "lv_person"})
"""Checks that spare a part of the number: a serial, an office, years without a check digit."""


def test_nearly_every_check_of_the_table_has_numbers_to_try() -> None:
    known = {(country, name) for _, some in by_shape() for country, name in some if name not in ("~", "-")}
    assert len({(country, name) for country, name, _ in NUMBERS}) >= 0.85 * len(known)


@pytest.mark.parametrize(("country", "name", "value"), NUMBERS, ids=lambda x: x if "." in x else None)
def test_a_number_is_believed_beside_a_word_of_its_country(country: str, name: str, value: str) -> None:
    if f"national_{country.lower()}" in VALIDATORS and len(set(value)) > 1:
        assert VALIDATORS[f"national_{country.lower()}"](value) is not False


@pytest.mark.parametrize("name", sorted({n for _, n, _ in NUMBERS} - STRUCTURAL - PARTLY))
def test_a_check_digit_refuses_most_other_last_characters(name: str) -> None:
    value = next(value for _, n, value in NUMBERS if n == name)
    others = [value[:i] + d + value[i + 1 :] for i in range(3, len(value)) for d in "0123456789" if value[i] != d]
    digits = [o for o in others if o.isdigit() == value.isdigit()]
    assert sum(check_of(name)(o) for o in digits) <= 0.5 * len(digits), name


def test_every_check_of_our_own_is_used_and_every_module_exists() -> None:
    used = {name for _, some in by_shape() for _, name in some}
    for name in used - {"~", "-"}:
        assert callable(check_of(name))
    assert set(CHECKS) - used <= {"us_medicare", "uk_driver", "it_fiscal", "by_person", "us_drug"}


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
def test_a_lettered_number_proves_itself_by_its_last_character(number: str) -> None:
    assert dispatch.lettered(number) is True
    letters = [last for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" if dispatch.lettered(number[:-1] + last)]
    assert len(letters) == (2 if number[0] == "S" else 1)  # Spain's communes start with S too


@pytest.mark.parametrize("number", ["44051401458", "36574261809", "10000000146", "11144477735"])
def test_one_check_digit_in_eleven_proves_nothing_but_a_wrong_one_drops_it(number: str) -> None:
    assert v.national_eleven(number) is None
    wrong = [number[:-1] + str(d) for d in range(10) if str(d) != number[-1]]
    assert sum(v.national_eleven(w) is False for w in wrong) >= 7


def test_korean_number_needs_a_birthday() -> None:
    assert dispatch.formatted("911124-5678901") is True
    assert dispatch.formatted("911324-5678901") is False


@pytest.mark.parametrize(
    "text", ["1234567890", "00000000000", "3.14159265", "2024-01-15", "10:30:45", "1.2.3.4", "100000000", "42"]
)
def test_a_text_that_is_a_count_a_date_or_a_stand_in_is_no_identifier(text: str) -> None:
    assert dispatch.alone(text) is False


def test_a_check_digit_of_some_country_is_plausible_but_no_proof_in_digits() -> None:
    assert dispatch.alone("876 543 210") is None
    assert dispatch.alone("x9613851n") is True


def test_a_shape_that_nobody_gives_has_no_candidates() -> None:
    assert candidates("12") == () == candidates("A" * 30) == candidates("é1234567")


def test_an_emirates_number_ends_in_its_check_digit() -> None:
    body = "78419841234567"
    check = CHECKS["ae_person"]
    assert [check(body + d) for d in "0123456789"].count(True) == 1
    assert check(body + luhn.calc_check_digit(body))


@pytest.mark.parametrize("plate", ["34 ABC 1234", "AB12 CDE", "KA53ME3456", "ABC-123DE", "B-MW 1234", "BRA2E19"])
def test_a_plate_is_known_by_its_shape(plate: str) -> None:
    assert documents.plate(plate) is None
    assert documents.plate("0000") is False


def test_plates_of_provinces_that_do_not_exist_are_dropped() -> None:
    assert documents.plate("82 ABC 123") is False
    assert documents.plate_alone("00 ABC 123") is False


def test_vin_is_proved_by_the_check_digit_of_north_america_only() -> None:
    assert documents.vin("1HGCM82633A004352") is True
    assert documents.vin("1HGCM82643A004352") is False
    assert documents.vin("WVWZZZ1JZXW000001") is None
