"""Linking: which names of a call are shorter forms of which other ones.

Owns nothing but the comparison of words. Never guesses: a form that fits several people is linked to none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NAME_WORD = re.compile(r"[^\W\d_]+")


def linked(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` is a shorter form of which other one: ``Jane`` and ``J. Doe`` of ``Jane Doe``.

    A form that fits several people (``Doe`` of Jane and of John) is linked to none of them.
    """
    words = {name: tuple(_NAME_WORD.findall(name.casefold())) for name in names}
    holders: dict[str, list[str]] = {}
    for name, parts in words.items():
        if len(parts) > 1:
            for key in {part for word in parts for part in (word, word[0])}:
                holders.setdefault(key, []).append(name)
    links = {}
    for name, parts in words.items():
        fits = [w for w in holders.get(parts[-1], ()) if is_form(parts, words[w])] if parts else []
        whole = [w for w in fits if not any(w != x and is_form(words[w], words[x]) for x in fits)]
        if len({words[w] for w in whole}) == 1 and words[whole[0]] != parts:
            links[name] = min(whole)
    return links


def is_form(parts: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether every word of ``parts`` stands for one of ``whole``, in order; an initial stands for its word."""
    if len(parts) > len(whole) or all(len(part) == 1 for part in parts):
        return False
    rest = iter(whole)
    return all(any(word == part or (len(part) == 1 and word[0] == part) for word in rest) for part in parts)
