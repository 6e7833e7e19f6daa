"""The store in a SQLite file. Read first: `_store.py`, `_writer.py`, `_database.py`."""

from trioflow.stores._sqlite._store import SqliteStore as SqliteStore

__all__ = ("SqliteStore",)
