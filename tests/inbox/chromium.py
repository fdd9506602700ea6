"""Chromium for tests of pages: what it complains of, what axe-core finds, and pictures.

One browser for a module: while Playwright runs, its own event loop does, and tests of asyncio in the same process wait
until it has ended.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.inbox.site import COOKIE, Site

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 780}
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => {
  window.violations.push(`${e.violatedDirective} ${e.blockedURI}`);
});
"""


def _lacking(what: str) -> None:
    """A bare machine may lack it, CI may not."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        _lacking("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def axe_source() -> str:
    folder = Path(os.environ.get("LLMGUARD_AXE", "")) / "node_modules" / "axe-core"
    if not os.environ.get("LLMGUARD_AXE") or not folder.is_dir():
        _lacking("needs LLMGUARD_AXE, the folder where npm installed tests/inbox/axe/package.json")
    return (folder / "axe.min.js").read_text(encoding="utf-8")


class Window:
    """A person's browser at a site. ``close`` fails if the page broke its own rules or threw."""

    def __init__(self, browser: Browser, site: Site, who: str | None, **options: Any) -> None:
        self.site = site
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            **{"viewport": WIDE, "reduced_motion": "reduce", "base_url": site.url, **options}
        )
        self.context.add_init_script(_WATCH)
        if who is not None:
            kept = {"name": COOKIE, "value": site.desk.session(who), "url": site.url}
            self.context.add_cookies([{**kept, "sameSite": "Strict", "httpOnly": True}])
        self.page = self.tab()

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda e: self.complaints.append(f"threw: {e}"))
        page.on("console", lambda m: self.complaints.append(m.text) if "Content Security Policy" in m.text else None)
        return page

    def open(self, path: str) -> Page:
        self.page.goto(path)
        return self.page

    def violations(self) -> list[str]:
        """What the page broke of its Content-Security-Policy, and what it threw."""
        return [*self.page.evaluate("window.violations || []"), *self.complaints]

    def axe(self) -> list[str]:
        """What axe-core finds wrong (WCAG 2.0 to 2.2, A and AA): rule, help and place."""
        self.page.evaluate(axe_source())
        found = self.page.evaluate("rules => axe.run(document, {runOnly: rules})", _RULES)["violations"]
        return [
            f"{v['id']}: {v['help']}: {n['html'][:200]} {n['failureSummary'][:200]}" for v in found for n in v["nodes"]
        ]

    def too_wide(self) -> bool:
        """Whether the page scrolls to the side."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def close(self) -> None:
        problems = [] if self.page.is_closed() else self.violations()
        self.context.close()
        assert problems == []
