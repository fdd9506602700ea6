"""Peers: what the installed Presidio and detect-secrets look for, as data.

Owns: reading their expressions, flags, scores and context words. Never does: copying them by hand, or running inside
the guard: it stubs half of Presidio in ``sys.modules`` (its own ``__init__`` imports spaCy and costs 3 s), so it is run
as ``python -m llmguard.catalogue.peers``, which prints JSON.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PRESIDIO = "presidio-analyzer"
SECRETS = "detect-secrets"
_ROOT = "presidio_analyzer"
_KINDS = ("analysis_explanation", "recognizer_result", "entity_recognizer", "local_recognizer", "pattern")


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of a peer. ``flags`` are those of ``re``, ``score`` is from 0 to 1 (1: none is given)."""

    name: str
    regex: str
    flags: int
    score: float


@dataclass(frozen=True, slots=True)
class Source:
    """One recognizer or plugin. ``validates`` says whether it checks what it matched, which may raise a score to 1."""

    name: str
    types: tuple[str, ...]
    language: str
    context: tuple[str, ...]
    validates: bool
    expressions: tuple[Expression, ...]


def versions() -> dict[str, str]:
    """Package → installed version."""
    return {name: version(name) for name in (PRESIDIO, SECRETS)}


def recognizers() -> Iterator[Any]:
    """An instance of every pattern recognizer of Presidio, of every country, those too that it does not load itself.

    Replaces ``presidio_analyzer`` in ``sys.modules`` by a stub: only for a process of its own.
    """
    root = _folder(_ROOT)
    package = _package(_ROOT, root)
    engine = types.ModuleType(f"{_ROOT}.nlp_engine")
    engine.NlpArtifacts = type("NlpArtifacts", (), {})  # type: ignore[attr-defined]
    sys.modules[engine.__name__] = engine
    for name in (*_KINDS, "pattern_recognizer"):
        _take(package, import_module(f"{_ROOT}.{name}"))
    base: Any = package
    for module in _modules(root / "predefined_recognizers"):
        for kind in _classes(module):
            if issubclass(kind, base.PatternRecognizer) and not inspect.isabstract(kind):
                yield kind()


def presidio() -> Iterator[Source]:
    for made in recognizers():
        checks = any(m in vars(type(made)) for m in ("validate_result", "invalidate_result"))
        yield Source(
            type(made).__name__,
            tuple(made.supported_entities),
            made.supported_language,
            tuple(made.context or ()),
            checks,
            tuple(Expression(p.name, p.regex, int(made.global_regex_flags), p.score) for p in made.patterns),
        )


def detect_secrets() -> Iterator[Source]:
    """Every plugin; those that bring no expressions (keyword tables, entropy) have none here either."""
    util = import_module("detect_secrets.core.plugins.util")
    for kind, plugin in sorted(util.get_mapping_from_secret_type_to_class().items()):
        listed = getattr(plugin, "denylist", ()) if "denylist" in dir(plugin) else ()
        listed = () if inspect.isabstract(plugin) or not isinstance(listed, tuple | list) else listed
        found = [Expression(str(i), e.pattern, e.flags, 1.0) for i, e in enumerate(listed, 1)]
        yield Source(plugin.__name__, (kind,), "", (), False, tuple(found))


def _modules(folder: Path) -> Iterator[types.ModuleType]:
    """Every module below the two folders that hold recognizers of patterns."""
    base = f"{_ROOT}.{folder.name}"
    _package(base, folder)
    _package(f"{base}.country_specific", folder / "country_specific")
    countries = sorted(p for p in (folder / "country_specific").iterdir() if (p / "__init__.py").exists())
    for part in (folder / "generic", *countries):
        inner = part.relative_to(folder)
        name = ".".join((base, *inner.parts))
        _package(name, part)
        for path in sorted(part.glob("*.py")):
            if path.stem != "__init__":
                yield import_module(f"{name}.{path.stem}")


def _classes(module: types.ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield value


def _take(package: types.ModuleType, module: types.ModuleType) -> None:
    for kind in _classes(module):
        setattr(package, kind.__name__, kind)


def _package(name: str, folder: Path) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__path__ = [str(folder)]
    sys.modules[name] = made
    return made


def _folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed")
    return Path(spec.submodule_search_locations[0])


def extract() -> Mapping[str, Any]:
    """Versions and sources of both, as JSON has them."""
    both = {PRESIDIO: presidio, SECRETS: detect_secrets}
    return {"versions": versions(), "sources": {name: [asdict(s) for s in read()] for name, read in both.items()}}


if __name__ == "__main__":
    json.dump(extract(), sys.stdout)
