"""``llmguard demo`` in a process of its own: no network, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_demo_tells_the_whole_story_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "llmguard.cli", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in (
        "[CREDIT_CARD_",
        "approval_pending",
        "somebody else",
        "APPROVED",
        "the same answer",
        "verified",
        "changed",
    ):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())
