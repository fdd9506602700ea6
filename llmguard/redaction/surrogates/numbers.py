"""Numbers that people, accounts and devices have: the same length and separators, from ranges that nobody has where
there are such, with check digits that hold where that is cheap.
"""

from __future__ import annotations

import re

from llmguard.redaction.surrogates.draw import Draw, bare, overlaid
from llmguard.validators.financial import luhn_sum
from llmguard.validators.national.table import candidates, check_of, compact

_TRIES = 24
"""Draws for a national number whose check holds; one in ten to one in a hundred do."""
_TEST_CARDS = {"2": "222300", "3": "353011", "4": "411111", "5": "555555", "6": "601111"}
"""First six digits of the schemes' published test numbers, by the first digit of the original."""
_TEST_AMEX, _TEST_DINERS = "378282", "305693"
_BASE36 = {c: str(i) for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_BANK = 4
"""Characters of an IBAN that name its bank, at least: zeros or X name none. ISO 13616 registry."""


def luhn(digits: str) -> str:
    """``digits`` with the check digit behind them. ISO/IEC 7812-1 Annex B."""
    return digits + str(-luhn_sum(digits + "0") % 10)


def card(value: str, draw: Draw) -> str:
    """Valid, within the range of a scheme's test numbers."""
    old = bare(value)
    if not old.isdecimal() or not 12 <= len(old) <= 19:
        return draw.shaped(value)
    prefix = _TEST_AMEX if len(old) == 15 else _TEST_DINERS if len(old) == 14 else _TEST_CARDS.get(old[0], "411111")
    return overlaid(value, luhn(prefix + draw.digits(len(old) - len(prefix) - 1)))


def iban(value: str, draw: Draw) -> str:
    """Of the same country, with right check digits and of a bank that does not exist."""
    old = bare(value).upper()
    if not (old.isascii() and len(old) > 8 and old[:2].isalpha() and old[2:4].isdigit()):
        return draw.shaped(value)
    bank = "".join("0" if c.isdigit() else "X" for c in old[4 : 4 + _BANK])
    account = bank + draw.shaped(old[4 + _BANK :])
    number = "".join(_BASE36[c] for c in f"{account}{old[:2]}00")
    return overlaid(value, f"{old[:2]}{98 - int(number) % 97:02d}{account}")


def social(value: str, draw: Draw) -> str:
    """A US number that is neither given as an SSN nor as an ITIN: area 9xx, group 10 to 49. SSA POMS RM 10201."""
    if len(bare(value)) != 9 or not bare(value).isdecimal():
        return draw.shaped(value)
    return overlaid(value, f"9{draw.digits(2)}{10 + draw.below(40)}{1 + draw.below(9999):04d}")


def nino(value: str, draw: Draw) -> str:
    """A UK number of the prefix QQ, which is never given. HMRC NIM39110."""
    if len(bare(value)) != 9:
        return draw.shaped(value)
    new = overlaid(value, f"QQ{draw.digits(6)}{draw.pick('ABCD')}")
    return new.lower() if value.islower() else new


def nhs(value: str, draw: Draw) -> str:
    """A valid number from 999, which the NHS keeps for tests."""
    if len(bare(value)) != 10 or not bare(value).isdecimal():
        return draw.shaped(value)
    while True:
        body = f"999{draw.digits(6)}"
        check = -sum(int(d) * (10 - i) for i, d in enumerate(body)) % 11
        if check < 10:
            return overlaid(value, f"{body}{check}")


def routing(value: str, draw: Draw) -> str:
    """Nine digits with the right check digit behind a prefix that no Federal Reserve district has (13 to 20)."""
    if len(bare(value)) != 9 or not bare(value).isdecimal():
        return draw.shaped(value)
    body = f"{13 + draw.below(8)}{draw.digits(6)}"
    total = sum(w * int(d) for w, d in zip((3, 7, 1, 3, 7, 1, 3, 7), body, strict=True))
    return overlaid(value, f"{body}{-total % 10}")


def device(value: str, draw: Draw) -> str:
    """An IMEI from 00, which is kept for test devices (3GPP TS 23.003); else digits for digits."""
    old = bare(value)
    if len(old) != 15 or not old.isdecimal():
        return hexed(value, draw)
    return overlaid(value, luhn(f"00{draw.digits(12)}"))


def national(value: str, draw: Draw) -> str:
    """The same shape; with a check digit that holds, if the original's did and one is found soon."""
    first = draw.shaped(value)
    code = compact(value)
    checks = [check_of(name) for _, name in candidates(code) if name not in ("~", "-")]
    proved = next((check for check in checks if check(code)), None)
    if proved is None:
        return first
    tries = (draw.shaped(value) for _ in range(_TRIES))
    return next((new for new in tries if proved(compact(new))), first)


def vehicle(value: str, draw: Draw) -> str:
    """A VIN has no I, O and Q. ISO 3779."""
    return draw.shaped(value).translate(str.maketrans("IOQioq", "JPRjpr"))


def bic(value: str, draw: Draw) -> str:
    """Of the same country, and of a bank whose code begins with ZZ."""
    old = bare(value)
    if len(old) not in (8, 11):
        return draw.shaped(value)
    new = f"ZZ{draw.shaped(old[2:4])}{old[4:6]}{draw.shaped(old[6:])}"
    return overlaid(value, new.lower() if value.islower() else new)


def wallet(value: str, draw: Draw) -> str:
    """The prefix that names the chain, then other characters: no checksum holds, so nothing can be paid to it."""
    kept = next((p for p in ("0x", "bc1", "ltc1", "addr1") if value.startswith(p)), value[:1])
    return kept + hexed(value[len(kept) :], draw)


def expiry(value: str, draw: Draw) -> str:
    """Another month, and a year up to three later."""
    match = re.fullmatch(r"(\d{1,2})(\D+)(\d{2}|\d{4})", value)
    if match is None:
        return draw.shaped(value)
    year = str(int(match[3]) + draw.below(4)).zfill(len(match[3]))[-len(match[3]) :]
    return f"{1 + draw.below(12):0{len(match[1])}d}{match[2]}{year}"


_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-fA-F])[0-9a-fA-F]{8,}")


def hexed(value: str, draw: Draw) -> str:
    """Hexadecimal for hexadecimal, as in a UUID; else a letter for a letter and a digit for a digit."""
    if not _HEX.fullmatch(bare(value)):
        return draw.shaped(value)
    letters = "abcdef" if value == value.lower() else "ABCDEF"
    return "".join(draw.pick("0123456789") if c.isdigit() else draw.pick(letters) if c.isalpha() else c for c in value)
