"""The reviewer's sheet: everything that decides is on it, in one reading, whatever others wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.cli.screen import visible
from llmguard.cli.sheet import compared, sheet
from llmguard.errors import Conflict
from tests.cli.samples import AT, answered

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def lines(approval: dict[str, Any]) -> list[str]:
    made = sheet(approval, AT)
    return [line.plain for line in (*made.facts, *made.content)]


def asked(**parts: Any) -> list[str]:
    return lines(answered(body=json.dumps({"action": "db.export", **parts}).encode(), subject="action"))


def test_who_what_where_and_why_are_on_it() -> None:
    shown = "\n".join(lines(answered()))
    for words in (
        "ann@example.com (bot)",
        "excluded  dee@example.com",
        "1 of legal (1 missing) and 2 of reviewers (1 missing)",
        "a login of the last 5 min",
        "heads may stand in, in 20 min",
        "one of oncall: llmguard approvals break-glass",
        "image",
        "+40.5  why",
        "in place of 01M80M8ZG5ZJ3X8Q4T6V7W9XXX",
        "changes against revision 1",
        "cy@example.com approve at",
        "may grant, revoke, vote",
        "(in 14 min)",
    ):
        assert words in shown


def test_a_risk_is_a_bar() -> None:
    shown = lines(answered())
    assert f"{'':>13}{'█' * 16}{'░' * 4} written" in shown


def test_a_command_is_shown_as_one_types_it() -> None:
    shown = asked(
        function="llmguard.cli.run",
        arguments={"command": ["psql", "-c", "drop table x"], "folder": "/srv", "limit": 10},
        description="Moves the orders",
        evidence={"files": [{"path": "a.sql", "sha256": "00"}, {"path": "b.sql", "sha256": "11"}]},
    )
    assert "  arguments  command $ psql -c 'drop table x'" in shown
    assert '             folder = "/srv"' in shown
    assert "             limit = 10" in shown
    assert 'description  "Moves the orders"' in shown


def test_evidence_in_rows_is_a_table_and_a_text_of_lines_has_a_bar() -> None:
    shown = asked(
        arguments={"sql": "select 1\nfrom x"}, evidence=[{"table": "a", "rows": 1}, {"table": "bb", "rows": 2}]
    )
    assert "                 │ select 1" in shown
    at = shown.index('   evidence  "table"  "rows"')
    assert shown[at + 1 : at + 3] == ['             "a"      1', '             "bb"     2']


def test_a_part_that_no_action_has_is_shown_too() -> None:
    assert '       also  "a b" = 1' in asked(arguments={}, **{"a b": 1})


@pytest.mark.parametrize(
    "body", [b'{"action": "x", "arguments": {}, "arguments": {"a": 1}}', b"[1]", b"no json", b'{"arguments": 1}']
)
def test_an_action_that_can_be_read_in_two_ways_is_shown_as_it_is(body: bytes) -> None:
    assert body.decode() in "".join(lines(answered(body=body, subject="action"))).replace("[  1]", "[1]").replace(
        '{  "arguments": 1}', '{"arguments": 1}'
    )


def test_rules_that_are_proposed_are_on_lines_of_their_own() -> None:
    source = json.dumps([{"name": "all", "verdict": "block"}])
    body = json.dumps({"change": "policy", "source": source}).encode()
    assert '    "verdict": "block"' in lines(answered(body=body, subject="change"))


def test_what_is_not_what_is_asked_about_is_not_shown() -> None:
    other = answered(2, body=b"{}")
    for wrong in ({"digest": "0" * 64}, {"egress": other["egress"]}):
        with pytest.raises(Conflict):
            sheet(answered(**wrong), AT)
    quiet = answered()
    quiet["egress"]["body"]["text"] += " "
    with pytest.raises(Conflict):
        sheet(quiet, AT)


def test_a_proposal_is_compared_member_by_member() -> None:
    changed = [line.plain for line in compared('{"n": 1, "m": 2}', '{ "n": 1,\n"m": 3 }')]
    assert [line for line in changed[2:] if line[0] in "+-"] == ['-  "m": 2', '+  "m": 3']


@given(st.text(max_size=40), st.binary(max_size=60))
def test_no_text_of_others_leaves_its_line_or_steers(text: str, body: bytes) -> None:
    body = (text + body.decode(errors="replace")).encode(errors="replace")
    text = text.encode(errors="replace").decode()
    for line in lines(answered(body=body, text=text)):
        assert line.replace("\t", "").isprintable()
        assert visible(line, lines=True) == line


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=4), JSON)
def test_nothing_of_an_action_is_hidden_and_nothing_steers(arguments: dict[str, Any], evidence: Any) -> None:
    for shown in (asked(arguments=arguments, evidence=evidence),):
        assert all(line.isprintable() for line in shown)
        everything = "\n".join(shown)
        for name in arguments:
            assert visible(name if name.isidentifier() else json.dumps(name, ensure_ascii=False)) in everything
