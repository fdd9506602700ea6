"""What a failing database means for the operator: messages name the kind and the next step, never SQL or values."""

from __future__ import annotations

import sqlite3

from llmguard.errors import GuardUnavailable

_ADVICE = {
    "SQLITE_BUSY": "another process holds the database; try again, or look for a process that keeps it locked",
    "SQLITE_LOCKED": "another process holds the database; try again, or look for a process that keeps it locked",
    "SQLITE_FULL": "no space left for the database; free disk space",
    "SQLITE_READONLY": "the database cannot be written; check who owns its file and folder, and how they are mounted",
    "SQLITE_PERM": "the database cannot be opened; check who owns its file and folder",
    "SQLITE_CANTOPEN": "the database cannot be opened; check that its file and folder exist and belong to this user",
    "SQLITE_IOERR": "the disk under the database fails or is full; check the system's log and free space",
    "SQLITE_CORRUPT": "the database is damaged; stop the guard and restore a backup",
    "SQLITE_NOTADB": "the file is not a database of the guard; stop the guard and restore a backup",
    "SQLITE_NOMEM": "no memory left for the database",
}
_PRIMARY = {getattr(sqlite3, name): name for name in _ADVICE}


def unavailable(error: sqlite3.Error) -> GuardUnavailable:
    """The typed refusal for an error of SQLite: its primary kind decides the advice, its extended name is shown.

    To be raised ``from None``: the message of the cause may quote what is stored.
    """
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    primary = _PRIMARY.get(code & 0xFF, "") if isinstance(code, int) else ""
    if code is None and isinstance(error, sqlite3.OperationalError):
        primary = "SQLITE_CORRUPT"  # sqlite3 itself read a text that is no UTF-8
    advice = _ADVICE.get(primary, "the database refused a statement; this is a defect, please report it")
    return GuardUnavailable(f"{advice} ({name})")
