"""The migrations as sqlite-utils runs them: each once, in order. Slow to import: only for a database that is behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlite_utils import Database, Migrations

from llmguard.store import schema

migrations = Migrations("llmguard")


@migrations(name="0001_tables")
def _tables(db: Database) -> None:
    for statement in _statements(schema.TABLES):
        db.execute(statement)


def apply(connection: sqlite3.Connection) -> None:
    """Runs what has not run yet, inside the caller's transaction."""
    migrations.apply(Database(connection))


def _statements(script: str) -> Iterator[str]:
    """Single statements: ``executescript`` would commit the transaction that we are in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
