"""The page of threats names every abuse that must fail, and only tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threats.md").read_text()
ROWS = [row for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)[1:] if not row.startswith("-")]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
MUST_FAIL = """
own key, own agent, second account, second group, lends the vote, look-alike, admin, machine votes, unaccountable,
body, query, model, host, account, file changed, policy, joins A's, threads and processes, approve against deny, expiry,
clock, removed, delegation ends, standing grant is revoked, identity provider is down, `alg=none`, HS256, `aud`, `iss`,
`azp`, ID token, `kid`, `jku`, replayed vote, digest that was not shown, another tenant, GET that decides, CSRF, floods,
made alone, trade favours, crash at every step, locked or full
"""


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, kinds) and n.name.startswith("test_"))


@pytest.mark.parametrize("abuse", [a.strip() for a in MUST_FAIL.replace("\n", " ").split(",")])
def test_every_abuse_is_on_the_page(abuse: str) -> None:
    assert any(abuse in row.split(" | ")[0] for row in ROWS)


def test_every_row_says_why_it_fails_and_names_a_test() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        abuse, why, tests = row.split(" | ")
        assert abuse
        assert why
        assert "::test_" in tests, abuse


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda x: x)
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in names_in(file)


def test_the_page_says_what_is_not_covered() -> None:
    rest = PAGE.partition("## What this does not cover")[2]
    for word in ("owner of the guard's host", "delete rows", "conspire", "two mailboxes", "many keys"):
        assert word in rest
