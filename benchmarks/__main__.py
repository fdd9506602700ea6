"""Runs benchmarks one after the other, peers and ourselves in one run, and prints what every figure needs beside it.

Examples:
  python -m benchmarks hotpath
  python -m benchmarks hotpath proxy --seconds 5 --json figures.json
  python -m benchmarks accuracy --data my-labelled-files

Exit codes: 0 all ran, 1 a benchmark failed, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import about, say, show

BENCHMARKS = {
    "hotpath": "rules and secrets against Presidio's patterns and detect-secrets, by text size",
    "proxy": "the real data plane against a bare pass-through, before an echo upstream on loopback",
    "accuracy": "masked and leaked characters on labelled files of your own (--data)",
}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    results: dict[str, Any] = {}
    failed = False
    for name in options.names:
        module = importlib.import_module(f"benchmarks.{name}")
        say(f"\n{name}: {BENCHMARKS[name]}")
        try:
            facts, rows = about(module.PACKAGES), module.run(options)
        except (OSError, RuntimeError, ValueError) as e:
            say(f"{name} failed: {type(e).__name__}: {e}")
            failed = True
            continue
        show(facts, rows)
        results[name] = {"about": facts, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if failed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file too")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure (default 2)")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help='accuracy: JSONL files of {"id","text","spans","label"}'
    )
    parser.add_argument("--engines", nargs="*", metavar="ENGINE", help="accuracy: only these (rules, names, presidio)")
    options = parser.parse_args(arguments)
    if "accuracy" in options.names and (options.data is None or not options.data.is_dir()):
        parser.error("accuracy needs --data FOLDER")
    return options


if __name__ == "__main__":
    sys.exit(main())
