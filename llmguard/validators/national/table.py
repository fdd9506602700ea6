"""The table: which country could have given a value of this shape, and what proves it.

Owns: shapes and candidates. A shape is a value without separators as runs of letters and digits: ``12345678Z`` is
``d8a1``. A candidate is ``CC=check``: a module of python-stdnum (with a point), a check of our own, ``~`` for a shape
that speaks for itself, or ``-`` where only a word of the country makes a number of it. Never does: reading text.
Invariant: candidates of a shape are tried in their order, and a module is imported when the first value of its shape
appears.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from types import MappingProxyType

from llmguard.validators.base import registry
from llmguard.validators.national.checks import CHECKS, Check

_DIGITS: Mapping[str, str] = {
    "d6": "BO=- GT=gt.nit PY=py.ruc",
    "d7": "KE=- BO=- SN=sn.ninea AR=- TN=- PY=py.ruc GT=gt.nit NP=-",
    "d8": """
        IL=il.idnr FI=fi.ytunnus DK=dk.cvr NZ=nz.ird TW=tw.ubn EE=ee.registrikood LU=lu.tva SI=si.ddv
        HU=hu.anum CZ=cz.dic UA=ua.edrpou ME=me.pib UY=uy_person PE=- AR=- KE=- SG=- TN=- CY=- MT=mt.vat
        AU=au.tfn RO=ro.cui BO=- CO=- PY=py.ruc CL=cl.rut IT=-
    """,
    "d9": """
        NL=nl.bsn CA=ca.sin AU=au.tfn AU=au.acn PT=pt.nif NZ=nz.ird CZ=cz.rc FR=fr.siren IL=il.idnr CA=ca.bn
        PL=pl.regon HU=hu_health GR=gr.vat GB=gb.vat NO=no.orgnr BG=bg.vat BY=by.unp CH=ch.uid DE=de.vat
        DE=de_doctor EE=ee.kmkr LT=lt.pvm RS=rs.pib PH=ph_tax AT=at.tin US=us_social US=us.itin US=us.ein
        SV=sv_person EG=eg.tn DO=do.rnc MZ=mz.nuit GN=gn.nifp SK=cz.rc BH=- CL=cl.rut CO=co.nit ES=-
        PY=py.ruc RO=ro.cui CR=cr.cpf AL=- ZM=- GT=gt.nit VN=- PT=-
    """,
    "d10": """
        SE=se.personnummer SE=se.orgnr DK=dk.cpr IS=is_.kennitala PL=pl.nip BG=bg.egn BG=bg.pnf CZ=cz.rc
        SK=sk.rc SK=sk.dph GB=gb.utr GB=gb.nhs KR=kr_company RU=ru.inn UA=ua.rntrc AU=au_medicare AT=at.vnr
        TR=tr.vkn US=us_provider SA=sa_person IR=ir_person HU=hu_tax CA=ca.bc_phn EC=ec.ci BE=be.vat
        ZA=za_tax ZA=za.tin AZ=az.voen VN=vn.mst UG=- BD=- PK=- JO=- MY=- CO=co.nit NZ=- RO=ro.cui CR=cr.cpj
        SI=si.maticna PH=- RU=-
    """,
    "d11": """
        BR=br.cpf TR=tr.tckimlik PL=pl.pesel DE=de.idnr NO=no.fodselsnummer HR=hr.oib EE=ee.ik LT=lt.asmens
        LV=lv_person LV=lv.pvn AR=ar.cuit AU=au.abn BE=be.ssn GR=gr.amka IT=it.iva RU=ru_pension HU=hu.anum
        HU=hu_person DO=do.cedula CU=cu.ni PE=pe.ruc FR=fr.tva MX=mx_social BR=br_driver BR=br_worker
        NG=ng_person DE=de_local GE=- QA=- NG=- NP=-
    """,
    "d12": """
        SE=se.personnummer IN=in_.aadhaar JP=jp.in_ BR=br_voter KZ=kz_person KW=kw_person RU=ru.inn
        MY=my.nric LK=lk_person VN=vn_person LT=lt.pvm PH=ph_tax UY=uy.rut SE=se.vat IQ=- PH=- KR=- CR=cr.cr
        ET=-
    """,
    "d13": """
        ZA=za_person TH=th.pin CH=ch.ssn RO=ro.cnp KR=kr_person SI=si.emso RS=si.emso ME=si.emso
        MK=si.emso MK=mk.edb MD=md.idno LU=lu_person GT=gt_person JP=jp.cn RU=ru.ogrn FR=fr.nif EC=ec.ruc
        PK=pk.cnic DE=de.stnr ZA=- BD=- VN=vn.mst HN=-
    """,
    "d14": "FR=fr.siret BR=br.cnpj UZ=uz_person EG=eg_person SV=sv.nit US=-",
    "d15": "FR=fr.nir AE=ae_person ID=id.npwp MA=ma.ice RU=ru.ogrn DZ=dz.nif ZA=- IN=-",
    "d16": "ID=id.nik IN=in_.vid RW=- ET=-",
    "d17": "BD=-",
    "d18": "CN=cn_person CN=cn.uscc DZ=-",
    "d20": "TZ=-",
}
"""Digits alone."""

_LETTERED: Mapping[str, str] = {
    "d7a1": "ES=es.dni IE=ie.pps FI=fi.ytunnus MT=-",
    "d7a2": "IE=ie.pps PE=~ IT=~",
    "d8a1": "ES=es.dni CY=cy.vat SG=sg.uen CL=cl.rut",
    "d9a1": "FI=fi_person SG=sg.uen LK=lk_person",
    "d8a1d3": "DE=de_pension",
    "d9a1d2": "NL=nl.btw ZW=-",
    "a1d9": "DE=de_health TW=tw_person GH=gh.tin DE=de_document VE=ve.rif",
    "a1d7a1": "SG=sg_person ES=es.nif PH=ph_passport",
    "d6a1": "GT=gt.nit",
    "a1d8a1": "AL=al.nipt",
    "a1d9a1": "KE=ke.pin",
    "a1d8": "ES=es.cif US=~ ZA=~ KR=~ PT=~ CN=~ DE=de_document",
    "a1d7": "IN=~ IL=~ HK=hk_person AU=~ MX=~",
    "a1d6a1": "HK=hk_person",
    "a2d6a1": "HK=hk_person GB=uk_nino",
    "a2d7": "HK=hk_person US=us_drug JP=~ PH=~ IT=~ PL=~ RU=~ FR=~",
    "a2d8": "CN=~ PH=~ DZ=~",
    "a2d6": "PK=~ MA=~ GH=~ NZ=~ UA=~ SV=~",
    "a2d5a2": "IT=~",
    "a2d7a1": "IT=it_driver",
    "a3d6": "ES=~ CO=~ PL=~ AR=~ FI=~ PE=~",
    "a3d7": "IN=in_.epic IN=~",
    "a5d4a1": "IN=in_.pan IN=in_tax",
    "d8a2": "US=-",
    "d2a2d5": "FR=~",
    "a3d6a1d1": "MX=~",
    "a1d8d1": "TW=~",
    "d7a1d3a2d1": "BY=by_person",
    "a1d3a1d4": "KR=~",
    "d6a1d4": "FI=fi_person",
    "d6a1d3a1": "FI=fi_person",
    "a1d2a2d4a1": "SG=sg.uen",
    "d2a5d4a1d1a1d1": "IN=in_.gstin",
    "a6d2a1d2a1d3a1": "IT=it.codicefiscale IT=it_fiscal",
    "d8d1a2d1": "PT=pt.cc",
    "d9a2d1": "PT=pt.cc",
    "d17a1": "CN=cn_person",
    "a3d3a2": "NG=~",
    "a3d9a1": "CH=ch.vat",
    "a2d8a1": "DE=~",
    "a2d9": "DE=~",
    "a1d8a2": "UG=~",
    "d12a1": "ET=-",
    "d8a1d2": "ZW=-",
}
"""Letters and digits."""

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

_IRREGULAR: tuple[tuple[str, str], ...] = (
    (r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", "MX=mx.curp"),
    (r"[A-ZÑ&]{3,4}\d{6}[0-9A-Z]{2}[0-9A]", "MX=mx.rfc"),
    (r"[A-Z]{6}\d{8}[HM]\d{3}", "MX=~"),
    (r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", "IT=it.codicefiscale IT=it_fiscal"),
    (r"U1[BCDEFGHLJKMNPRSTUWYXZ0-9]{7}[A-Z]", "IT=it_driver"),
    (r"\d[A-Z][A-Z0-9]\d[A-Z][A-Z0-9]\d[A-Z]{2}\d\d", "US=us_medicare"),
    (r"[A-Z]{1,5}9{0,4}\d{6}[A-Z9]{2}[A-Z0-9][A-Z]{2}", "GB=uk_driver"),
    (r"[0-9ANY][0-9A-Z]\d{6}[0-9A-Z]{10}", "CN=cn.uscc"),
    (r"\d{2}[A-Z]{5}\d{4}[A-Z][0-9A-Z]Z[0-9A-Z]", "IN=in_.gstin"),
    (r"[0-9A-Z]{12}\d\d", "BR=br.cnpj"),
    (r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{7}\d{1,2}", "DE=de_document"),
    (r"[NOP-Z][A-Z]{1}[A-Z0-9]{6}\d", "NL=nl.identiteitskaartnummer"),
    (r"C[MF]\d{8}[0-9A-Z]{4}", "UG=~"),
    (r"\d{1,2}[A-Z]{4,10}\d{6}", "MM=~"),
    (r"\d{7}[A-Z](?:[A-Z]{2}\d{3})?", "TN=tn.mf TN=-"),
    (r"\d{7}[0-2][A-Z]\d", "SN=sn.ninea"),
    (r"GHA\d{10}", "GH=~"),
    (r"[A-Z]\d{12}[0-9A-Z]", "MU=~"),
    (r"\d{3,7}[MGAPLHBZ]", "MT=-"),
    (
        r"(?:BE|GR|EL|DK|CZ|SK|HU|RO|BG|SE|FI|EE|LV|LT|LU|DE|AT|FR|PT|IT|HR|SI|MT|CY|NL|ES|IE|PL)[0-9A-Z]{8,12}",
        " ".join(f"{code}=eu.vat" for code in _EU.split()),
    ),
    (r"GB\d{9}(?:\d{3})?", "GB=gb.vat"),
    (r"NO\d{9}(?:MVA)?", "NO=no.mva"),
    (r"U\d{8}", "AT=at.uid"),
    (r"ES[A-Z]\d{7}[0-9A-Z]", "ES=eu.vat"),
    (r"CHE\d{9}(?:MWST|TVA|IVA|TPV)?", "CH=ch.uid"),
    (r"\d{2}[A-Z]\d{2}[A-Z]{1}\d{5}", "FR=~"),
    (r"[A-Z]\d{2}[A-Z]{2}\d{4}[A-Z]", "SG=sg.uen"),
)
"""Shapes that runs of letters and digits do not tell apart."""

_FORMS = tuple((re.compile(pattern), names) for pattern, names in _IRREGULAR)
_SEPARATORS = dict.fromkeys(map(ord, " .-+/:()_\u00a0"))


def compact(value: str) -> str:
    """``value`` in upper case without separators."""
    return value.translate(_SEPARATORS).upper()


def shape(value: str) -> str:
    """Runs of a compact ASCII value: ``a`` for letters, ``d`` for digits, each with its length."""
    runs = groupby(value, key=str.isdigit)
    return "".join(f"{'d' if digit else 'a'}{len(list(run))}" for digit, run in runs)


@cache
def check_of(name: str) -> Check:
    """The check that a candidate names."""
    return registry(name) if "." in name else CHECKS[name]


Candidates = tuple[tuple[str, str], ...]
"""Country and check; ``~`` or ``-`` for none."""


def _parsed(names: str) -> Candidates:
    return tuple((country, check) for country, _, check in (name.partition("=") for name in names.split()))


_TABLE: Mapping[str, Candidates] = MappingProxyType(
    {key: _parsed(names) for key, names in {**_DIGITS, **_LETTERED}.items()}
)
_IRREGULAR_CANDIDATES = tuple((form, _parsed(names)) for form, names in _FORMS)


def candidates(bare: str) -> Candidates:
    """Who could have given this compact value."""
    if not bare.isascii() or not bare.isalnum() or not 6 <= len(bare) <= 20:
        return ()
    known = _TABLE.get(shape(bare), ())
    if bare.isdigit():
        return known
    return known + tuple(c for form, some in _IRREGULAR_CANDIDATES if form.fullmatch(bare) for c in some)


def by_shape() -> Iterator[tuple[str, Candidates]]:
    """Every shape that runs of letters and digits tell apart, with its candidates."""
    return iter(_TABLE.items())


def _by_country() -> Mapping[str, frozenset[str]]:
    checks: defaultdict[str, set[str]] = defaultdict(set)
    for some in (*_TABLE.values(), *(c for _, c in _IRREGULAR_CANDIDATES)):
        for country, check in some:
            checks[country].add(check)
    return {country: frozenset(names) for country, names in checks.items()}


COUNTRIES: Mapping[str, frozenset[str]] = MappingProxyType(dict(_by_country()))
"""ISO 3166 codes (EU for VAT numbers of the Union) and the checks of their numbers."""
