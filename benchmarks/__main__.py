"""``python -m benchmarks NAME [--json FILE]``: runs it and prints machine, commit and versions."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.report import about, show

BENCHMARKS = {"hotpath": "rules and secrets against Presidio's patterns and detect-secrets, by text size"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name, text in BENCHMARKS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--json", type=Path, help="write the figures to this file too")
        command.add_argument("--seconds", type=float, default=2.0, help="time for each figure")
    arguments = parser.parse_args()
    module = importlib.import_module(f"benchmarks.{arguments.name}")
    facts, rows = about(module.PACKAGES), module.run(arguments.seconds)
    show(facts, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": facts, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
