"""File: what an uploaded file is, and what text stands in it.

    kind_of   what a file is, by its first bytes
    look_into the texts that stand in it, none of which can be rewritten, and what nobody looked into

Owns the table of which look reads which kind, and bytes that are more than one kind at once. Never does I/O but on the
file it is handed, never writes, and never raises at a file, whatever is in it: what cannot be read is named in
``Looked.unscanned`` (``archive``, ``audio``, ``file``, ``image``, ``pdf``, ``video``).

Invariant: a file is looked into by what it holds. Its name and its declared type only choose between kinds of text, so
calling a file by another name shows no less of it. Bytes that can be opened in more than one way (a PDF or a picture
with a zip behind it, text that is also a picture) are opened in each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from llmguard.payload.files import archives, mail, media, texts, zips
from llmguard.payload.files.kinds import HEAD, REWRITABLE, ZIPPED, Kind, charset_of, is_text, kind_of
from llmguard.payload.files.looking import HOSTILE, Limits, Looked, Looking, Spent

__all__ = ["HEAD", "REWRITABLE", "Kind", "Limits", "Looked", "charset_of", "kind_of", "look_into"]

_ENDING = 2048
"""A PDF says within its last bytes where its table of objects stands."""
_SPOKEN = 1 << 20
"""Bytes of a file with a signature that are tried as text."""


def look_into(
    file: BinaryIO, kind: Kind, *, address: str = "file", media_type: str = "", limits: Limits | None = None
) -> Looked:
    """Everything that is text in a file of a kind (``kind_of``). ``file`` is seekable and is left where it may be.

    Addresses are ``file#page=3``, ``file#xl/comments1.xml``, ``file!member.txt``. Costs at most ``limits``; raises
    nothing but what reading ``file`` raises.
    """
    looking = Looking(limits or Limits(), _open)
    try:
        looking.into(file, kind, address, media_type=media_type)
    except Spent:
        looking.blind(kind)
    return looking.looked()


def _open(looking: Looking, file: BinaryIO, kind: Kind, address: str, media_type: str) -> None:
    if kind == "empty":
        return
    if kind in ("image", "audio", "video"):
        media.look(looking, file, kind, address)
    elif kind == "binary":
        # Whatever nobody knows, and text of a charset that nobody told.
        looking.blind("file")
        file.seek(0)
        if not _controls(file.read(HEAD)):
            texts.look(looking, file, address, media_type)
    elif kind in REWRITABLE or kind == "foreign":
        texts.look(looking, file, address, media_type)
        return
    else:
        _LOOKS[kind](looking, file, address)
    _also(looking, file, kind, address)


def _also(looking: Looking, file: BinaryIO, kind: Kind, address: str) -> None:
    """The other things that the same bytes are."""
    size = file.seek(0, 2)
    if kind != "archive" and kind not in ZIPPED and zips.ends_like_zip(file):
        looking.blind("archive")
        _tried(looking, "archive", lambda: archives.behind(looking, file, address))
    file.seek(0)
    head = file.read(_SPOKEN)
    if kind != "pdf" and b"%PDF-" in head[:1024]:
        file.seek(max(0, size - _ENDING))
        if b"startxref" in file.read():
            looking.blind("pdf")
            _tried(looking, "pdf", lambda: _pdf(looking, file, address))
    if kind in ("image", "audio", "video", "pdf", "archive", "parquet") and is_text(head) and head[:4] != b"%PDF":
        looking.text(head.decode("utf-8", "ignore"), address)


def _tried(looking: Looking, kind: str, look: Callable[[], None]) -> None:
    try:
        look()
    except HOSTILE:
        looking.blind(kind)


def _controls(head: bytes) -> bool:
    return any(c in head for c in (b"\0", b"\1", b"\2", b"\3", b"\4"))


def _pdf(looking: Looking, file: BinaryIO, address: str) -> None:
    from llmguard.payload.files import pdf  # pypdf costs a tenth of a second, and most calls hold no PDF

    pdf.look(looking, file, address)


def _parquet(looking: Looking, file: BinaryIO, address: str) -> None:
    from llmguard.payload.files import tables

    tables.look(looking, file, address)


_LOOKS: dict[str, Callable[[Looking, BinaryIO, str], None]] = {
    "pdf": _pdf,
    "archive": archives.look,
    "rtf": texts.rtf,
    "eml": mail.look,
    "mbox": mail.mailbox,
    "parquet": _parquet,
    **dict.fromkeys(ZIPPED, archives.look),
}
