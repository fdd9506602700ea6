"""The words and ranges of ``words.toml``, read once a process."""

from __future__ import annotations

import importlib.resources
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Script:
    """Given and family names of one script; single characters where names stand without blanks."""

    given: tuple[str, ...]
    family: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that is drawn from. ``kept`` and ``endings``: what says which kind of street it is, case-folded;
    ``says``: the same in scripts without blanks, whose ``characters`` places are made of.
    """

    names: dict[str, Script]
    places: tuple[str, ...]
    towns: tuple[str, ...]
    states: tuple[str, ...]
    kept: frozenset[str]
    endings: tuple[str, ...]
    says: frozenset[str]
    characters: dict[str, str]
    phones: dict[str, tuple[str, ...]]


@cache
def words() -> Words:
    """The shipped ones (1 ms)."""
    text = importlib.resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    places = {name: tuple(value.split()) for name, value in data["places"].items()}
    return Words(
        names={script: Script(_split(n["given"]), _split(n["family"])) for script, n in data["names"].items()},
        places=places["words"],
        towns=places["towns"],
        states=places["states"],
        kept=frozenset(places["kept"]),
        endings=tuple(sorted(places["endings"], key=len, reverse=True)),
        says=frozenset("".join(places["says"])),
        characters=data["characters"],
        phones={code: tuple(ranges) for code, ranges in data["phones"].items()},
    )


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split()) if " " in names else tuple(names)
