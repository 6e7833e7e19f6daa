"""Where orchestrations are kept: in memory, in a SQLite file, or in PostgreSQL.

Each is loaded when somebody asks for it: who keeps a file needs nothing of PostgreSQL. Read first:
`trioflow.abc.Store`, the promise; then `_memory.py`, the reference, and `_rules`, what both have in common.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trioflow.stores._open import open_store as open_store

if TYPE_CHECKING:
    from trioflow.stores._memory import MemoryStore as MemoryStore
    from trioflow.stores._postgres import PostgresStore as PostgresStore
    from trioflow.stores._sqlite import SqliteStore as SqliteStore

__all__ = ("MemoryStore", "PostgresStore", "SqliteStore", "open_store")


def __getattr__(name: str) -> Any:
    """Load `MemoryStore`, `PostgresStore` or `SqliteStore`."""
    if name not in ("MemoryStore", "PostgresStore", "SqliteStore"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"trioflow.stores._{name.removesuffix('Store').lower()}"), name)
