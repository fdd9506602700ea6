from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import validators as v


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        ("4111 1111 1111 1111", True),
        ("378282246310005", True),
        ("5500-0055-5555-5559", True),
        ("4111111111111112", False),
        ("0000000000000000", False),
        ("9999999999999995", None),
        ("41111111", False),
    ],
)
def test_card_needs_check_digit_issuer_and_length(number: str, verdict: bool | None) -> None:
    assert v.luhn(number) is verdict


@given(st.text("0123456789", min_size=12, max_size=19))
def test_changing_one_digit_of_a_card_always_fails_its_check(digits: str) -> None:
    for i in range(len(digits)):
        changed = digits[:i] + str((int(digits[i]) + 1) % 10) + digits[i + 1 :]
        assert v.luhn_sum(digits) % 10 != v.luhn_sum(changed) % 10


def test_iban_is_checked_with_its_country() -> None:
    assert v.iban("DE89 3704 0044 0532 0130 00") is True
    assert v.iban("DE89370400440532013001") is False
    assert v.iban("ZZ89370400440532013000") is False


@pytest.mark.parametrize(
    "number", ["000-12-3456", "666-12-3456", "900-12-3456", "536-00-3456", "536-12-0000", "078-05-1120"]
)
def test_ssn_that_was_never_issued_is_dropped(number: str) -> None:
    assert v.us_ssn(number) is False


def test_ssn_has_no_check_digit_to_prove_it() -> None:
    assert v.us_ssn("536-22-8745") is None


def test_international_phone_is_valid_possible_or_neither() -> None:
    assert v.phone("+49 171 1234567") is True
    assert v.phone("0044 20 7946 0958") is True
    assert v.phone("+1 555 123 4567") is None
    assert v.phone("+999 1") is False


@pytest.mark.parametrize(
    "address", ["git@github.com", "icon@2x.png", "a..b@example.org", "a@1.2.com.7", ".a@example.org"]
)
def test_what_only_looks_like_an_address_is_dropped(address: str) -> None:
    assert v.email(address) is False


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.0", False),
        ("203.0.113.7", None),
        ("2001:db8::1", True),
        ("::1", False),
        ("1.2.3", False),
    ],
)
def test_address_must_name_a_host(address: str, verdict: bool | None) -> None:
    assert v.ip_address(address) is verdict


@pytest.mark.parametrize(
    "value",
    [
        "changeme",
        "xxxxxxxx",
        "<your-key>",
        "${DB_PASSWORD}",
        "$SECRET",
        'os.environ["X"]',
        "process.env.TOKEN",
        "None",
        "true",
        "null",
        "********",
        "{{ secret }}",
        "your_api_key",
        "example-key",
        "aaaaaaa",
        "%(password)s",
        "[PASSWORD_k7q2m4x9ab]",
        "",
        "...",
    ],
)
def test_placeholder_is_not_a_secret(value: str) -> None:
    assert v.placeholder(value) is False
    assert v.password(value) is False
    assert v.url_password(value) is False


@pytest.mark.parametrize("value", ["hunter2", "letmein", "correct horse battery staple", "it's 5pm"])
def test_guessable_password_is_still_one(value: str) -> None:
    assert v.password(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "get_token_from_store",
        "request.headers",
        "https://x.org/a1b2c3",
        "primary-key-name",
        "aaaaaaaaaaaaaaa1",
        "12345678901234",
    ],
)
def test_words_paths_and_numbers_are_not_random_tokens(value: str) -> None:
    assert v.random_token(value) is False


def test_jwt_header_must_decode() -> None:
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30.abc") is True
    assert v.jwt("eyJmb28iOiJiYXIifQ.e30.abc") is False
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30") is False
    assert v.jwt("W10.e30.abc") is False


def test_key_block_needs_key_material() -> None:
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n" + "aB3/" * 16 + "\n-----END PRIVATE KEY-----") is True
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----") is False


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


# ------------------------------------------------------------------ numbers of people


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


def test_bitcoin_address_has_a_checksum_ethereum_cannot_say() -> None:
    assert v.wallet("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2") is True
    assert v.wallet("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3") is False
    assert v.wallet("0x" + "5aAeb6053F" * 4) is None
    assert v.wallet("0x" + "0" * 40) is False


def test_password_told_in_a_sentence_is_no_plain_word() -> None:
    assert v.password_said("Sommer2024!") is None
    assert v.password_said("wrong") is False
    assert v.password_said("never-ending") is False


def test_phone_agrees_with_libphonenumber_on_its_examples() -> None:
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    examples = [phonenumbers.example_number(r) for r in regions] + [
        phonenumbers.example_number_for_type(r, phonenumbers.PhoneNumberType.MOBILE) for r in regions
    ]
    written = [
        phonenumbers.format_number(e, phonenumbers.PhoneNumberFormat.INTERNATIONAL) for e in examples if e is not None
    ]
    assert len(written) > 400
    assert [w for w in written if v.phone(w) is not True and sum(c.isdigit() for c in w) >= 7] == []


@given(st.sampled_from(["1", "44", "49", "33", "39", "61", "81", "91"]), st.text("0123456789", min_size=6, max_size=12))
def test_phone_believes_nothing_that_libphonenumber_calls_impossible(code: str, national: str) -> None:
    if v.phone(f"+{code}{national}") is True:
        assert phonenumbers.is_possible_number(phonenumbers.parse(f"+{code}{national}", None))


def test_phone_with_a_trunk_prefix_in_brackets_is_valid() -> None:
    assert v.phone("+44 (0)20 7946 0958") is True
