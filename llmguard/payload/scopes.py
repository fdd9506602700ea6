"""Scopes: under which names what was redacted can be restored, of a request, its answer and what the answer tells of.

Owns how the rows of the operations table (``grant_reads``, ``grant_writes``, ``grant_links``) are read. Pure functions;
what is no string, or not where a row says, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmguard.model import Operation, Produced
from llmguard.payload.json import Document
from llmguard.payload.operations import Params

FILED = frozenset(("file", "upload", "batch", "eval", "eval_run", "container", "vector_store"))
"""Scopes that may hold more placeholders than fit into memory: they are looked up as they occur."""
MANY = 1000
"""Objects of one answer that count."""


def references(operation: Operation, document: Document | None, params: Params = ()) -> tuple[str, ...]:
    """The scopes whose placeholders the answer may restore: ``response:resp_1``. What is no string is left out."""
    return tuple(_scopes(operation.grant_reads, document.value if document else None, params))


def written(operation: Operation, answer: Any, params: Params = ()) -> tuple[str, ...]:
    """The scopes under which what was sent can be restored later, from the parsed answer and the path."""
    return tuple(_scopes(operation.grant_writes, answer, params))


def filed(operation: Operation) -> bool:
    """Whether what its answer may restore is looked up as it occurs, and handed on by links."""
    return bool(operation.grant_links) or any(scope in FILED for scope, _ in operation.grant_reads)


def belonging(operation: Operation, answer: Any = None, params: Params = ()) -> tuple[str, ...]:
    """The scopes of what a ``filed`` operation gives back: of its path, and of every object of its parsed answer."""
    found = dict.fromkeys(_scopes([row for row in operation.grant_reads if row[1].startswith("path:")], None, params))
    rows = [(scope, s.removeprefix("answer:")) for scope, s in operation.grant_reads if s.startswith("answer:")]
    for value in _objects(answer) if rows else ():
        found |= dict.fromkeys(_scopes(rows, value, ()))
    return tuple(found)


def produced(operation: Operation, answer: Any) -> tuple[Produced, ...]:
    """What was made, and from what, as a parsed answer tells."""
    return tuple(
        Produced(id_, kind, tuple(source for pointer in of for source in _named(answer, pointer)))
        for kind, at, of in operation.produces
        for id_ in _named(answer, at)
    )


def learnt_from(operation: Operation, body: Any) -> tuple[str, ...]:
    """The files that a model is to learn from, as a parsed body names them."""
    return tuple(id_ for pointer in operation.trains_on for id_ in _named(body, pointer))


def _named(value: Any, pointer: str) -> Iterator[str]:
    return (found for found in _pointed(value, pointer.split("/")[1:]) if type(found) is str and found)


def linked(
    operation: Operation, answer: Any, params: Params = (), sent: Any = None, calls: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Pairs of scopes: what is granted under the second is granted under the first too, by the parsed answer, the path
    and the parsed body that was ``sent``. ``calls`` are the scopes of what was sent.
    """
    pairs: dict[tuple[str, str], None] = {}
    for value in _objects(answer) if operation.grant_links else ():
        for new, old in operation.grant_links:
            of = calls if old == "call" else _scopes([_row(old)], sent if ":body:" in old else value, params)
            made = [*_scopes([_row(new)], value, params)]
            pairs |= {(scope, o): None for o in of for scope in made if scope != o}
    return tuple(pairs)


def _objects(answer: Any) -> Iterator[Any]:
    """An object, or those of a list."""
    data = answer.get("data") if type(answer) is dict else None
    yield from data[:MANY] if type(data) is list else (answer,)


def _row(end: str) -> tuple[str, str]:
    scope, _, source = end.partition(":")
    return scope, source


def _scopes(rows: Iterable[tuple[str, str]], value: Any, params: Params) -> Iterator[str]:
    for scope, source in rows:
        kind, _, name = source.rpartition(":")
        for found in (dict(params).get(name),) if kind == "path" else _pointed(value, name.split("/")[1:]):
            if type(found) is str and found:
                yield f"{scope}:{found}"


def _pointed(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    """What stands at a pointer; ``*`` stands for every element of a list."""
    if not keys:
        yield value
    elif keys[0] == "*":
        for child in value[:MANY] if type(value) is list else ():
            yield from _pointed(child, keys[1:])
    elif type(value) is dict:
        yield from _pointed(value.get(keys[0]), keys[1:])
