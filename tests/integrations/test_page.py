"""What docs/integrations.md shows runs as it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text()
BLOCKS = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.split()[1])
def test_code_of_the_page_runs_and_shows_no_value(block: str, tmp_path: Path, compiled_detectors: Path) -> None:
    tool = block.split()[1]
    if not os.environ.get("CI") and importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    environment = {
        "HOME": str(tmp_path),
        "PATH": "",
        "XDG_CACHE_HOME": str(compiled_detectors),
        "LLMGUARD_NAMES": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", block], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    shown = done.stdout if "cleaner([" not in block else done.stdout.replace("jane.doe@acme.com", "", 1)
    assert "jane.doe@acme.com" not in shown


def test_hook_that_the_page_names_exists() -> None:
    [named] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["repos"][0]["hooks"]
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert named["id"] == hook["id"]
    assert named["id"] in (ROOT / "docs" / "scanning.md").read_text()
