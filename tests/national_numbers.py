"""Numbers that a check of the table accepts, drawn from a seed at test time: none is committed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from llmguard.validators.national.table import by_shape, check_of

TRIES = 6_000
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BORN = ("%y%m%d", "%d%m%y", "%Y%m%d", "1%y%m%d", "2%y%m%d", "1%d%m%y", "3%y%m%d")
"""Where a birthday may stand at the start: without one, most draws of such numbers are wrong."""


def drawn(shape: str, rng: random.Random) -> str:
    """A random value of a shape, half of them with a birthday in front where there is room."""
    value = "".join(
        rng.choice("0123456789" if kind == "d" else _LETTERS)
        for kind, count in re.findall(r"([ad])(\d+)", shape)
        for _ in range(int(count))
    )
    form = rng.choice(_BORN)
    born = f"{rng.randrange(1, 29):02}", f"{rng.randrange(1, 13):02}", f"{rng.randrange(30, 99):02}"
    front = form.replace("%Y", "19%y").replace("%d", born[0]).replace("%m", born[1]).replace("%y", born[2])
    if rng.random() < 0.5 and value[: len(front)].isdigit() and len(front) < len(value):
        return front + value[len(front) :]
    return value


def numbers(seed: int = 7) -> Iterator[tuple[str, str, str]]:
    """Country, check and a value that it accepts, for every check of the table whose values can be drawn."""
    rng = random.Random(seed)
    for shape, candidates in by_shape():
        for country, name in candidates:
            if name in ("~", "-"):
                continue
            check = check_of(name)
            value = next((v for v in (drawn(shape, rng) for _ in range(TRIES)) if check(v)), None)
            if value is not None:
                yield country, name, value
