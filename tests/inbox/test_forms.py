"""Who may make the inbox do something: its own pages in the session that they were made for, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import pytest

from llmguard.inbox.app import HEADERS, ROOMS
from tests.desks import BO, CY
from tests.inbox.site import COOKIE, Site, Visitor

PAGES = [page for room in ROOMS for page in room]
POSTS = sorted({page.path for page in PAGES if page.method == "POST" and not page.open})
GETS = sorted({page.path for page in PAGES if page.method == "GET"})


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "01JAAAAAAAAAAAAAAAAAAAAAAA", path)


@pytest.fixture
def cy(site: Site) -> Iterator[Visitor]:
    made = site.browser(CY)
    yield made
    made.close()


def state(site: Site) -> list[str]:
    """All that the guard remembers and a page could change."""
    tables = ("approvals", "votes", "people", "sessions", "login_codes", "audit_entries", "api_keys", "passwords")
    return [
        repr([tuple(r) for r in site.desk.store.read(lambda tx, t=t: tx.all(f"SELECT * FROM {t}"))]) for t in tables
    ]


def test_a_form_without_the_token_of_its_session_does_nothing(site: Site, bo: Visitor, cy: Visitor) -> None:
    site.desk.hold()
    own, strangers = bo.token(), cy.token()
    before = state(site)
    assert own != strangers
    tokens = ("", strangers, own[:-1], own.upper(), "é")
    for path, token in product(POSTS, tokens):
        answer = bo.http.post(filled(path), data={"_form": token, "_here": "/inbox", "verdict": "approve"})
        assert answer.status_code == 403, path
        assert "earlier login" in answer.text
    assert state(site) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:1"},
        {},
    ],
    ids=["foreign", "null", "cross-site", "same-site", "other port", "nothing"],
)
def test_a_form_of_another_site_does_nothing(site: Site, bo: Visitor, headers: dict[str, str]) -> None:
    token, code = bo.token(), site.desk.code(CY)
    before = state(site)
    for name in ("origin", "sec-fetch-site"):
        del bo.http.headers[name]
    data = {"_form": token, "_here": "/inbox", "code": code}
    for path in (*POSTS, "/inbox/login", "/inbox/setup"):
        assert bo.http.post(filled(path), data=data, headers=headers).status_code == 403, path
    assert state(site) == before


def test_a_host_that_is_not_ours_is_shown_nothing(bo: Visitor) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8081"):
        answer = bo.get("/inbox", headers={"host": host})
        assert answer.status_code == 421
        assert "Queue" not in answer.text


def test_a_look_changes_nothing_whoever_fetches_the_link(site: Site, bo: Visitor) -> None:
    held = site.desk.hold()
    bo.get("/inbox")
    before = state(site)
    scanner = site.browser(None, **{"purpose": "prefetch"})
    tricks = "?verdict=approve&_form=x&_resume=1&theme=dark&code=x&challenge=x&error=x"
    for visitor, path, query in product((bo, scanner), GETS, ("", tricks)):
        target = path.replace("{id}", held.id) + query
        assert visitor.get(target).status_code < 500, target
        visitor.http.head(target)
    scanner.close()
    assert state(site) == before
    assert site.desk.get(held).state == "PENDING"


def test_nobody_sees_a_page_without_a_session(site: Site) -> None:
    closed = sorted({page.path for page in PAGES if page.method == "GET" and not page.open})
    for cookie in (None, "lgs_nonsense", "lg_key", '"'):
        visitor = site.browser(None)
        if cookie is not None:
            visitor.http.cookies.set(COOKIE, cookie, domain="127.0.0.1", path="/")
        for path in closed:
            answer = visitor.get(filled(path))
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/inbox/login")
        visitor.close()


def test_a_link_in_a_mail_reaches_its_page_though_browsers_keep_the_cookie_from_it(site: Site, bo: Visitor) -> None:
    """The first request comes from another site, without the cookie; the step page asks again from ours."""
    stranger = site.browser(None, **{"sec-fetch-site": "cross-site"})
    step = stranger.get("/inbox?view=open")
    assert step.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/inbox?view=open">' in step.text
    stranger.close()
    assert "Queue" in bo.get("/inbox?view=open").text


@pytest.mark.parametrize(
    "path", ["/inbox", "/inbox/login", "/inbox/nowhere", "/inbox/static/inbox.js", "/inbox/account"]
)
def test_every_answer_tells_the_browser_to_load_run_and_frame_nothing_foreign(bo: Visitor, path: str) -> None:
    answer = bo.get(path)
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "frame-ancestors 'none'" in policies[0]
    assert "unsafe" not in policies[0]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if "static" not in path:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] == "no-store"


def test_static_files_keep_for_good_under_their_hash_only(bo: Visitor) -> None:
    [style] = re.findall(r'href="(/inbox/static/inbox\.css\?v=[0-9a-f]+)"', bo.get("/inbox").text)
    kept = bo.get(style)
    assert "immutable" in kept.headers["cache-control"]
    assert kept.headers["content-type"] == "text/css; charset=utf-8"
    assert bo.get("/inbox/static/inbox.css?v=0").headers["cache-control"] == "no-store"
    for name in ("VENDORED.toml", "../app.py", "..%2fapp.py", "nothing.js"):
        assert bo.get(f"/inbox/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"theme": "dark"}', {"content-type": "application/json"}, 415),
        (b"", {}, 415),
        (b"theme=%ff", {"content-type": "application/x-www-form-urlencoded"}, 400),
        (b"theme=\xff", {"content-type": "application/x-www-form-urlencoded"}, 400),
        (b"&".join(b"a=1" for _ in range(400)), {"content-type": "application/x-www-form-urlencoded"}, 400),
        (b"a=" + b"x" * 100_000, {"content-type": "application/x-www-form-urlencoded"}, 413),
    ],
    ids=["json", "nothing", "no utf-8", "no ascii", "many fields", "long"],
)
def test_what_is_no_form_of_ours_is_refused_in_words(
    bo: Visitor, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = bo.http.post("/inbox/look", content=content, headers=headers)
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_an_unknown_page_says_so_and_leads_back(bo: Visitor) -> None:
    for path in ("/inbox/nowhere", "/inbox/", "/inbox/approvals/x/y/z"):
        answer = bo.get(path)
        assert answer.status_code == 404
        assert '<a href="/inbox">' in answer.text
    assert bo.get("/").headers["location"] == "/inbox"
    assert bo.http.put("/inbox").status_code == 405


def test_how_pages_look_is_kept_in_the_browser_and_asks_nobody(site: Site, bo: Visitor) -> None:
    before = site.desk.log()
    answer = bo.post("/inbox/look", theme="dark")
    assert answer.status_code == 303
    page = bo.get("/inbox").text
    assert 'data-theme="dark"' in page
    assert 'data-keys="off"' in page
    bo.post("/inbox/look", theme="<script>", keys="1")
    assert 'data-theme="auto"' in bo.get("/inbox").text
    assert site.desk.log() == before


def test_a_person_who_is_let_go_while_the_page_is_open_does_nothing_more(site: Site, bo: Visitor) -> None:
    token = bo.token()
    site.desk.put(BO, active=False)
    answer = bo.http.post("/inbox/look", data={"_form": token, "_here": "/inbox"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox/login?over=1")
