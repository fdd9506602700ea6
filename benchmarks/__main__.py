"""Runs benchmarks one after the other, peers and ourselves in one run, and prints what every figure needs beside it.

Examples:
  python -m benchmarks hotpath
  python -m benchmarks hotpath proxy --seconds 5 --json figures.json
  python -m benchmarks accuracy --data my-labelled-files
  python -m benchmarks crashes --kills 500
  python -m benchmarks egress --calls 100000 --seed 1
  python -m benchmarks fuzz --minutes 60 --seed 1

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
    "hotpath": "every rule against every peer that is installed; threads, findings, rules, hostile texts",
    "match": "a million records of one's own: what they cost a scan, to build and to load",
    "proxy": "the real data plane against a bare pass-through, before an echo upstream on loopback",
    "streams": "first token and events a second of streams of 500 events, beside a bare pass-through",
    "approvals": "thousands that wait for people: list, show, vote, hold, claim; and 500 calls held at once",
    "crashes": "processes killed at random moments while they hold, vote, claim and send; fails if anything is off",
    "egress": "requests made from the API description with canaries everywhere; fails if one arrives at the provider",
    "kills": "data sets cleaned by runs that are killed at random moments; fails if the output is not the same",
    "fuzz": "texts that nobody thought of, through scan, redact and restore; fails if a property does not hold",
    "people": "names and addresses: missed by language, reliability of confidence, turns of a chat, 64 callers",
    "risk": "tells serious documents from others? reliability, what is left, what each weight does (--data)",
    "policy": "what 1 to 1,000 rules cost a call with 0 to 10,000 findings, and conditions that count",
    "utility": "what styles of redaction do to the answers of a small real model, and to the length of prompts",
    "replay": "100,000 kept calls decided anew by other policies; and what keeping a call costs",
    "dataset": "a fine-tuning file of any size, cleaned: rate, memory, whether anything planted is left; and Presidio",
    "uploads": "files of any size through the proxy: rate, memory of the guard, what other callers feel",
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
            options.facts = facts = about(module.PACKAGES)  # a benchmark may add to them
            rows = module.run(options)
        except (OSError, RuntimeError, ValueError) as e:
            say(f"{name} failed: {type(e).__name__}: {e}")
            failed = True
            rows = getattr(e, "rows", ())  # of one that measured, and found that something does not hold
            if not rows:
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
        "--plot", type=Path, metavar="FOLDER", help="hotpath, people, risk, dataset: write plots (SVG) into this folder"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help='accuracy, risk, utility: files of {"id","text","spans","label"}'
    )
    parser.add_argument(
        "--python", default=sys.executable, metavar="FILE", help="utility: interpreter that has the model installed"
    )
    parser.add_argument("--show", action="store_true", help="utility: print every answer")
    parser.add_argument(
        "--engines",
        nargs="*",
        metavar="ENGINE",
        help="accuracy: only these (rules, names, thresholds, presidio, rampart, spacy)",
    )
    parser.add_argument("--waiting", type=int, default=10_000, metavar="N", help="approvals: how many wait at most")
    parser.add_argument(
        "--kills", type=int, default=500, metavar="N", help="crashes, kills: how many processes are killed"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="crashes: repeats choices, not timing; egress, fuzz, dataset: the run",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="fuzz: for how long (default 1)")
    parser.add_argument("--calls", type=int, default=10_000, metavar="N", help="egress: how many calls, at least")
    parser.add_argument(
        "--operation", action="append", metavar="ID", help="egress: only this operation; may be repeated"
    )
    parser.add_argument(
        "--size", type=float, default=40.0, metavar="MB", help="dataset: the file for rules (default 40)"
    )
    parser.add_argument(
        "--names-size", type=float, default=0.2, metavar="MB", help="dataset: the file for names (default 0.2)"
    )
    parser.add_argument("--sample", type=int, default=60, metavar="KB", help="dataset: what peers get (default 60)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="dataset: runs of each kind (default 3)")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="dataset: where its files stand for a while")
    parser.add_argument(
        "--files", type=int, nargs="+", metavar="MB", help="uploads: sizes of the files (default 30 300)"
    )
    parser.add_argument("--number", type=int, metavar="N", help="egress, fuzz: only the call or case of this number")
    options = parser.parse_args(arguments)
    if "accuracy" in options.names and (options.data is None or not options.data.is_dir()):
        parser.error("accuracy needs --data FOLDER")
    return options


if __name__ == "__main__":
    sys.exit(main())
