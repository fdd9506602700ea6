"""Accounts: a link begins in a session, is of one account and one person, and ends at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmguard.channels import Channel
from llmguard.errors import LLMGuardError
from llmguard.identity import Person
from llmguard.notify import links
from llmguard.notify.links import Account
from tests.desks import ANN, BO, CY, TENANT, Desk, Plane, control_plane
from tests.notify.counterparts import command, signed

Make = Callable[..., Channel]
HERE = Account("T0000000001", "U0000000001")


@pytest.fixture
def plane(desk: Desk, slack: Make) -> Iterator[Plane]:
    with control_plane(desk, channels=(slack(),)) as running:
        yield running


def code(plane: Plane, who: str) -> str:
    answer = plane.call("POST", "/guard/v1/links", who)
    assert answer.status_code == 200
    return str(answer.json()["code"])


class Count:
    sent = 0


def say(plane: Plane, text: str, **more: Any) -> str:
    Count.sent += 1
    body = command(text, **more) + f"&trigger_id={Count.sent}".encode()
    answer = plane.call("POST", "/guard/v1/slack", content=body, headers=signed(body, plane.desk.now // 1000))
    assert answer.status_code == 200
    assert answer.json()["response_type"] == "ephemeral"
    return str(answer.json()["text"])


def person(desk: Desk, account: Account = HERE) -> Person | str:
    """Who an account is, or why nobody."""
    try:
        return desk.store.read(lambda tx: links.person(tx, desk.vault, TENANT, account))
    except LLMGuardError as e:
        return e.message


def test_a_code_of_the_inbox_links_the_account_that_sends_it(plane: Plane) -> None:
    assert say(plane, f"link {code(plane, BO)}") == f"This account is {BO} from now on."
    who = person(plane.desk)
    assert isinstance(who, Person)
    assert who.email == BO
    shown = plane.call("GET", "/guard/v1/links", BO).json()
    assert shown["teams"] == ["T0000000001"]
    assert [(one["team"], one["account"]) for one in shown["links"]] == [(HERE.team, HERE.id)]
    assert plane.call("GET", "/guard/v1/links", CY).json()["links"] == []
    assert plane.desk.log().count("link.added") == 1


def test_a_code_counts_once_for_ten_minutes_and_only_the_newest(plane: Plane) -> None:
    first, second = code(plane, BO), code(plane, BO)
    wrong = "this code is wrong, used or too old"
    assert wrong in say(plane, f"link {first}")
    assert BO in say(plane, f"link {second.upper().replace('-', '')}")
    assert wrong in say(plane, f"link {second}", user="U0000000002")
    late = code(plane, CY)
    plane.desk.now += links.CODE_MS
    assert wrong in say(plane, f"link {late}", user="U0000000002")


@pytest.mark.parametrize(
    "text", ["link", "link x", "link a b", "", "vote 1", "link " + "a" * 5000, "link \u202e", "LINK x"]
)
def test_what_is_no_code_links_nobody(plane: Plane, text: str) -> None:
    assert "<" not in say(plane, text)
    assert isinstance(person(plane.desk), str)


def test_an_account_is_one_person_and_a_person_one_account(plane: Plane) -> None:
    say(plane, f"link {code(plane, BO)}")
    assert "linked already" in say(plane, f"link {code(plane, CY)}")
    assert "linked already" in say(plane, f"link {code(plane, BO)}", user="U0000000002")
    assert isinstance(person(plane.desk, Account(HERE.team, "U0000000002")), str)


def test_an_account_unlinks_itself_at_once(plane: Plane) -> None:
    say(plane, f"link {code(plane, BO)}")
    assert say(plane, "unlink") == "This account is nobody's any more."
    assert isinstance(person(plane.desk), str)
    assert "nobody's here" in say(plane, "unlink")


def test_a_person_unlinks_an_account_at_once_and_nobody_elses(plane: Plane) -> None:
    say(plane, f"link {code(plane, BO)}")
    [one] = plane.call("GET", "/guard/v1/links", BO).json()["links"]
    path = f"/guard/v1/links/{one['id']}/remove"
    assert plane.call("POST", path, CY).status_code == 404
    assert isinstance(person(plane.desk), Person)
    assert plane.call("POST", path, BO).json() == one
    assert isinstance(person(plane.desk), str)
    assert plane.call("POST", path, BO).status_code == 404
    assert plane.desk.log().count("link.removed") == 1


def test_a_session_that_was_left_behind_links_nobody(plane: Plane) -> None:
    session = plane.desk.session(BO)
    plane.desk.now += 15 * 60_000 + 1
    answer = plane.call("POST", "/guard/v1/links", headers={"authorization": f"Bearer {session}"})
    assert answer.status_code == 403
    assert answer.json()["type"].endswith("login_too_old")


def test_a_code_of_somebody_who_was_deactivated_links_nobody(plane: Plane) -> None:
    made = code(plane, BO)
    plane.desk.put(BO, "reviewers", active=False)
    assert "wrong, used or too old" in say(plane, f"link {made}")


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("links", "account = 'U0000000009'"),
        ("links", f"email = '{ANN}'"),
        ("links", "team = 'T0000000009'"),
        ("links", "created = created + 1"),
    ],
)
def test_a_link_that_was_edited_links_nobody_and_does_not_stand_in_the_way(
    plane: Plane, table: str, change: str
) -> None:
    desk = plane.desk
    say(plane, f"link {code(plane, BO)}")
    desk.edit(f"UPDATE {table} SET {change}")
    for account in (HERE, Account(HERE.team, "U0000000009"), Account("T0000000009", HERE.id)):
        assert isinstance(person(desk, account), str)
    assert BO in say(plane, f"link {code(plane, BO)}")


def test_a_code_that_was_edited_links_nobody(plane: Plane) -> None:
    made = code(plane, BO)
    plane.desk.edit("UPDATE link_codes SET email = ?", ANN)
    assert "wrong, used or too old" in say(plane, f"link {made}")


def test_neither_code_nor_its_hash_stands_in_the_log(plane: Plane) -> None:
    made = code(plane, BO)
    rows = plane.desk.store.read(
        lambda tx: (
            [str(r["leaf"]) for r in tx.all("SELECT leaf FROM audit_entries")]
            + [str(tuple(r)) for r in tx.all("SELECT * FROM link_codes")]
        )
    )
    assert not any(made in row or made.replace("-", "") in row for row in rows)
