"""docs/risk.md shows the weights that ship, with their sources, and the rubric that the benchmark judges by."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import rubric
from llmguard.risk import TERMS, weights
from llmguard.risk.weights import sources

PAGE = Path(__file__).parents[2] / "docs" / "risk.md"
TEXT = PAGE.read_text(encoding="utf-8")


def weights_table() -> str:
    return "\n".join(["| weight | shipped | source |", "|---|---|---|", *_rows()])


def _rows() -> Iterator[str]:
    shipped, told = weights(), sources()
    yield f"| `scale` | {shipped.scale:g} | {told['scale']} |"
    for table in ("severity", "trust", "use", "left"):
        figures = ", ".join(f"{name} {value:g}" for name, value in getattr(shipped, table).items())
        yield f"| `{table}` | {figures} | {told[table]} |"
    for name, value in shipped.terms.items():
        yield f"| `terms.{name}` | {value:g} | {told[name]} |"
    by_bits: dict[float, list[str]] = {}
    for type_, value in shipped.bits.items():
        by_bits.setdefault(value, []).append(f"`{type_}`")
    figures = "; ".join(f"{value:g}: {', '.join(types)}" for value, types in sorted(by_bits.items()))
    yield f"| `bits` | {figures} | {told['bits']} |"


@pytest.mark.parametrize(
    ("name", "made"), [("weights", weights_table()), ("rubric", rubric.table())], ids=["weights", "rubric"]
)
def test_tables_of_the_page_are_what_the_code_says(name: str, made: str) -> None:
    """``UPDATE_DOCS=1 pytest tests/risk/test_page.py`` writes them anew."""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    wanted = f"\n{made}\n\n"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(between.sub(lambda _: wanted, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    [shown] = between.findall(PAGE.read_text(encoding="utf-8"))
    assert shown == wanted


def test_every_term_is_explained() -> None:
    for term in (*TERMS, "where", "use"):
        assert f"\n| `{term}` | " in TEXT, term


def test_the_override_on_the_page_is_one() -> None:
    [block] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    changed = weights(tomllib.loads(block)["weights"])
    assert (changed.severity["medium"], changed.bits["EMPLOYEE_ID"]) == (12.0, 33.0)
