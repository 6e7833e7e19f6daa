"""Short ways to work a SQLite store, and connections that fail when told to."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Any

from trioflow.abc import Store
from trioflow.stores import SqliteStore
from trioflow.testing._store_contract import Clock, StoreFactory, Subject

ERRORS = {
    name: getattr(sqlite3, name)
    for name in ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_CORRUPT")
}


def sqlite_error(name: str) -> sqlite3.OperationalError:
    """An error as the sqlite3 module raises it."""
    error = sqlite3.OperationalError(f"injected {name}")
    error.sqlite_errorcode = ERRORS[name]
    error.sqlite_errorname = name
    return error


class Faults:
    """Decides which statements fail; shared by all connections that it makes."""

    def __init__(self) -> None:
        self.rules: list[tuple[Callable[[str], bool], str, bool]] = []
        self.seen: list[str] = []
        self.opened = 0

    def fail(self, contains: str, error: str, *, voids: bool = False) -> None:
        """The next statement that contains this text fails, and takes the whole transaction with it if `voids`."""
        self.rules.append((lambda text: contains in text, error, voids))

    def connect(self, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        """What the store opens its file with."""
        self.opened += 1
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
                faults.meet(self, text)
                return super().execute(text, *values)

            def executemany(self, text: str, *values: Any) -> sqlite3.Cursor:
                faults.meet(self, text)
                return super().executemany(text, *values)

        return sqlite3.connect(*args, factory=Connection, **kwargs)

    def meet(self, db: sqlite3.Connection, text: str) -> None:
        """Note a statement; raise if it is its turn."""
        self.seen.append(text)
        for rule in self.rules:
            matches, error, voids = rule
            if matches(text):
                self.rules.remove(rule)
                if voids and db.in_transaction:
                    sqlite3.Connection.execute(db, "ROLLBACK")
                raise sqlite_error(error)


def subject(store: Any, clock: Clock | None = None) -> Subject:
    """A store with short ways to ask it for things."""
    return Subject(store, clock or Clock())


def twins(store: Store) -> StoreFactory:
    """What opens other stores on the file of a store."""
    assert isinstance(store, SqliteStore)
    return functools.partial(open_fast, store._settings.path)


def open_fast(path: Any, clock: Callable[[], float]) -> SqliteStore:
    """A store that does not wait for the disk; a function that can be pickled."""
    return SqliteStore(path, clock=clock, durability="fast")
