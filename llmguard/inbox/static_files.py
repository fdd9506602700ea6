"""Static files: style, scripts and icon of the pages, read once; addresses hold their hash, so they keep for good."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.responses import Response

_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """The files of ``llmguard/inbox/static``."""

    def __init__(self) -> None:
        folder = files("llmguard.inbox").joinpath("static")
        kept = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _MEDIA}
        self._files = {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in kept.items()}

    def url(self, name: str) -> str:
        return f"/inbox/static/{name}?v={self._files[name][1]}"

    def answer(self, name: str, version: str) -> Response | None:
        """The file; None if there is none. Asked for under another hash than its own, it is not to be kept."""
        if name not in self._files:
            return None
        content, own = self._files[name]
        kept = _FOREVER if version == own else "no-store"
        media = f"{_MEDIA[name.rpartition('.')[2]]}; charset=utf-8"
        return Response(content, headers={"content-type": media, "cache-control": kept})
