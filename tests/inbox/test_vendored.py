"""What we ship of others: the registry's very files, with licence and source; and nothing that a page may not run."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

INBOX = Path(__file__).parents[2] / "llmguard" / "inbox"
STATIC = INBOX / "static"
OURS = ("inbox.js", "approval.js")


def test_every_script_is_ours_or_held_against_the_hash_of_the_registrys() -> None:
    vendored = tomllib.loads((STATIC / "VENDORED.toml").read_text(encoding="utf-8"))
    for entry in vendored.values():
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["licence"] in ("0BSD", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC")
        assert {"package", "version", "path", "source", "why"} <= set(entry)
    assert {p.name for p in STATIC.glob("*.js")} - set(OURS) == {e["file"] for e in vendored.values()}


def test_templates_have_no_inline_script_style_or_handler_and_load_nothing_from_elsewhere() -> None:
    for file in sorted((INBOX / "templates").glob("*.html")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b", text), file.name
        assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", text), file.name
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), file.name


def test_our_script_and_style_need_no_evaluation_and_call_nobody() -> None:
    text = "".join((STATIC / name).read_text(encoding="utf-8") for name in OURS)
    assert not re.search(
        r"\beval\b|new Function|\.innerHTML|document\.write|localStorage|sessionStorage|https?://", text
    )
    assert not re.search(r"url\(|@import|https?://", (STATIC / "inbox.css").read_text(encoding="utf-8"))
