"""People and keys: what is asked for waits for somebody else, and a secret is shown once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from llmguard import identity
from llmguard.identity import Person
from tests.desks import BO, CY, DEE, TENANT
from tests.inbox.chromium import NARROW, Window
from tests.inbox.site import Site, Visitor

PAGE = "/inbox/people"
ASKED = re.compile(r"/inbox/people\?view=\w+&asked=([0-9A-Z]{26})")
DAY = 86_400_000


def person(site: Site, email: str) -> Person | None:
    return site.desk.store.read(lambda tx: identity.person(tx, site.desk.vault, TENANT, email))


def decided(site: Site, bo: Visitor, location: str) -> None:
    """The page says where it waits; Cy approves it."""
    asked = ASKED.fullmatch(location)
    assert asked
    page = bo.get(location).text
    assert "waits for somebody else" in page
    assert f"/inbox/approvals/{asked[1]}" in page
    approval = site.desk.store.read(lambda tx: site.desk.approvals.get(tx, TENANT, asked[1]))
    site.desk.vote(approval, CY)


def test_somebody_is_added_when_somebody_else_approves(site: Site, bo: Visitor) -> None:
    answer = bo.post(f"{PAGE}/put", PAGE, email="New@Example.com", groups="reviewers, legal", once="a" * 16)
    assert person(site, "new@example.com") is None
    decided(site, bo, answer.headers["location"])
    new = person(site, "new@example.com")
    assert new is not None
    assert set(new.groups) == {"reviewers", "legal"}
    assert "new@example.com" in bo.get(PAGE).text


def test_groups_change_and_people_are_deactivated_by_approval_oneself_at_once(site: Site, bo: Visitor) -> None:
    decided(site, bo, bo.post(f"{PAGE}/put", PAGE, email=DEE, groups="legal").headers["location"])
    assert person(site, DEE).groups == ("legal",)  # type: ignore[union-attr]
    decided(site, bo, bo.post(f"{PAGE}/of/{DEE}/deactivate", PAGE).headers["location"])
    assert person(site, DEE).active is False  # type: ignore[union-attr]
    assert bo.post(f"{PAGE}/of/{BO}/deactivate", PAGE).headers["location"].endswith("done=1")
    assert bo.get(PAGE).status_code == 303


def test_the_secret_of_a_key_is_in_one_answer_alone(site: Site, bo: Visitor) -> None:
    answer = bo.post(
        f"{PAGE}/keys", f"{PAGE}?view=keys", name="laptop", human=BO, scopes="inference, chat.*", days="30"
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    [token] = set(re.findall(r"lg_[A-Za-z0-9_-]{20,}", answer.text))
    assert "It is valid now" in answer.text
    listed = bo.get(f"{PAGE}?view=keys").text
    assert "laptop" in listed
    assert "chat.*, inference" in listed
    assert token not in listed
    assert token not in bo.get("/inbox/audit?kind=key").text
    assert bo.get(f"{PAGE}/keys").status_code == 405
    site.desk.store.read(lambda tx: identity.authenticate(tx, site.desk.vault, token))


def test_a_key_for_somebody_else_waits_and_a_revoked_one_is_over(site: Site, bo: Visitor) -> None:
    answer = bo.post(f"{PAGE}/keys", f"{PAGE}?view=keys", name="theirs", human=CY, agent="1")
    assert "It waits for somebody else" in answer.text
    bo.post(f"{PAGE}/keys", f"{PAGE}?view=keys", name="mine", human=BO)
    [id_] = re.findall(rf"{PAGE}/keys/([0-9A-Z]+)/revoke", bo.get(f"{PAGE}?view=keys").text)
    assert bo.post(f"{PAGE}/keys/{id_}/revoke", PAGE).headers["location"].endswith("view=keys&done=1")
    assert "✕ revoked" in bo.get(f"{PAGE}?view=keys").text


def test_a_providers_key_is_linked_by_its_digest(site: Site, bo: Visitor) -> None:
    answer = bo.post(f"{PAGE}/keys/link", PAGE, digest="AB" * 32, human=DEE)
    decided(site, bo, answer.headers["location"])
    assert "provider's key</span>" in bo.get(f"{PAGE}?view=keys").text
    assert "64 hex digits" in bo.post(f"{PAGE}/keys/link", PAGE, digest="zz", human=DEE).text


def test_a_vote_is_delegated_for_a_time_and_taken_back(site: Site, bo: Visitor) -> None:
    times = {"starts": "2000-01-01T00:00", "ends": "2000-02-01T00:00"}
    past = bo.post(f"{PAGE}/delegations", f"{PAGE}?view=delegations", receiver=DEE, group="reviewers", **times)
    assert past.status_code == 400
    assert DEE in past.text  # what was typed is still there
    from datetime import UTC, datetime

    day = [datetime.fromtimestamp((site.desk.now + i * DAY) / 1000, UTC).strftime("%Y-%m-%dT%H:%M") for i in (1, 3)]
    asked = bo.post(
        f"{PAGE}/delegations", f"{PAGE}?view=delegations", receiver=DEE, group="reviewers", starts=day[0], ends=day[1]
    )
    decided(site, bo, asked.headers["location"])
    page = bo.get(f"{PAGE}?view=delegations").text
    [id_] = re.findall(rf"{PAGE}/delegations/([0-9A-Z]+)/end", page)
    assert "not yet" in page
    assert bo.post(f"{PAGE}/delegations/{id_}/end", PAGE).status_code == 303
    assert "✕ ended" in bo.get(f"{PAGE}?view=delegations").text
    wrong = bo.post(f"{PAGE}/delegations", PAGE, receiver=DEE, starts="soon", ends="later")
    assert "begin and end are times" in wrong.text


def test_a_value_is_marked_as_no_finding_and_kept_nowhere(site: Site, bo: Visitor) -> None:
    fields = {"type": "person", "value": "Quentin Zz", "reason": "a product <b>name</b>", "days": "7"}
    asked = bo.post(f"{PAGE}/exceptions", f"{PAGE}?view=exceptions", operation="chat.completions.create", **fields)
    decided(site, bo, asked.headers["location"])
    page = bo.get(f"{PAGE}?view=exceptions").text
    assert "PERSON" in page
    assert "Quentin" not in page
    assert "<b>name" not in page
    [id_] = re.findall(rf"{PAGE}/exceptions/([0-9A-Z]+)/remove", page)
    assert bo.post(f"{PAGE}/exceptions/{id_}/remove", PAGE).status_code == 303
    assert "✕ removed" in bo.get(f"{PAGE}?view=exceptions").text
    assert "whole number" in bo.post(f"{PAGE}/exceptions", PAGE, **{**fields, "days": "x"}).text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("put", {"email": "no address", "groups": "reviewers"}),
        ("put", {"email": "a@example.com", "groups": "<script>"}),
        ("keys", {"name": "<b>", "human": BO}),
        ("keys", {"name": "x", "human": BO, "days": "-1"}),
        ("keys", {"name": "x", "human": BO, "scopes": "not a scope!"}),
        ("exceptions", {"type": "1", "value": "x", "reason": "y", "days": "1"}),
    ],
)
def test_what_cannot_be_asked_for_is_said_above_the_form(bo: Visitor, path: str, fields: dict[str, str]) -> None:
    answer = bo.post(f"{PAGE}/{path}", PAGE, **fields)
    assert answer.status_code == 400
    assert "Not done." in answer.text
    assert "<script>" not in answer.text.replace('<script src="', "")


def test_what_stands_in_the_address_is_no_approval_unless_it_looks_like_one(bo: Visitor) -> None:
    page = bo.get(f"{PAGE}?asked=javascript:alert(1)&view=%3Cb%3E").text
    assert 'href="/inbox/approvals/javascript' not in page
    assert "waits for somebody else" not in page


def test_every_list_is_without_barriers_and_says_what_is_missing(site: Site, window: Callable[..., Window]) -> None:
    seen = window(BO)
    small = window(BO, viewport=NARROW, color_scheme="dark")
    for view, words in (
        ("people", "Add somebody"),
        ("keys", "There is no key yet"),
        ("delegations", "Nobody votes in"),
        ("grants", "Nothing is approved in advance"),
        ("exceptions", "No finding was marked wrong"),
    ):
        page = seen.open(f"{PAGE}?view={view}")
        assert words in page.content()
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert seen.axe() == [], view
        small.open(f"{PAGE}?view={view}")
        assert not small.too_wide(), view
