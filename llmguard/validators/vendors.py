"""Keys that services issue: what tells them from identifiers, hashes, versions and examples.

Owns: the shape of a machine-made run of characters, and of what stands before it. Invariant: True means proved by a
checksum or a parser, False drops the finding, None cannot say. Each is linear in the length of its value, and raises
nothing on any text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.secrets import entropy, stands_for_nothing

_COMMON = """
abacadagaialamanaparasataubabebiblbobucacechcickclcocrctcudadedidodseaecedeeefegelemeneperesetevexfafefffifofr
gagegigrhahehihoiaibicidieifigiliminioipirisitivizkelaldlelilllolsltlulymamemimompnancndnenfngninnnonsntocodog
olomonoooporosotouowpapephpiplpoppprptqurarcrdrerirmrnrorrrsrtrurysascseshsislsospssstsutatctethtitltotrtstttu
tyubueulumunupurusutvaveviwaze
"""
_PAIRS = frozenset(pair for line in _COMMON.split() for pair in map("".join, zip(line[::2], line[1::2], strict=True)))
"""The 180 most frequent pairs of letters in words of English and of source code: 77 % of the pairs there, and 27 % of
those that chance makes."""
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_NUMBER = re.compile(r"\d+")
_CASES = re.compile(r"[a-z]+|[A-Z]+|\d+|[^A-Za-z\d]+")
_HEX = re.compile(r"^(?:[0-9a-f]+|[0-9A-F]+)$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_ROWS = "0123456789 abcdefghijklmnopqrstuvwxyz 1234567890 9876543210 qwertyuiop asdfghjkl".split()


def _worded(text: str) -> bool:
    """Whether more letter pairs are those of words than chance explains."""
    pairs = [run[i : i + 2] for run in _LETTERS.findall(text.lower()) for i in range(len(run) - 1)]
    n = len(pairs)
    return n >= 4 and sum(p in _PAIRS for p in pairs) / n > 0.3 + 1.0 / math.sqrt(n)


def _counted(text: str) -> bool:
    """Whether a row of eight characters rises or falls as on a keyboard or in the alphabet: an example."""
    folded = text.lower()
    return any(row[i : i + 8] in folded for row in _ROWS for i in range(len(row) - 7))


def made_by_machine(text: str) -> bool:
    """Whether chance made these characters: letters that are no words, no counting, turns of case and digits."""
    letters = sum(map(str.isalpha, text))
    if letters * 6 < len(text) or entropy(text) < 2.6 or _counted(text):
        return False
    turns, numbers = len(_CASES.findall(text)), len(_NUMBER.findall(text))
    if numbers >= 4 and turns * 5 >= len(text) * 2:
        return True
    if _worded(text):
        return False
    if numbers >= 2:
        return turns * 6 >= len(text)
    return turns * 3 >= len(text) or len(text) >= 22


def issued_key(value: str) -> bool | None:
    """A key in a published format: no documentation example, no words behind the prefix."""
    if stands_for_nothing(value) or entropy(value[-20:]) < 2.0 or _counted(value[8:]):
        return False
    tail = value[max(map(len, _HEAD.findall(value)), default=0) :]
    return False if len(tail) >= 12 and not any(map(str.isdigit, tail)) and _worded(tail) else None


_HEAD = re.compile(r"^(?:[A-Za-z0-9]{1,16}[_.:+-]+){1,3}")
_PIECE = re.compile(r"[A-Za-z0-9~+/=]+")
_SHORT = re.compile(r"^(?:[A-Za-z]{1,14}\d{0,2}|[A-Z]{1,4}\d{1,3}[a-z]?|v?\d{1,4}|[a-z]\d{1,2}[a-z]{0,2})$")
_FILE = re.compile(r"\.(?:[a-z]{2,5}|[a-z]{2}\d|mp[34]|woff2|7z)$")
_CREDENTIAL = frozenset(
    """ak access adm admin aat api apikey app at auth authtoken bot cli client cred credential deploy dev grant hook key
    lic license live machine oat oauth oidc pass password pat personal pkey prd priv private prod production pw rk root
    rt rtk s sandbox sat scim sec secret secretkey seckey server service serviceaccount session sk skey srv svc svcacct
    swt test tkn tok token uat user_token wh webhook whsec write""".split()
)
"""Pieces of a prefix that say that what follows opens something."""
_NAMES = frozenset(
    """acct account agent ami arn asset asst batch blob block boundary build bundle cache call case chat chatcmpl check
    checksum chk chunk class cluster cmpl col comment commit component config container content conv conversation css
    cus cust customer data dataset db deployment desc device digest dir disk doc docs domain embd emoji env error eni
    etag event evt exec ext fc fig file files fingerprint fn font form ft ftjob func gen git group guid h hash head host
    html http https icon id ids igw image img in index input instance int integrity invoice inv item items job js lang
    layer lib link list log main map md5 media mem message meta model module msg name net node obj object op order ord
    org out package page part patch path pay payment ph photo pi pic pk plan pod policy polyfills post price proj project
    pub public query ray record ref region release repo req request res resp response rev revision role route row rs rtb
    rule run runtime s3 schema section seg seq set sha sha1 sha224 sha256 sha384 sha3 sha512 sg sig site sitemap slot
    snap snapshot span src srvtoolu step stream style sub subnet svg sys tab tag task team temp template test_ thread
    tmp tool toolu topic trace track tree type uid upload uri url urn user users usr uuid v value var vendor version
    video view vol vpc vs web widget workspace ws x xml""".split()
)
"""Pieces of a prefix that say that what follows only names something."""


def prefixed_key(value: str) -> bool | None:
    """A key with a prefix of its issuer's own: ``abc_live_…``, ``xyz-pat-…``. The fewer words say so, the longer it
    must be; ids with a prefix, hashes, versions and file names are none.
    """
    if stands_for_nothing(value) or _FILE.search(value) or not made_by_machine(value[-32:]):
        return False
    pieces = list(_PIECE.finditer(value))
    first = next((i for i, m in enumerate(pieces) if not _SHORT.match(m[0])), 0)
    if not 1 <= first <= 5:
        return False
    head, tail = [m[0].lower() for m in pieces[:first]], value[pieces[first].start() :]
    if not made_by_machine(tail):
        return False
    if _CREDENTIAL.intersection(head):
        return None if len(tail) >= 16 and "pk" not in head else False
    if _NAMES.intersection(head) or _UUID.search(tail):
        return False
    least = 40 if _HEX.match(tail) else 30
    return None if len(tail) >= least and (first == 1 or len(head[0]) <= 8) and "-" not in tail[:12] else False


def named_key(value: str) -> bool | None:
    """A key without a prefix, beside the name of who issued it: what a machine made, but no hash that says so."""
    if stands_for_nothing(value) or _UUID.match(value) or _FILE.search(value) or value.startswith(("sha", "md5")):
        return False
    return None if made_by_machine(value.rstrip("=")) else False


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {"issued_key": issued_key, "prefixed_key": prefixed_key, "named_key": named_key}
)
"""Validators of this module, by the names that catalogue entries use."""
