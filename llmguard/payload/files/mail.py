"""Mail: messages (RFC 5322, MIME) and mailboxes: headers, bodies, attachments.

Owns taking a message apart with the standard library. Never follows a link, never verifies anything.
"""

from __future__ import annotations

import re
from email import policy
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from typing import BinaryIO

from llmguard.payload.files.looking import Looking, shown

_BOUNDARY = re.compile(rb"(?i)boundary\s*=")
MAX_BOUNDARIES = 200
"""The parser compares every line with every boundary that it is inside of."""
_FROM = re.compile(rb"(?m)^From \S+ .{0,40}\d\d:\d\d.*$")


def look(looking: Looking, file: BinaryIO, address: str) -> None:
    """One message. Raises Spent."""
    _message(looking, looking.held(file, "file"), address)


def mailbox(looking: Looking, file: BinaryIO, address: str) -> None:
    """Messages behind lines that start with ``From``. Raises Spent."""
    data = looking.held(file, "file")
    starts = list(_FROM.finditer(data))
    for i, start in enumerate(starts):
        end = starts[i + 1].start() if i + 1 < len(starts) else len(data)
        looking.text(start[0].decode("utf-8", "replace"), f"{address}#message={i + 1}")
        _message(looking, data[start.end() : end].lstrip(b"\r\n"), f"{address}#message={i + 1}")


def _message(looking: Looking, data: bytes, address: str) -> None:
    looking.spend("entries", 1)
    if len(_BOUNDARY.findall(data)) > MAX_BOUNDARIES:
        looking.blind("file")
        looking.text(data.decode("utf-8", "replace"), address)
        return
    if not looking.deeper("file"):
        return
    try:
        message = BytesParser(policy=policy.compat32).parsebytes(data)
        for part in message.walk():
            looking.spend("entries", 1)
            _part(looking, part, address)
    finally:
        looking.up()


def _part(looking: Looking, part: Message, address: str) -> None:
    headers = "\n".join(f"{name}: {_decoded(str(value))}" for name, value in part.items())
    looking.text(headers, f"{address}#headers")
    for text in (part.preamble, part.epilogue):
        looking.text(str(text or ""), address)
    if part.is_multipart():
        return
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    looking.spend("unpacked", len(data))
    if part.defects:
        looking.blind("file")
        looking.text(str(part.get_payload()), address)
    name = _decoded(str(part.get_filename("")))
    charset = part.get_content_charset("") or "utf-8"
    media = f"{part.get_content_type()}; charset={charset}"
    looking.member(data, name, f"{address}!{shown(name)}" if name else f"{address}#body", media)


def _decoded(value: str) -> str:
    """A header with its encoded words (RFC 2047) undone; as it came where they are damaged."""
    if "=?" not in value:
        return value
    pieces = []
    try:
        for text, charset in decode_header(value):
            pieces.append(text if isinstance(text, str) else text.decode(charset or "utf-8", "replace"))
    except (LookupError, ValueError):
        return value
    return "".join(pieces)
