"""Rule: one row of a policy. When it holds, its verdict decides, and whom an approval needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from llmguard.errors import ConfigError
from llmguard.model import Requirement, Verdict
from llmguard.policy.advice import near
from llmguard.policy.conditions import Condition

_TIMES = {"expires_in": (60, 7 * 86400), "spend_in": (10, 7 * 86400), "fresh": (30, 86400)}
"""Seconds that a rule may name, least and most."""
_LATER = {"remind_after": (60, 7 * 86400), "escalate_after": (60, 7 * 86400)}
_GROUPS = ("escalate_to", "break_glass")
_WORDS = {"hold": ("wait", "ticket")}
_FLAGS = ("shadow", "justification")
KEYS = frozenset(
    {"name", "when", "verdict", "reason", "quorum", "group", "groups", *_TIMES, *_LATER, *_GROUPS, *_WORDS, *_FLAGS}
)
MOST = 20
"""People that a rule may want."""
LONGEST = 200
"""Characters of a name and of a reason."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``shadow``: it is tried and counted, and never decides."""

    name: str
    when: str
    verdict: Verdict
    reason: str
    requirement: Requirement
    condition: Condition
    shadow: bool = False

    @classmethod
    def of(cls, index: int, raw: Mapping[str, Any]) -> Rule:
        """The rule at ``index`` (from 0) of a document. Raises ConfigError."""
        name = raw.get("name") or f"rule {index + 1}"
        if not isinstance(name, str) or not isinstance(raw.get("reason", name), str):
            raise ConfigError(f"policy rule {index + 1}: name and reason are text")
        if max(len(name), len(raw.get("reason", name))) > LONGEST:
            raise ConfigError(f"policy rule {index + 1}: name and reason have at most {LONGEST} characters")
        if unknown := sorted(set(raw) - KEYS):
            meant = near(unknown[0], KEYS)
            hint = f"did you mean {meant!r}?" if meant else f"keys are {', '.join(sorted(KEYS))}"
            raise ConfigError(f"policy rule {name!r}: no key {unknown[0]!r}; {hint}")
        if raw.get("verdict") not in get_args(Verdict):
            meant = near(str(raw.get("verdict", "")), get_args(Verdict))
            hint = f"; did you mean {meant!r}?" if meant else ""
            raise ConfigError(f"policy rule {name!r}: verdict is one of {', '.join(get_args(Verdict))}{hint}")
        for flag in _FLAGS:
            if not isinstance(raw.get(flag, False), bool):
                raise ConfigError(f"policy rule {name!r}: {flag} is true or false")
        when = raw.get("when", "true")
        condition = Condition(name, when)
        reason = raw.get("reason", name)
        return cls(name, when, raw["verdict"], reason, _requirement(name, raw), condition, raw.get("shadow", False))


def _requirement(name: str, raw: Mapping[str, Any]) -> Requirement:
    more: dict[str, Any] = {key: raw[key] for key in (*_TIMES, *_LATER) if key in raw}
    for key, value in more.items():
        least, most = {**_TIMES, **_LATER}[key]
        if type(value) is not int or not least <= value <= most:
            raise ConfigError(f"policy rule {name!r}: {key} is {least} to {most} seconds")
    for key, words in _WORDS.items():
        if key in raw and raw[key] not in words:
            raise ConfigError(f"policy rule {name!r}: {key} is one of {', '.join(words)}")
    more |= {key: raw[key] for key in _WORDS if key in raw}
    more |= {key: _group(name, key, raw[key]) for key in _GROUPS if key in raw}
    if ("escalate_to" in raw) != ("escalate_after" in raw):
        raise ConfigError(f"policy rule {name!r}: escalate_after and escalate_to go together")
    return Requirement(_wanted(name, raw), justified=raw.get("justification", False), **more)


def _wanted(name: str, raw: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """How many of which groups: ``groups = { reviewers = 1, legal = 1 }``, or ``group`` and ``quorum`` for one."""
    if "groups" in raw and ("group" in raw or "quorum" in raw):
        raise ConfigError(f"policy rule {name!r}: groups says it all; group and quorum are for one group")
    wanted = raw.get("groups", {raw.get("group", "reviewers"): raw.get("quorum", 1)})
    if not isinstance(wanted, Mapping) or not wanted:
        raise ConfigError(f"policy rule {name!r}: groups names groups and how many people of each")
    for group, count in wanted.items():
        _group(name, "group", group)
        if type(count) is not int or not 1 <= count <= MOST:
            raise ConfigError(f"policy rule {name!r}: quorum is a number of people, 1 to {MOST}")
    if sum(wanted.values()) > MOST:
        raise ConfigError(f"policy rule {name!r}: quorum is a number of people, 1 to {MOST} in all")
    return tuple(wanted.items())


def _group(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"policy rule {name!r}: {key} is the name of a group of people")
    return value
