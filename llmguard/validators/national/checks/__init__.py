"""Check digits of national numbers that python-stdnum lacks or reads otherwise, each with its source.

Owns: arithmetic on a compact value (digits and upper-case letters, no separators), a module a part of the world, and
how much a check is worth. Never does: knowing where a value stood. Invariant: linear, raises nothing for a value of
the shape that the table names for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from llmguard.validators.national.checks import africa, americas, asia, europe

Check = Callable[[str], bool]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            africa.eg_person, africa.ng_person, africa.za_person, africa.za_tax,
            americas.br_driver, americas.br_voter, americas.br_worker, americas.gt_person, americas.mx_social,
            americas.sv_person, americas.us_drug, americas.us_medicare, americas.us_provider, americas.us_social,
            americas.uy_person,
            asia.ae_person, asia.au_medicare, asia.cn_person, asia.hk_person, asia.in_tax, asia.ir_person,
            asia.kr_company, asia.kr_person, asia.kw_person, asia.lk_person, asia.ph_passport, asia.ph_tax,
            asia.sa_person, asia.sg_person, asia.tw_person, asia.vn_person,
            europe.by_person, europe.de_doctor, europe.de_document, europe.de_health, europe.de_local,
            europe.de_pension, europe.fi_person, europe.hu_health, europe.hu_person, europe.hu_tax,
            europe.it_driver, europe.it_fiscal, europe.kz_person, europe.lu_person, europe.lv_person,
            europe.ru_pension, europe.uk_driver, europe.uk_nino, europe.uz_person,
        )
    }
)  # fmt: skip
"""Own checks by the names that the table uses."""

STRUCTURAL = frozenset(
    {
        "ad.nrt", "al.nipt", "by_person", "cr.cpf", "cr.cpj", "cr.cr", "cu.ni", "de.stnr", "de_local", "dk.cpr",
        "dz.nif", "eg.tn", "eg_person", "id.nik", "in_.epic", "in_.pan", "in_tax", "it_driver", "it_fiscal",
        "ke.pin", "lk_person", "mx.rfc", "my.nric", "nl.identiteitskaartnummer", "ph_passport", "pk.cnic",
        "uk_driver", "uk_nino", "us.ein", "us.itin", "us_medicare", "us_social", "vn_person",
    }
)  # fmt: skip
"""Checks of format alone: a value that passes is plausible, not proved."""

WEAK = frozenset(
    {
        "al.nipt", "at.tin", "at.vnr", "az.voen", "be.vat", "bg.pnf", "br_worker", "by_person", "ca.bc_phn",
        "cl.rut", "co.nit", "cr.cpj", "cr.cr", "cu.ni", "do.cedula", "dz.nif", "fr.nif", "fr.tva", "gb.utr",
        "gh.tin", "gt.nit", "gt_person", "hu.anum", "hu_health", "jp.cn", "lk_person", "lt.pvm", "lv.pvn",
        "lv_person", "md.idno", "mk.edb", "mx_social", "pe.ruc", "ph_tax", "pk.cnic", "ro.cui", "ru.inn",
        "ru.ogrn", "si.maticna", "sk.dph", "th.moa", "ua.rntrc", "uy.rut", "ve.rif", "vn.mst", "vn_person",
        "za.tin",
    }
)  # fmt: skip
"""Checks that one value in ten passes, of numbers that are seldom told without a word: too little for a bare text."""
