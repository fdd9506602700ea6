"""Wrapped: text that stands encoded in a string: text media in data URLs and base64 files, stems of file names.

Owns opening such a string and closing it again around an edited text, in the same alphabet, padding and charset.
What is not text (pictures, sound, archives, PDF) is only taken out (``content``): it cannot be closed again.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

Close = Callable[[str], str]
"""From an edited text back to the string that it stands in."""

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.-]+=[^;,\"\s]*)*)(;base64)?,", re.I)
_TEXT = re.compile(
    r"text/.+|application/(?:json|jsonl|x-ndjson|ndjson|x-jsonlines|xml|yaml|x-yaml|toml|csv|sql|javascript|x-javascript"
    r"|typescript|x-sh|x-python|graphql|rtf|x-www-form-urlencoded|[\w.-]+\+(?:json|xml|yaml))|message/.+",
    re.I,
)
_CHARSET = re.compile(r";charset=\"?([\w-]+)", re.I)
_CHARSETS = {
    **dict.fromkeys(("", "utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "latin-1"),
    **dict.fromkeys(("windows-1252", "cp1252"), "cp1252"),
    **{name: name for name in ("utf-16le", "utf-16be", "iso-8859-15")},
}
_BLANKS = re.compile(r"[\r\n\t ]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_FORMATS = ("%PDF", "{\\rtf", "PK\x03", "%!PS")
_STEM = re.compile(
    r"(?is)(.+)(\.(?:pdf|txt|md|csv|tsv|json|jsonl|xml|html?|ya?ml|docx?|xlsx?|pptx?|rtf|odt|ods|zip|tar|gz|png|jpe?g"
    r"|gif|webp|bmp|tiff?|svg|wav|mp3|m4a|mp4|mpe?g|mpga|webm|ogg|oga|flac|py|js|ts|java|c|cpp|cs|go|rb|php|sh|sql|tex"
    r"|css|log|eml|ics|vcf|parquet))"
)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The text in a string, and how the string is made from an edited one."""

    text: str
    close: Close

    def __repr__(self) -> str:
        return f"Wrapped(<{len(self.text)} chars>)"


def data_url(text: str) -> Wrapped | None:
    """The text of a data URL of a text medium; None for other media, and for what does not decode."""
    match = _DATA_URL.match(text)
    if match is None or not _TEXT.fullmatch(match[1] or "text/plain"):
        return None
    named = _CHARSET.search(match[2])
    charset = _CHARSETS.get((named[1] if named else "").lower())
    if charset is None:
        return None
    head, body = match[0], text[match.end() :]
    if match[3]:
        return _base64(body, head, charset)
    raw = unquote_to_bytes(body)
    return _opened(raw, charset, lambda edited: head + quote(edited.encode(charset), safe="!$&'()*+,;=:@/?-._~"))


def file_data(text: str) -> Wrapped | None:
    """The text of a base64 file whose type nobody said, if it is plain text by its look."""
    opened = _base64(text, "", "utf-8")
    if opened is None or _CONTROLS.search(opened.text) or opened.text.lstrip("\ufeff\r\n\t ").startswith(_FORMATS):
        return None
    return opened


def content(text: str) -> tuple[bytes, str] | None:
    """The bytes of a data URL, or of a base64 file, with the declared type; None for what does not decode."""
    match = _DATA_URL.match(text)
    if match is not None and not match[3]:
        return unquote_to_bytes(text[match.end() :]), (match[1] or "") + match[2]
    body, media_type = (text[match.end() :], (match[1] or "") + match[2]) if match is not None else (text, "")
    decoded = _decoded(body)
    return (decoded[0], media_type) if decoded is not None else None


def filename(text: str) -> Wrapped | None:
    """The name of a file without its extension, which says what kind of file it is and stays."""
    match = _STEM.fullmatch(text)
    if match is None:
        return None
    extension = match[2]
    return Wrapped(match[1], lambda edited: edited + extension)


def _base64(body: str, head: str, charset: str) -> Wrapped | None:
    decoded = _decoded(body)
    if decoded is None:
        return None
    raw, url_safe, padded = decoded
    return _opened(raw, charset, lambda edited: head + _encoded(edited.encode(charset), url_safe, padded))


def _decoded(body: str) -> tuple[bytes, bool, bool] | None:
    """The bytes, and whether they stand in the alphabet for URLs, and with padding."""
    compact = _BLANKS.sub("", body)
    if "%" in compact:
        compact = unquote_to_bytes(compact).decode("latin-1")
    url_safe = "-" in compact or "_" in compact
    bare = compact.rstrip("=")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_" if url_safe else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw, url_safe, len(bare) % 4 == 0 or bare != compact


def _encoded(raw: bytes, url_safe: bool, padded: bool) -> str:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(raw).decode()
    return text if padded else text.rstrip("=")


def _opened(raw: bytes, charset: str, close: Close) -> Wrapped | None:
    try:
        return Wrapped(raw.decode(charset), close)
    except UnicodeDecodeError:
        return None
