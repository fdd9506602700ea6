"""The docs say what is so: settings, commands and pages exist, the README's code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from llmguard import errors
from llmguard.cli import app, operations
from llmguard.config import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERYTHING = "\n".join(p.read_text() for p in PAGES)


def test_every_setting_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    assert rows == [f.name for f in fields(Settings)]


def commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[str]:
    """The help of a command and of all below it, as sections of a page."""
    settings = {"max_content_width": 100, **command.context_settings}
    command._help_option = None  # click keeps the one of the first context, which may be another test's
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    assert command.help, f"{path} has no help text"
    yield f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child
            yield from commands(child, f"{path} {name}", context)


def test_help_of_every_command_is_in_the_docs() -> None:
    """``UPDATE_DOCS=1 pytest tests/test_docs.py`` writes the page anew."""
    codes = "Exit codes: 0 done, 1 refused or found, 2 used wrongly."
    head = f"# Commands\n\nWhat `--help` says, of every command. {codes}\n\n"
    page = ROOT / "docs" / "commands.md"
    made = head + "\n".join(commands(app, "llmguard"))
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(made)
    assert page.read_text() == made


def test_page_of_operations_is_what_the_command_prints() -> None:
    path = ROOT / "docs" / "operations.md"
    made = operations.page()
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(made)
    assert path.read_text() == made


def test_every_error_code_is_documented() -> None:
    kinds = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.CallRefused)]
    for code in {k.code for k in kinds} - {"refused"}:
        assert f"`{code}`" in EVERYTHING, code


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_code_of_the_readme_runs(tmp_path: Path) -> None:
    [block] = re.findall(r"<!-- run -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    environment = {"HOME": str(tmp_path), "OPENAI_API_KEY": "none", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", block], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Mail \[EMAIL_[a-z2-7]{10}\], please\n", done.stdout)
