"""Keys that services issue: what tells them from identifiers, hashes, versions and examples.

Owns: what may stand before a machine-made run of characters. Invariant: True means proved by a
checksum or a parser, False drops the finding, None cannot say. Each is linear in the length of its value, and raises
nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.placeholders import stands_for_nothing
from llmguard.validators.shape import counted, entropy, machine_made, worded

_NUMBER = re.compile(r"\d+")
_HEX = re.compile(r"^(?:[0-9a-f]+|[0-9A-F]+)$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


def _key(text: str) -> bool:
    """Whether a machine made a run that no keyword speaks for: letters of one case alone must be many."""
    mixed = any(map(str.isdigit, text)) or text.lower() != text != text.upper()
    return (mixed or len(text) >= _LETTERS_ALONE) and machine_made(text) and entropy(text) >= 2.6


_LETTERS_ALONE = 22


def issued_key(value: str) -> bool | None:
    """A key in a published format: no documentation example, no words behind the prefix."""
    if stands_for_nothing(value) or entropy(value[-20:]) < 2.0 or counted(value[8:]):
        return False
    tail = value[max(map(len, _HEAD.findall(value)), default=0) :]
    numbers = len(_NUMBER.findall(tail))
    return False if len(tail) >= (12, 20)[numbers > 0] and numbers < 2 and worded(tail) else None


_HEAD = re.compile(r"^(?:[A-Za-z0-9]{1,16}[_.:+-]+){1,3}")
_PIECE = re.compile(r"[A-Za-z0-9~+/=]+")
_SHORT = re.compile(
    r"^(?:(?:[a-z]{1,14}|[A-Z]{1,14}|[A-Z][a-z]{1,13})\d{0,2}|[A-Z]{1,4}\d{1,3}[a-z]?|v?\d{1,4}|[a-z]\d{1,2}[a-z]{0,2})$"
)
_FILE = re.compile(r"\.(?:[a-z]{1,5}|[a-z]{2}\d|mp[34]|woff2|7z)$")
_OPENS = """
ak access adm admin aat api apikey app at auth authtoken bot cli client cred credential deploy dev grant hook
key lic license live machine oat oauth oidc pass password pat personal pkey prd priv private prod production pw
rk root rt rtk s sandbox sat scim sec secret secretkey seckey server service serviceaccount session sk skey srv
svc svcacct swt test tkn tok token uat user_token wh webhook whsec write
"""
_CREDENTIAL = frozenset(_OPENS.split())
"""Pieces of a prefix that say that what follows opens something."""
_MODES = frozenset(("live", "test", "prod", "production", "sandbox", "dev", "app", "user", "machine", "session"))
"""Of these, what an id says as well: ``task_test_…``."""
_NOUNS = frozenset(
    ("key", "session", "user", "app", "client", "service", "server", "machine", "hook", "grant", "license", "bot")
)
"""Of these, what an API's ids begin with: ``key_…`` is the name of a key."""
_CALLS = """
acct account agent ami arn asset asst batch blob block boundary build bundle cache call case cert certificate cfile
chat chatcmpl check ci cksess cntr consent cons ctc ctco eval evalrun fco fs grader invite key lsh mcp mcpl mcpr pmpt
sess skill vsfb voice
checksum chk chunk class cluster cmpl col comment commit component config container content conv conversation
css cus cust customer data dataset db deployment desc device digest dir disk doc docs domain embd emoji env
error eni etag event evt exec ext fc fig file files fingerprint fn font form ft ftjob func gen git group guid h
hash head host html http https icon id ids igw image img in index input instance int integrity invoice inv item
items job js lang layer lib link list log main map md5 media mem message meta model module msg name net node obj
object op order ord org out package page part patch path pay payment ph photo pi pic pk plan pod policy
polyfills post price proj project pub public query ray record ref region release repo req request res resp
response rev revision role route row rs rtb rule run runtime s3 schema section seg seq set sha sha1 sha224
sha256 sha384 sha3 sha512 sg sig site sitemap slot snap snapshot span src srvtoolu step stream style sub subnet
svg sys tab tag task team temp template test_ thread tmp tool toolu topic trace track tree type uid upload uri
url urn user users usr uuid v value var vendor version video view vol vpc vs web widget workspace ws x xml
"""
_NAMES = frozenset(_CALLS.split())
"""Pieces of a prefix that say that what follows only names something."""


def prefixed_key(value: str) -> bool | None:
    """A key with a prefix of its issuer's own: ``abc_live_…``, ``xyz-pat-…``. The fewer words say so, the longer it
    must be; ids with a prefix, hashes, versions and file names are none.
    """
    if stands_for_nothing(value) or _FILE.search(value) or not _key(value[-32:]):
        return False
    pieces = list(_PIECE.finditer(value))
    first = next((i for i, m in enumerate(pieces) if not _SHORT.match(m[0])), 0)
    if not 1 <= first <= 5:
        return False
    head, tail = [m[0].lower() for m in pieces[:first]], value[pieces[first].start() :]
    if not _key(tail):
        return False
    named = not _NAMES.isdisjoint(head) or (first == 1 and head[0] in _NOUNS)
    if not _CREDENTIAL.isdisjoint(head) and (
        not named or not (_MODES | _NOUNS).issuperset(_CREDENTIAL.intersection(head))
    ):
        return None if len(tail) >= 16 and "pk" not in head else False
    if named or _UUID.search(tail):
        return False
    least = 40 if _HEX.match(tail) else 30
    return None if len(tail) >= least and (first == 1 or len(head[0]) <= 8) and "-" not in tail[:12] else False


def named_key(value: str) -> bool | None:
    """A key without a prefix, beside the name of who issued it: what a machine made, but no hash that says so."""
    if stands_for_nothing(value) or "://" in value or _HEX.match(value) or _UUID.match(value) or _FILE.search(value):
        return False
    if value.startswith(("sha", "md5", "//")):
        return False
    return None if _key(value.rstrip("=")) else False


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {"issued_key": issued_key, "prefixed_key": prefixed_key, "named_key": named_key}
)
"""Validators of this module, by the names that catalogue entries use."""
