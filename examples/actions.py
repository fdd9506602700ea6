"""Privileged actions around a table of customers: a dry run, a proposal, a block. See docs/actions.md.

    llmguard users add you@example.org --group reviewers
    llmguard users add colleague@example.org --group reviewers
    LLMGUARD_KEY=$(llmguard keys add job --human you@example.org) python examples/actions.py customers.db out.csv

The colleague decides: ``llmguard approvals list``, ``show ID``, ``approve ID``.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import llmguard
from llmguard.errors import ApprovalDenied, ChangesRequested

guard = llmguard.Guard()


def count(source: str, limit: int, target: str) -> dict[str, int]:
    """The dry run: what the reviewer sees, and what must still be so right before the export."""
    with closing(sqlite3.connect(source)) as db:
        return {"rows": db.execute("SELECT count(*) FROM (SELECT 1 FROM customers LIMIT ?)", [limit]).fetchone()[0]}


@guard.action("db.export", describe="Export {limit} customers of {source} to {target}", evidence=count)
def export(source: str, limit: int, target: str) -> int:
    """Runs after somebody else approved exactly these arguments, once."""
    with closing(sqlite3.connect(source)) as db, Path(target).open("a", encoding="utf-8") as out:
        rows = db.execute("SELECT name, email FROM customers LIMIT ?", [limit]).fetchall()
        out.writelines(f"{name},{email}\n" for name, email in rows)
    return len(rows)


def clear(source: str) -> None:
    """The block is the execution: it is entered once it is approved."""
    with (
        guard.approval("db.clear", {"source": source}, describe="Delete every customer") as approved,
        closing(sqlite3.connect(approved.arguments["source"])) as db,
        db,
    ):
        db.execute("DELETE FROM customers")


def main(source: str, target: str) -> None:
    try:
        print(f"exported {export(source, 1000, target)} rows")
    except ChangesRequested as e:
        print(f"a reviewer asks for changes: {e.reason}")
        if e.proposal:  # accepted here, and voted on anew
            print(f"exported {export.revise(e.approval_id or '', **e.proposal)} rows")
    try:
        clear(source)
        print("cleared")
    except ApprovalDenied:
        print("not cleared: a reviewer refused")


if __name__ == "__main__":
    with guard:
        main(sys.argv[1], sys.argv[2])
