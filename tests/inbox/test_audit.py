"""The audit explorer: what it finds, what it proves, and what it says when a proof does not hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import audit
from llmguard.approvals import evidence
from llmguard.audit import merkle, verify_entry
from llmguard.inbox import proofs
from tests.desks import BO, CY, Desk
from tests.inbox.chromium import NARROW, Window
from tests.inbox.site import Site, Visitor


def witnessed(desk: Desk, **more: Any) -> audit.Checkpoint:
    """A checkpoint, outside where a folder is given."""
    return audit.checkpoint(desk.store, desk.vault.keyring, evidence.origin(desk.vault), **more)


def test_entries_are_shown_newest_first_and_found_by_kind_and_person(site: Site, bo: Visitor) -> None:
    held = site.desk.hold()
    site.desk.vote(held, CY)
    page = bo.get("/inbox/audit").text
    kinds = re.findall(r'class="main" href="/inbox/audit/\d+">([^<]+)', page)
    assert kinds[0] == "approval.approved"
    assert kinds.index("approval.vote") < kinds.index("approval.held") < kinds.index("person.added")
    votes = bo.get("/inbox/audit?kind=approval.v&who=cy@example.com").text
    assert re.findall(r'href="/inbox/audit/\d+">([^<]+)', votes) == ["approval.vote"]
    assert "Nothing here fits" in bo.get("/inbox/audit?who=nobody@example.com").text
    assert "Nothing here fits" in bo.get("/inbox/audit?kind=zzz").text


def test_the_log_is_for_people_of_a_group(site: Site) -> None:
    site.desk.put("eve@example.com")
    eve = site.browser("eve@example.com")
    assert "The log is for people of a group" in eve.get("/inbox/audit").text
    assert eve.get("/inbox/audit/0").status_code == 403
    eve.close()


def test_older_pages_follow_each_other_without_gaps(site: Site, bo: Visitor) -> None:
    for i in range(70):
        site.desk.put(f"p{i}@example.com")
    seen, path = [], "/inbox/audit?kind=person."
    while path:
        page = bo.get(path).text
        seen += [int(n) for n in re.findall(r'class="main" href="/inbox/audit/(\d+)"', page)]
        older = re.search(r'href="(/inbox/audit\?[^"]*before=\d+)">Older', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 74


def test_the_unwitnessed_tail_is_named(site: Site, bo: Visitor, tmp_path: Any) -> None:
    size = len(site.desk.log())
    assert f"entries 0 to {size - 1}" in bo.get("/inbox/audit").text
    covered = witnessed(site.desk)
    inside = bo.get(f"/inbox/audit/{size - 1}").text
    assert "nobody outside has witnessed it" in inside
    witnessed(site.desk, destination=tmp_path / "outside")
    site.desk.put("new@example.com")
    assert "Verified" in bo.get("/inbox/audit/0").text
    tail = bo.get(f"/inbox/audit/{len(site.desk.log()) - 1}").text
    assert "In the unwitnessed tail" in tail
    assert bo.get(f"/inbox/audit/{len(site.desk.log()) - 1}/download").status_code == 404
    assert covered.size == size


def test_an_entry_can_be_verified_elsewhere(site: Site, bo: Visitor, tmp_path: Any) -> None:
    made = witnessed(site.desk, destination=tmp_path / "outside")
    answer = bo.get("/inbox/audit/1/download")
    assert 'filename="entry-1.json"' in answer.headers["content-disposition"]
    told, key = answer.json(), answer.json()["key"]
    report = verify_entry(told, key, [made.note])
    assert (report.ok, report.unwitnessed) == (True, 0)
    assert verify_entry(told, key).unwitnessed == 1
    altered = {**told, "leaf": told["leaf"].replace("example", "exampel")}
    assert not verify_entry(altered, key).ok
    for name in told:
        assert not verify_entry({**told, name: 1.5}, key).ok
        assert not verify_entry({k: v for k, v in told.items() if k != name}, key).ok


def test_a_changed_entry_is_told_and_not_shown_as_proven(site: Site, bo: Visitor) -> None:
    witnessed(site.desk)
    row = site.desk.store.read(lambda tx: tx.one("SELECT leaf FROM audit_entries WHERE idx = 0"))
    leaf = bytes(row["leaf"]).replace(b"ann@", b"eve@")
    site.desk.edit("UPDATE audit_entries SET leaf = ? WHERE idx = 0", leaf)
    page = bo.get("/inbox/audit/0").text
    assert "The proof does not hold" in page
    assert "Verified" not in page


def test_details_of_others_are_escaped(site: Site, bo: Visitor) -> None:
    site.desk.hold(key="<script>alert(1)</script>")
    for path in ("/inbox/audit", f"/inbox/audit/{len(site.desk.log()) - 1}"):
        assert "<script>alert" not in bo.get(path).text


@pytest.mark.parametrize("index", ["-1", "x", "999999", "1" * 40, "01K"])
def test_what_is_no_entry_is_not_found(bo: Visitor, index: str) -> None:
    assert bo.get(f"/inbox/audit/{index}").status_code == 404


@given(st.integers(1, 70), st.data())
def test_the_drawn_path_ends_at_the_root_of_every_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [json.dumps(i).encode() for i in range(size)]
    hashes = {(0, i): merkle.leaf_hash(leaf) for i, leaf in enumerate(leaves)}

    def node(level: int, at: int) -> bytes:
        if (level, at) not in hashes:
            hashes[level, at] = merkle.node_hash(node(level - 1, 2 * at), node(level - 1, 2 * at + 1))
        return hashes[level, at]

    walked = proofs.steps(leaves[index], index, size, merkle.inclusion(index, size, node))
    root = merkle.root(size, node)
    assert (walked[-1].makes if walked else merkle.leaf_hash(leaves[0])) == root
    assert root.hex()[:12] in proofs.drawn(walked, leaves[index], index)


def test_it_is_without_barriers(site: Site, window: Callable[..., Window]) -> None:
    witnessed(site.desk)
    seen = window(BO)
    for path in ("/inbox/audit?kind=person", "/inbox/audit/1"):
        seen.open(path)
        assert seen.axe() == [], path
    small = window(BO, viewport=NARROW, color_scheme="dark")
    for path in ("/inbox/audit", "/inbox/audit/1"):
        small.open(path)
        assert not small.too_wide(), path
