"""Binding: an action as canonical JSON, which is what people see, what a repeated call joins by and what is compared
again right before the execution.

It owns the form and its limits. Never a decision. Invariant: the same arguments, however passed, give the same bytes;
what cannot be written down is refused before anything is held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmguard.actions import values
from llmguard.errors import ConfigError

MAX_ARGUMENTS = 1 << 20
"""Bytes of arguments as JSON. Pass the path of what is larger, and its digest as evidence."""
MAX_EVIDENCE = 256 << 10
"""Bytes of evidence as JSON: what people are to read."""
MAX_DESCRIPTION = 2000
"""Characters of a description."""


@dataclass(frozen=True, slots=True)
class Written:
    """An action written down: ``parts`` are arguments, description, evidence and what they belong to."""

    parts: Mapping[str, Any] = field(repr=False)
    body: bytes = field(repr=False)

    def differs(self, other: Written) -> tuple[str, ...]:
        """Which parts are not the same, in words."""
        names = sorted({*self.parts, *other.parts})
        return tuple(n for n in names if encoded(self.parts.get(n)) != encoded(other.parts.get(n)))

    def argument(self, name: str) -> Any:
        """An argument as it was passed. Raises ConfigError if it was not written down whole."""
        try:
            return values.rebuilt(self.parts["arguments"][name], self.parts.get("types", {}).get(name, ""))
        except (KeyError, ValueError):
            raise ConfigError(
                f"the argument {name!r} was not written down whole, so it cannot be made again:"
                " call the action itself with the same arguments; it joins the same approval"
            ) from None


def write(
    name: str, arguments: Mapping[str, Any], *, of: Mapping[str, str], description: str = "", evidence: Any = None
) -> Written:
    """``of`` says whose arguments they are (``function``, ``on``). Raises ConfigError."""
    parts: dict[str, Any] = {"action": name, **of, "arguments": _arguments(name, arguments)}
    if kinds := {n: kind for n, v in arguments.items() if (kind := values.kind(v))}:
        parts["types"] = kinds
    if description:
        parts["description"] = _description(name, description)
    if evidence is not None:
        parts["evidence"] = _evidence(name, evidence)
    return Written(parts, encoded(parts))


def read(body: bytes) -> Written:
    """What was written, from its bytes."""
    return Written(json.loads(body), body)


def encoded(value: Any) -> bytes:
    """Canonical JSON (RFC 8785). Raises TypeError or ValueError for what has none."""
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as e:
        raise ValueError(str(type(e).__name__)) from None


def _arguments(name: str, arguments: Mapping[str, Any]) -> Any:
    hint = "pass text, numbers, lists, dicts, paths, dates or bytes"
    found = _bounded(name, "arguments", dict(arguments), MAX_ARGUMENTS, hint)
    return found


def _evidence(name: str, evidence: Any) -> Any:
    return _bounded(name, "evidence", evidence, MAX_EVIDENCE, "give text, numbers, lists or dicts")


def _bounded(name: str, part: str, value: Any, limit: int, hint: str) -> Any:
    try:
        plain = values.plain(value)
        size = len(encoded(plain))
    except (TypeError, ValueError, RecursionError) as e:
        raise ConfigError(
            f"the {part} of the action {name!r} cannot be shown to a reviewer ({type(e).__name__}): {hint}"
        ) from None
    if size > limit:
        raise ConfigError(
            f"the {part} of the action {name!r} are {size} bytes, more than the {limit} that people could read:"
            " give a count, a digest or the beginning"
        )
    return plain


def _description(name: str, text: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_DESCRIPTION:
        raise ConfigError(f"the description of the action {name!r} must be text of up to {MAX_DESCRIPTION} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the description of the action {name!r} is not text that can be shown") from None
    return text
