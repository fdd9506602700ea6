"""What ``import llmguard`` and the command line load, and which way the imports of the house point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("openai", "litellm", "presidio_analyzer", "spacy", "onnxruntime", "sqlite_utils", "detect_secrets", "tiktoken")


@pytest.mark.parametrize("statement", ["import llmguard", "import llmguard.cli", "import llmguard.guard"])
def test_importing_loads_none_of_the_heavy_packages(statement: str) -> None:
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "llmguard" in loaded
    assert not set(HEAVY) & set(loaded)


def test_layers_hold_and_the_pipeline_does_no_io() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_importing_calls_nobody() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
        "import llmguard.cli.demo, llmguard.wrapper, llmguard.proxy.serve"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
