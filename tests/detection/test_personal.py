"""What is told about a person, in sentences: contact, bank, records, devices, places. Each rule's own examples are in
the catalogue; here are kinds that none of them spells out, and texts that look alike and hold nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from stdnum import iban, numdb

from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.model import Finding, TextPart

Find = Callable[[str], tuple[Finding, ...]]


@pytest.fixture(scope="module")
def find() -> Find:
    engine = Engine(catalogue.load())
    return lambda text: engine.scan([TextPart(text, "")])[0]


def _masked(find: Find, text: str, value: str) -> bool:
    """Whether every digit and letter of ``value`` lies inside a finding."""
    start = text.index(value)
    covered = {i for f in find(text) for i in range(f.start, f.end)}
    return all(i in covered for i in range(start, start + len(value)) if text[i].isalnum())


def _examples() -> list[phonenumbers.PhoneNumber]:
    kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
    found = [phonenumbers.example_number_for_type(r, k) for r in sorted(phonenumbers.SUPPORTED_REGIONS) for k in kinds]
    return [n for n in found if n is not None]


def test_international_numbers_of_every_region_are_found(find: Find) -> None:
    written = [phonenumbers.format_number(n, PhoneNumberFormat.INTERNATIONAL) for n in _examples()]
    long = [w for w in written if sum(c.isdigit() for c in w) >= 7]
    assert len(long) > 400
    assert [w for w in long if not _masked(find, f"it rang at {w} twice", w)] == []


def test_national_numbers_of_every_region_are_found_beside_a_word_for_phone(find: Find) -> None:
    written = [phonenumbers.format_number(n, PhoneNumberFormat.NATIONAL) for n in _examples()]
    long = [w for w in written if sum(c.isdigit() for c in w) >= 7]
    assert [w for w in long if not _masked(find, f"Telefon: {w}, bitte", w)] == []


def test_ibans_of_every_country_are_found(find: Find) -> None:
    letters = {"n": "4", "a": "K", "c": "7"}
    missed = []
    for first in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        for second in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            country = first + second
            facts = [f for part, f in numdb.get("iban").info(country) if part == country and "bban" in f]
            if not facts:
                continue
            shape = facts[0]["bban"].replace("!", "").split()
            bban = "".join(letters[piece[-1]] * int(piece[:-1]) for joined in shape for piece in _pieces(joined))
            account = country + iban.calc_check_digits(country + "00" + bban) + bban
            for written in (account, account.lower(), iban.format(account)):
                text = f"pay into {written} today"
                if not _masked(find, text, written):
                    missed.append(written)
    assert missed == []


def _pieces(shape: str) -> list[str]:
    pieces, piece = [], ""
    for c in shape:
        piece += c
        if c in "nac":
            pieces.append(piece)
            piece = ""
    return pieces


@pytest.mark.parametrize(
    "text",
    [
        "0.4111111111111111 and 3.14159265358979",
        "path d='M12.345 67.89 10.5 20.25 C 100.5 200.25 300.125 400.5'",
        "2024-01-15T10:00:00.123456Z 1700000000123 level=info took=12.345ms",
        "numpy==1.26.4 torch==2.3.1 Chrome/120.0.0.0 Safari/537.36",
        "ISBN 978-3-16-148410-0, pp. 100-200, vol. 12",
        "[0.0123456, -0.0456789, 1.2345678, 0.9876543]",
        "total 1,234,567.89 EUR on 05.12.2024",
        "0010 0203 0405 0607 0809 0a0b 0c0d 0e0f",
        "y = weights@inputs.mean(axis=0)",
        "threading.local() and java.util.internal.Foo",
        "a[1234567] = b[7654321] * 1000000",
    ],
)
def test_numbers_of_code_and_tables_are_left_alone(find: Find, text: str) -> None:
    assert find(text) == ()
