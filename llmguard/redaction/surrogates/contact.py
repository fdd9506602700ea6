"""Where people and machines are reached: addresses and numbers that are kept free for examples, tests and fiction."""

from __future__ import annotations

import ipaddress
import re

from llmguard.redaction.surrogates.data import words
from llmguard.redaction.surrogates.draw import Draw, says
from llmguard.validators.contact import phone as in_use

_DOMAINS = ("example.com", "example.org", "example.net")
"""RFC 2606 §3."""
_SHARED = frozenset(
    ("gmail.com", "outlook.com", "hotmail.com", "yahoo.com", "icloud.com", "gmx.de", "web.de", *_DOMAINS)
)
"""Domains at which many have a mailbox, and those for examples."""
_NETS = tuple(map(ipaddress.IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")))
"""RFC 5737 (documentation), RFC 2544 (benchmarks)."""
_WORDS = "x ext extn extension tel phone fax mobile cell poste durchwahl dw int ramal anexo доб вн"
_BESIDE = frozenset(_WORDS.split())
"""Words that a phone number has within it."""
_TRIES = 40
_DIGIT = re.compile(r"\d")
_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def email(value: str, draw: Draw) -> str:
    """A name and a domain that are nobody's; as many digits behind the name. A domain of somebody's own becomes one
    below those for examples.
    """
    local, _, domain = value.rpartition("@")
    local = local or domain
    names = words().names["latin"]
    separator = next((c for c in local if c in "._-+"), "")
    digits = re.search(r"\d*\Z", local)
    name = draw.pick(names.family)
    if separator or len(local) > 8:
        name = f"{draw.pick(names.given)}{separator}{name}"
    behind = draw.digits(min(len(digits[0]) if digits else 0, 4))
    below = "" if domain.casefold() in _SHARED else f"{draw.pick(words().places).lower()}."
    new = f"{name.lower()}{behind}@{below}{draw.pick(_DOMAINS)}"
    return new.upper() if value.isupper() else new


def payment_address(value: str, draw: Draw) -> str:
    """A name at a bank that does not exist."""
    return f"{draw.word(value.partition('@')[0])}@example"


def phone(value: str, draw: Draw) -> str:
    """A number that the country's regulator keeps for fiction; else one of the same length that nobody uses."""
    if not says(value, _BESIDE):
        return draw.shaped(value)
    digits = "".join(_DIGIT.findall(value))
    international = re.match(r"\W*(\+|00)", value)
    out = 2 if international and international[1] == "00" else 0
    new = _abroad(digits[out:], "(0)" in value, draw) if international else _at_home(value, digits, draw)
    rest = iter(digits[:out] + new)
    return _DIGIT.sub(lambda _: next(rest), value)


def _abroad(digits: str, with_trunk: bool, draw: Draw) -> str:
    code = _code(digits)
    trunk = "0" if with_trunk or digits[len(code) : len(code) + 1] == "0" else ""
    length = len(digits) - len(code) - len(trunk)
    if new := _reserved(code, length, draw):
        return code + trunk + new
    tries = (code + trunk + draw.digits(length) for _ in range(_TRIES))
    return next((new for new in tries if in_use(f"+{new}") is not True), code + trunk + draw.digits(length))


def _code(digits: str) -> str:
    """The country calling code that a number begins with; no code is the start of another."""
    if code := next((digits[:n] for n in (1, 2, 3) if digits[:n] in words().phones), ""):
        return code
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # 54 ms: paid at the first such number only

    return next((digits[:n] for n in (1, 2, 3) if int(digits[:n] or "0") in COUNTRY_CODE_TO_REGION_CODE), "")


def _at_home(value: str, digits: str, draw: Draw) -> str:
    """Without a country: told from the shape, where that tells it."""
    if digits[:1] == "0":
        pairs = re.fullmatch(r"0\d(?:[ .-]?\d\d){4}", value)
        code = "33" if pairs else {11: "44", 10: "61"}.get(len(digits), "49")
        if new := _reserved(code, len(digits) - 1, draw):
            return "0" + new
        return "0" + draw.digits(len(digits) - 1)
    if len(digits) == 7:
        return f"55501{draw.digits(2)}"
    long = digits[:1] == "1" and len(digits) == 11
    if long or len(digits) == 10:
        return ("1" if long else "") + (_reserved("1", 10, draw) or "")
    return draw.digits(len(digits))


def _reserved(code: str, length: int, draw: Draw) -> str:
    fitting = [r for r in words().phones.get(code, ()) if len(r) == length]
    if not fitting:
        return ""
    area = f"{2 + draw.below(8)}{draw.below(9)}{2 + draw.below(8)}"
    return "".join(draw.digits(1) if c == "x" else c for c in draw.pick(fitting).replace("AAA", area))


def ip_address(value: str, draw: Draw) -> str:
    """From the ranges for documentation, or for benchmarks; of IPv6 as many groups as before. RFC 5737, 3849."""
    if ":" not in value or _QUAD.search(value):
        new = _host(draw.below(sum(net.num_addresses - 2 for net in _NETS)))
        return _QUAD.sub(new, value, count=1) if _QUAD.search(value) else new
    groups = max(1, sum(map(bool, value.split(":"))) - 2)
    joined = ":".join(f"{1 + draw.below(0xFFFE):x}" for _ in range(min(groups, 6)))
    return f"2001:db8:{':' if groups < 6 else ''}{joined}"


def _host(number: int) -> str:
    """The address of this number in all the ranges; each address has one."""
    for net in _NETS:
        if number < net.num_addresses - 2:
            return str(net.network_address + 1 + number)
        number -= net.num_addresses - 2
    raise ValueError(number)


def mac_address(value: str, draw: Draw) -> str:
    """Locally administered, of one station. IEEE 802-2014 §8.4."""
    drawn = iter(f"{draw.below(16):x}{draw.pick('26ae')}" + "".join(f"{draw.below(16):x}" for _ in range(62)))
    new = "".join(next(drawn) if c.isalnum() else c for c in value[:64])
    return new.upper() if value == value.upper() else new


def host(value: str, draw: Draw) -> str:
    """As many labels, under the domain that is kept for examples (RFC 2606 §2)."""
    labels = value.rstrip(".").split(".")
    return ".".join(
        [draw.word(label) if label.isalpha() else draw.shaped(label) for label in labels[:-1]] + ["example"]
    )


def username(value: str, draw: Draw) -> str:
    return re.sub(r"[^\W\d_]+", lambda m: draw.word(m[0]), re.sub(r"\d", lambda _: draw.digits(1), value))
