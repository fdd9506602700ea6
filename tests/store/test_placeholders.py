"""Grants at rest: by scope, by tag, by link; and to nobody but their owner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.model import Grant, Principal, VaultEntry
from llmguard.store import Store, placeholders
from llmguard.store.transaction import Transaction
from llmguard.vault import Keyring, Vault

ANN = Principal("key_1", "default", "service", "one", "ann@example.org")
ANN_TOO = Principal("key_2", "default", "service", "two", "ann@example.org")
BOB = Principal("key_3", "default", "service", "three", "bob@example.org")
ELSEWHERE = Principal("key_1", "other", "service", "one", "ann@example.org")
TAGS = ("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc")


class Desk:
    """A store, and what is granted in it."""

    def __init__(self, folder: Path) -> None:
        self.vault = Vault(Keyring.generate())
        self.store = Store(folder / "llmguard.db")

    def grant(self, scope: str, tag: str, principal: Principal = ANN) -> None:
        entry = VaultEntry(f"[EMAIL_{tag}]", f"{tag}@example.org", "EMAIL", "pii", "user")

        def work(tx: Transaction) -> None:
            placeholders.put(tx, self.vault, principal.tenant, [entry])
            placeholders.grant(tx, principal, [Grant(scope, entry.placeholder, "user")])

        self.store.transact(work)

    def link(self, *links: tuple[str, str], principal: Principal = ANN) -> None:
        self.store.transact(lambda tx: placeholders.link(tx, principal, links))

    def tags(self, *scopes: str, principal: Principal = ANN, only: Iterable[str] | None = None) -> list[str]:
        """The tags of what comes back."""
        wanted = None if only is None else frozenset(only)
        entries = self.store.read(lambda tx: placeholders.granted(tx, self.vault, principal, scopes, wanted))
        assert all(e.value == f"{e.placeholder[7:-1]}@example.org" for e in entries)
        return sorted(e.placeholder[7:-1] for e in entries)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_only_the_tags_that_are_asked_for_are_opened(desk: Desk) -> None:
    for tag in TAGS:
        desk.grant("file:in", tag)
    assert desk.tags("file:in") == [*TAGS]
    assert desk.tags("file:in", only=[TAGS[1], "zzzzzzzzzz"]) == [TAGS[1]]
    assert desk.tags("file:in", only=[]) == []
    assert desk.tags("file:other", only=TAGS) == []


def test_a_link_hands_on_what_is_granted_also_later(desk: Desk) -> None:
    desk.link(("file:out", "batch:1"), ("batch:1", "file:in"), ("file:in", "call:1"))
    desk.grant("call:1", TAGS[0])
    desk.grant("batch:1", TAGS[1])
    assert desk.tags("file:out") == desk.tags("file:out", only=TAGS) == [TAGS[0], TAGS[1]]
    assert desk.tags("file:in") == [TAGS[0]]


def test_links_lead_one_way(desk: Desk) -> None:
    desk.link(("file:out", "call:1"))
    desk.grant("file:out", TAGS[0])
    assert desk.tags("call:1") == []


def test_only_the_owner_follows_his_links_to_his_grants(desk: Desk) -> None:
    desk.grant("call:1", TAGS[0])
    desk.grant("call:1", TAGS[1], principal=BOB)
    desk.link(("file:1", "call:1"))
    assert desk.tags("file:1", principal=ANN_TOO) == [TAGS[0]]
    assert desk.tags("file:1", principal=BOB) == []
    assert desk.tags("file:1", principal=ELSEWHERE) == []
    desk.link(("file:1", "call:1"), principal=BOB)
    assert desk.tags("file:1", principal=BOB) == [TAGS[1]]


def test_loops_end(desk: Desk) -> None:
    desk.link(("a:1", "a:2"), ("a:2", "a:1"), ("a:1", "a:1"))
    desk.grant("a:1", TAGS[0])
    assert desk.tags("a:1") == desk.tags("a:2") == [TAGS[0]]


def test_four_links_are_followed_and_no_more(desk: Desk) -> None:
    desk.link(*((f"s:{i}", f"s:{i + 1}") for i in range(placeholders.MAX_LINKS + 1)))
    desk.grant(f"s:{placeholders.MAX_LINKS}", TAGS[0])
    desk.grant(f"s:{placeholders.MAX_LINKS + 1}", TAGS[1])
    assert desk.tags("s:0") == [TAGS[0]]


PEOPLE = count(10)
SCOPES = st.sampled_from(["s:0", "s:1", "s:2", "s:3", "s:4", "s:5", "s:6"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.tuples(SCOPES, SCOPES), max_size=14), SCOPES)
def test_what_comes_back_is_what_four_links_reach(desk: Desk, links: list[tuple[str, str]], start: str) -> None:
    person = Principal(f"key_{next(PEOPLE)}", "default", "service", "x", None)
    for i in range(7):
        desk.grant(f"s:{i}", "abcdefg"[i] * 10, principal=person)
    desk.link(*links, principal=person)
    reached = {start}
    for _ in range(placeholders.MAX_LINKS):
        reached |= {of for scope, of in links if scope in reached}
    assert desk.tags(start, principal=person) == sorted("abcdefg"[int(s[2:])] * 10 for s in reached)
