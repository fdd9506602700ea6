"""The policy's pages: what is in force, and the way of a draft to the approval that somebody else decides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

import pytest

from llmguard.approvals import rules
from llmguard.inbox.policy import differences, in_words, written
from llmguard.policy import Policy, shipped
from tests.desks import BO, CY, TENANT, Desk
from tests.inbox.chromium import NARROW, Window
from tests.inbox.site import Site, Visitor
from tests.kept import CARD, EMAIL, HOLD_CARDS, facts, keep

RULES = list(shipped()["rules"])
TRIED = {"name": "<i>tried</i>", "when": "true", "verdict": "block", "shadow": True}
DRAFT = written({"rules": [HOLD_CARDS, *RULES]})


@pytest.fixture
def in_force(desk: Desk) -> Policy:
    """The shipped rules with one in shadow mode; the configuration has the shipped ones."""
    policy = Policy([TRIED, *RULES])
    desk.store.transact(lambda tx: rules.adopt(tx, desk.vault, TENANT, policy))
    for found in (CARD, CARD, EMAIL):
        keep(desk, facts(found, at=desk.now - 1000), policy)
    return policy


def test_rules_are_told_in_words_and_as_source_with_their_counts(site: Site, in_force: Policy, bo: Visitor) -> None:
    page = bo.get("/inbox/policy").text
    assert "&lt;i&gt;tried&lt;/i&gt;" in page
    assert "would have 3 times" in page
    assert "Held for people" in page
    assert "call.kind == &#34;action&#34;" in page
    assert in_force.version[:12] in page
    assert "The configuration has another policy" in page


def test_the_pending_policy_of_the_configuration_is_compared_and_its_tests_are_run(
    in_force: Policy, bo: Visitor
) -> None:
    page = bo.get("/inbox/policy/configuration").text
    assert "It can be used" in page
    assert re.search(r'class="minus">- name = &#34;&lt;i&gt;tried', page)
    assert "Of 3 kept calls" in page
    assert re.search(r"(\d+) of \1 pass", page)


def test_a_draft_is_checked_compared_replayed_and_proposed(site: Site, in_force: Policy, bo: Visitor) -> None:
    looked = bo.post("/inbox/policy/draft", "/inbox/policy", source=DRAFT).text
    assert re.search(r"<strong>2</strong>\s*newly held", looked)
    assert 'class="plus">+ name = &#34;cards&#34;' in looked
    assert site.desk.store.read(lambda tx: rules.current(tx, TENANT)) == in_force.version
    sent = bo.post("/inbox/policy/propose", "/inbox/policy", source=DRAFT, once="a" * 16)
    again = bo.post("/inbox/policy/propose", "/inbox/policy", source=DRAFT, once="a" * 16)
    assert sent.headers["location"] == again.headers["location"]
    assert re.fullmatch(r"/inbox/approvals/[0-9A-Z]{26}", sent.headers["location"])
    assert site.desk.store.read(lambda tx: rules.current(tx, TENANT)) == in_force.version
    approval = site.desk.store.read(
        lambda tx: site.desk.approvals.get(tx, TENANT, sent.headers["location"].rpartition("/")[2])
    )
    site.desk.vote(approval, CY)
    page = bo.get("/inbox/policy").text
    assert Policy([HOLD_CARDS, *RULES]).version[:12] in page
    former = bo.get(f"/inbox/policy/versions/{in_force.version}").text
    assert "What was changed since" in former
    assert "&lt;i&gt;tried" in former


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "It cannot be used"),
        ("[[rules", "cannot be read"),
        ('[[rules]]\nname="a"\nwhen="f.typ"\nverdict="allow"', "It cannot be used"),
        ('[[rules]]\nname="<b>x</b>"\nwhen="call.kind == \'inferense\'"\nverdict="block"', "inference"),
        ("x = 1", "no &#39;x&#39;"),
    ],
)
def test_what_is_wrong_with_a_draft_is_said_and_the_text_stays(
    in_force: Policy, bo: Visitor, source: str, words: str
) -> None:
    page = bo.post("/inbox/policy/draft", "/inbox/policy", source=source).text
    assert words in page
    assert "<b>x</b>" not in page
    if "It cannot be used" in page:
        assert "Propose this policy" not in page
        refused = bo.post("/inbox/policy/propose", "/inbox/policy", source=source or "[[")
        assert refused.status_code == 400


def test_failing_tests_of_a_draft_are_shown_with_what_was_decided(in_force: Policy, bo: Visitor) -> None:
    wrong = '\n[[tests]]\nname = "a call is blocked"\nexpect = "block"\n'
    page = bo.post("/inbox/policy/draft", "/inbox/policy", source=DRAFT + wrong).text
    assert "0 of 1 test pass" in page
    assert "a call is blocked: expected block, decided redact" in page


def test_only_people_of_a_group_try_drafts(site: Site, in_force: Policy) -> None:
    site.desk.put("eve@example.com")
    eve = site.browser("eve@example.com")
    assert "Rules in force" in eve.get("/inbox/policy").text
    answer = eve.post("/inbox/policy/draft", "/inbox/policy", source=DRAFT)
    assert answer.status_code == 403
    assert "people of a group" in answer.text
    eve.close()


def test_a_version_that_never_was_in_force_is_not_found(in_force: Policy, bo: Visitor) -> None:
    for version in ("0" * 64, "x", "f" * 500):
        assert bo.get(f"/inbox/policy/versions/{version}").status_code == 404


def test_a_policy_is_written_so_that_it_reads_back_the_same() -> None:
    document = {
        "mode": "shadow",
        "rules": [{**HOLD_CARDS, "reason": "\"'\\ \u007f\u202e ü 😀\n"}, TRIED],
        "styles": {"EMAIL": "mask"},
        "weights": {"scale": 50.0, "severity": {"high": 25.5}},
    }
    assert tomllib.loads(written(document)) == document
    assert Policy.of(tomllib.loads(written(document))).version == Policy.of(document).version


def test_requirements_are_told_in_words() -> None:
    rule = {
        "name": "r",
        "verdict": "require_approval",
        "groups": {"a": 1, "b": 2},
        "expires_in": 7200,
        "hold": "ticket",
    }
    assert in_words(rule)["needs"] == ["needs 1 of a, 2 of b", "expires in 2 h", "the caller gets a ticket"]


def test_differences_name_what_comes_and_what_goes() -> None:
    assert differences("a\nb", "a\nc")[1:] == [(" ", "a"), ("-", "b"), ("+", "c")]
    assert differences("a", "a") == []


def test_it_is_without_barriers(in_force: Policy, window: Callable[..., Window]) -> None:
    seen = window(BO)
    for path in ("/inbox/policy", "/inbox/policy/configuration", f"/inbox/policy/versions/{in_force.version}"):
        seen.open(path)
        assert seen.axe() == [], path
    small = window(BO, viewport=NARROW, color_scheme="dark")
    for path in ("/inbox/policy", "/inbox/policy/configuration"):
        small.open(path)
        assert not small.too_wide(), path
