"""The hook of ``.pre-commit-hooks.yaml``, run by pre-commit itself on commits of a repository of its own.

Only how the command is installed differs: the definition says ``python``, which downloads; here it is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmguard.testing import Fakes

if not os.environ.get("CI"):  # there it is installed, or the tests fail
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
HOOKS = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"


class Repository:
    """A git repository whose commits run the hook."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "LLMGUARD_", "PRE_COMMIT"))}
        who = {f"GIT_{kind}_{what}": "a@test.invalid" for kind in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environment = {**kept, **who, "HOME": str(cache), "PRE_COMMIT_HOME": str(cache / "pre-commit")}
        self.git("init", "-q")
        self.configure()
        self.ran("-m", "pre_commit", "install")

    def configure(self, **changes: Any) -> None:
        [hook] = yaml.safe_load(HOOKS.read_text())
        hook |= {"language": "system", "entry": hook["entry"].replace("llmguard", f"{sys.executable} -m llmguard.cli")}
        config = {"repos": [{"repo": "local", "hooks": [{**hook, **changes}]}]}
        self.put(".pre-commit-config.yaml", yaml.safe_dump(config))
        self.git("add", ".pre-commit-config.yaml")

    def put(self, name: str, text: str | bytes) -> None:
        (self.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("git", *arguments)

    def ran(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, *arguments)

    def commit(self, *names: str) -> subprocess.CompletedProcess[str]:
        self.git("add", "--", *names)
        return self.git("commit", "-q", "-m", "a change")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "repository").mkdir()
    (tmp_path / "home").mkdir()
    return Repository(tmp_path / "repository", tmp_path / "home")


def test_commit_with_an_address_is_stopped_and_told_its_place_only(repository: Repository) -> None:
    email = Fakes(5).email()
    repository.put("clean.py", "x = 1\n")
    repository.put("notes.md", f"write to\n{email}\n")
    done = repository.commit("clean.py", "notes.md")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "notes.md:2:1: EMAIL" in said
    assert email not in said
    assert repository.git("rev-parse", "-q", "--verify", "HEAD").returncode != 0, "nothing was committed"


def test_clean_commit_passes_and_only_what_is_staged_counts(repository: Repository) -> None:
    repository.put("notes.md", "nothing here\n")
    repository.put("picture.png", b"\x89PNG\r\n\x1a\n\0\0")
    repository.git("add", "--", "notes.md")
    repository.put("notes.md", f"not staged: {Fakes(6).email()}\n")
    done = repository.commit("picture.png")
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.git("show", "HEAD:notes.md").stdout == "nothing here\n"


def test_file_called_like_an_option_is_a_file(repository: Repository) -> None:
    repository.put("--category=internal", "nothing\n")
    repository.put("notes.md", f"{Fakes(7).email()}\n")
    done = repository.commit("--category=internal", "notes.md")
    assert done.returncode != 0
    assert "notes.md:1:1: EMAIL" in done.stdout + done.stderr


def test_file_that_cannot_be_read_stops_the_commit_and_hides_no_finding(repository: Repository) -> None:
    repository.put("a.txt", "caf\xe9\n".encode("latin-1"))
    repository.put("b.txt", f"{Fakes(8).email()}\n")
    done = repository.commit("a.txt", "b.txt")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "a.txt is not UTF-8 text" in said
    assert "b.txt:1:1: EMAIL" in said


def test_what_the_repository_allows_passes(repository: Repository) -> None:
    repository.put(".llmguardignore", "fixture.txt\n")
    repository.put("fixture.txt", f"{Fakes(9).email()}\n")
    repository.put("code.py", f"MAIL = '{Fakes(10).email()}'  # llmguard:allow EMAIL\n")
    done = repository.commit(".llmguardignore", "fixture.txt", "code.py")
    assert done.returncode == 0, done.stdout + done.stderr
