"""The store: one embedded SQLite file, one unit of work.

A unit of work is a function of a ``Transaction``. What it writes is committed whole or not at all.
"""

from llmguard.store.database import Store
from llmguard.store.transaction import Transaction
from llmguard.store.writer import wall_ms

__all__ = ["Store", "Transaction", "wall_ms"]
