"""Dispatch: what a value of unknown country may be, and whether that is proved.

Owns: the verdicts over the table's candidates, by how much of the text vouches for the value. Never does: arithmetic.
Invariant: True when a check digit of a candidate holds that is worth believing there, None when the value merely has
the shape, False otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from llmguard.validators.base import DATE, Validator
from llmguard.validators.national.checks import STRUCTURAL, WEAK
from llmguard.validators.national.table import Candidates, candidates, check_of, compact, shape

_MAX = 40
"""Characters. No national number is longer."""


class Worth(IntEnum):
    """What the checks of some candidates say of a value."""

    WRONG = 0
    BARE = 1
    """Somebody gives numbers of this shape without a check."""
    PLAUSIBLE = 2
    """The format fits: dates, areas, letters."""
    PROVED = 3
    """A check digit holds."""


def worth(value: str, bare: str, some: Candidates) -> Worth:
    """The best that a candidate's check says of the value, as written or without its separators."""
    upper, best = value.upper(), Worth.WRONG
    for _, name in some:
        if name in ("~", "-"):
            best = max(best, Worth.BARE)
        else:
            check = check_of(name)
            if check(bare) or (upper != bare and ("." in name or name == "fi_person") and check(upper)):
                if name not in STRUCTURAL:
                    return Worth.PROVED
                best = Worth.PLAUSIBLE
    return best


def trivial(bare: str) -> bool:
    """One digit over and over, or counting up from 0 or 1: what stands in for a number."""
    digits = "".join(c for c in bare if c.isdigit())
    return len(set(digits)) < 2 or (len(digits) > 5 and _UP.startswith((digits, "0" + digits)))


_UP = "01234567890123456789"


def _candidates(value: str) -> tuple[str, Candidates]:
    if len(value) > _MAX or DATE.fullmatch(value):
        return "", ()
    bare = compact(value)
    return bare, candidates(bare)


def country(*codes: str) -> Validator:
    """A validator for values beside a word of one country: its check, or the shape of its numbers without one."""

    def check(value: str) -> bool | None:
        bare, some = _candidates(value)
        found = worth(value, bare, tuple(c for c in some if c[0] in codes))
        if found is Worth.WRONG or len(set(bare)) < 2:
            return False
        if found is Worth.PROVED:
            return True
        return False if found is Worth.BARE and trivial(bare) else None

    return check


def worded(value: str) -> bool | None:
    """Beside a generic word (tax id, identity number): any country's check, or letters and digits of a known shape."""
    bare, some = _candidates(value)
    some = tuple(c for c in some if c[1] != "-")
    return _unnamed(value, bare, worth(value, bare, some)) if some and len(bare) >= 7 else False


def alone(value: str) -> bool | None:
    """A text that is nothing but this value: a check that is worth something by itself, or a document's shape.

    Round numbers and up to eight digits are counts.
    """
    if len(value) > _MAX or not regular(value):
        return False
    bare, some = _candidates(value)
    if not some or len(bare) < (9 if bare.isdigit() else 7) or bare.endswith("0000") or bare[:5] == "00000":
        return False
    form = layout(value)
    if bare.isdigit() and not form.replace(" ", "").isdigit():
        names = _TOLD.get(form, _BY_LAYOUT.get(form, ()))
        return None if any(n == "~" or check_of(n)(bare) for n in names) else False
    strong = tuple(c for c in some if _told(c[1], bare))
    return _unnamed(value, bare, worth(value, bare, strong))


def _told(name: str, bare: str) -> bool:
    """Whether a candidate is worth something without a word."""
    if name == "-" or name in WEAK:
        return False
    return name not in STRUCTURAL or name in _ASKED or not bare.isdigit()


_ASKED = frozenset({"us_social", "eg_person", "my.nric", "id.nik", "dk.cpr"})


def _unnamed(value: str, bare: str, found: Worth) -> bool | None:
    """A check digit among digits alone is one chance in ten for each country: no proof."""
    if bare.isdigit():
        return None if found >= Worth.PLAUSIBLE and not trivial(bare) else False
    if found is Worth.PROVED:
        return True
    if found is Worth.PLAUSIBLE:
        return None
    return None if found and not trivial(bare) and len(bare) == len(value) else False


_GROUPS = re.compile(r"[0-9A-Za-z]+")
_WORD = re.compile(r"(?!CHE|GHA)[A-Za-z]{3,}[^0-9A-Za-z]")
_KNOWN = (
    "3.3.3-2 2.3.3/4-2 3.4.4.2 2.2.2-3.2 2.3.3-1 1.3.3-1 2.3.3.1-3.3 3.3.3-1 3.5.2-1 4:4:4 6/3 6/4 3/3/5 3/3/4 2/3/5"
)
_LAYOUTS = frozenset(_KNOWN.split()) | {"3/4/4", "4/6/2", "6/5", "4.2.3", "2.2.2-3", "3.2.4", "2.3.3"}
"""Layouts with points, slashes and colons that dates, decimals, versions and times do not have."""


def layout(value: str) -> str:
    """``value`` with each group of letters and digits as its length: ``3.3.3-2``."""
    return _GROUPS.sub(lambda m: str(len(m[0])), value)


def regular(value: str) -> bool:
    """Whether separators stand as people write numbers: single blanks or hyphens, or a known layout."""
    separators = {c for c in value if not c.isalnum()}
    if separators and _WORD.match(value):
        return False
    if separators <= {" ", "-"}:
        return len(_GROUPS.findall(value)) <= 7 and "  " not in value
    return layout(value) in _LAYOUTS or bool(re.fullmatch(r"[A-Z]{1,2} ?\d{6} ?\([0-9A]\)", value))


_BY_LAYOUT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        key: tuple(names.split())
        for key, names in {
            "3.3.3-2": "br.cpf",
            "2.3.3/4-2": "br.cnpj",
            "3.5.2-1": "br_worker",
            "2-8-1": "ar.cuit",
            "2.3.3-1": "cl.rut",
            "1.3.3-1": "cl.rut uy_person",
            "3.3.3-1": "co.nit",
            "4-6-3-1": "sv.nit",
            "3-7-1": "do.cedula",
            "3.4.4.2": "ch.ssn",
            "2.2.2-3.2": "be.ssn",
            "2.3.3.1-3.3": "id.npwp",
            "6-7": "kr_person",
            "6-4": "se.personnummer se.orgnr",
            "6+4": "se.personnummer",
            "8-4": "se.personnummer",
            "8+4": "se.personnummer",
            "12": "se.personnummer",
            "4 4 4": "in_.aadhaar",
            "4-4-4": "in_.aadhaar",
            "1-4-5-2-1": "th.pin",
            "1 4 5 2 1": "th.pin",
            "3-4-7-1": "ae_person",
            "3-3-3 2": "ru_pension",
            "3-3-3-2": "ru_pension",
            "6-2-4": "my.nric",
            "1 2 2 2 3 3 2": "fr.nir",
            "13": "za_person",
            "15": "fr.nir ae_person",
            "18": "cn_person",
        }.items()
    }
)
"""What digits prove wherever they stand, by layout: two check digits, or one and a date or area."""

_TOLD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        key: tuple(names.split())
        for key, names in {
            "3-2-4": "us_social",
            "3.2.4": "us_social",
            "3-6": "us_social us.itin",
            "5-4": "us_social us.itin",
            "2-7": "us.ein",
            "4-3-3": "us_provider",
            "3-3-3": "ca.sin au.tfn nl.bsn ph_tax us.itin",
            "3-3-3-3": "ph_tax",
            "4-7-1": "~",
            "5-7-1": "pk.cnic",
            "2-7-1": "~",
            "2-9-1": "~",
            "3-2-5": "kr_company",
            "2-2-6-2": "~",
            "3-3-2-2": "pl.nip",
            "3-2-2-3": "pl.nip",
            "3-3-4": "gb.nhs",
            "6/3": "cz.rc",
            "6/4": "cz.rc",
            "3/3/5": "de.stnr",
            "3/3/4": "za.tin",
            "2/3/5": "de.stnr",
            "3/4/4": "de.stnr",
            "4/6/2": "~",
            "6-4": "se.personnummer se.orgnr dk.cpr is_.kennitala",
            "6-5": "lv_person",
            "8-1": "cl.rut il.idnr sv_person",
            "9-1": "ec.ci",
            "1-4-4-4": "jp.cn",
            "2-3-3": "nz.ird",
            "4:4:4": "in_.aadhaar",
            "1.3.3-1": "uy_person cl.rut",
            "4.2.3": "nl.bsn",
            "2-6-3-1": "uy.rut",
        }.items()
    }
)
"""Further layouts that are believed when the text is nothing else; ``~`` where no other thing is written so."""

_BY_SHAPE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "d7a1": ("es.dni",),
        "d8a1": ("es.dni",),
        "a1d7a1": ("sg_person", "es.nif"),
        "d8a1d3": ("de_pension",),
        "d17a1": ("cn_person",),
        "d6a1d4": ("fi_person",),
        "d6a1d3a1": ("fi_person",),
        "d6d3a1": ("fi_person",),
        "d9a1": ("fi_person",),
        "d10": ("fi_person",),
        "d9a1d2": ("nl.btw",),
        "d8d1a2d1": ("pt.cc",),
        "d9a2d1": ("pt.cc",),
    }
)
_ELSEWHERE = ("it.codicefiscale", "mx.curp", "in_.gstin", "cn.uscc", "ch.uid", "eu.vat", "ve.rif")


def lettered(value: str) -> bool | None:
    """Numbers with letters that prove themselves wherever they stand."""
    bare = compact(value)
    if len(value) > _MAX or not bare.isalnum() or not bare.isascii() or bare.isdigit():
        return False
    names = _BY_SHAPE.get(shape(bare), _ELSEWHERE)
    return any(check_of(n)(value if n == "fi_person" else bare) for n in names)


def formatted(value: str) -> bool | None:
    """Digits whose separators say what they may be, and whose check proves it."""
    names = _BY_LAYOUT.get(layout(value), ())
    bare = "".join(c for c in value if c.isdigit())
    if not bare.isascii() or len(set(bare)) < 3:
        return False
    return any(check_of(n)(value if "." in n else bare) for n in names)
