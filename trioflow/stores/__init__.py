"""Where orchestrations are kept: in memory, in a SQLite file, or in PostgreSQL.

Read first: `trioflow.abc.Store`, the promise; then `_memory.py`, the reference, and `_rules`, what both have in common.
"""

from trioflow.stores._memory import MemoryStore as MemoryStore
from trioflow.stores._open import open_store as open_store
from trioflow.stores._postgres import PostgresStore as PostgresStore
from trioflow.stores._sqlite import SqliteStore as SqliteStore

__all__ = ("MemoryStore", "PostgresStore", "SqliteStore", "open_store")
