"""Match: the company's own records in a text, by keyed digests. ``configured`` is the entry.

It owns match files, from values to findings. Never does: keep, ship or print a value.
"""

from __future__ import annotations

from pathlib import Path

from llmguard.config import Settings
from llmguard.detection.match.build import Builder, Report, without
from llmguard.detection.match.file import Header, MatchFile, MatchKey, header_of, read
from llmguard.detection.match.matcher import Matcher
from llmguard.detection.match.sources import SHAPES, values
from llmguard.errors import ConfigError
from llmguard.vault import Keyring, read_keys

__all__ = [
    "SHAPES",
    "Builder",
    "Header",
    "MatchFile",
    "MatchKey",
    "Matcher",
    "Report",
    "configured",
    "header_of",
    "keys",
    "opened",
    "read",
    "values",
    "without",
]


def configured(settings: Settings) -> Matcher | None:
    """What looks for the records of the settings' match files; None if there is none. Raises ConfigError."""
    return Matcher(opened(settings)) if settings.match else None


def opened(settings: Settings) -> list[MatchFile]:
    """The settings' match files, each whole and under a key of ours. Raises ConfigError."""
    known = keys(settings)
    files = [read(path, known) for path in settings.match]
    names = [f.header.name for f in files]
    if len(set(names)) < len(names):
        raise ConfigError("two match files have one name: build one of them with another --name")
    return files


def keys(settings: Settings, path: Path | None = None) -> list[MatchKey]:
    """Keys that a file may have been built under, the one to build with first: of the key file ``path``, else of
    ``match_key``, else of the installation. Raises ConfigError."""
    path = path or settings.match_key
    if path is not None:
        material = read_keys(path)[::-1]
    else:
        material = Keyring.open(settings.data / "keys").match(settings.tenant)
    return [MatchKey(m) for m in material]
