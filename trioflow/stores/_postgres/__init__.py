"""The store in PostgreSQL. Read first: `_store.py`."""

from trioflow.stores._postgres._store import PostgresStore as PostgresStore

__all__ = ("PostgresStore",)
