"""The one door through which errors of SQLite and of the file system leave: each becomes a `StoreError` that says what
to do.

Laws: nothing of the driver is raised to a caller except as a cause; an error that may pass is `StoreUnavailable`, one
that needs a person says what that person can do; a row of which no sense can be made is damage; anything else passes
unchanged.

Who calls it: `_writer.py`, `_opening.py`.
"""

from __future__ import annotations

import errno
import functools
import sqlite3
from collections.abc import Callable

from trioflow.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    TrioflowError,
)

# By primary result code: the class, and what to do.
ADVICE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailable, "another process holds the file; try again"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailable, "another connection holds the table; try again"),
    sqlite3.SQLITE_INTERRUPT: (StoreUnavailable, "the operation was interrupted; try again"),
    sqlite3.SQLITE_NOMEM: (StoreUnavailable, "memory ran out; free some and try again"),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnavailable,
        "the file cannot be opened: check that its folder exists and may be used",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreUnavailable,
        "the disk reported an error: check the room on it, the process's limits (`ulimit -f`), and the system's log",
    ),
    sqlite3.SQLITE_FULL: (StoreFull, "free some room on the disk, or raise max_page_count; nothing of it was written"),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "give this user the right to write the file and its folder"),
    sqlite3.SQLITE_PERM: (StoreReadOnly, "give this user the right to use the file and its folder"),
    sqlite3.SQLITE_AUTH: (StoreReadOnly, "give this user the right to use the file and its folder"),
    sqlite3.SQLITE_CORRUPT: (
        StoreCorrupt,
        "the file is damaged: restore a backup, or salvage it with `sqlite3 FILE .recover`",
    ),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "the file is not a SQLite database: choose another path"),
}

FILE_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    errno.EROFS: (StoreReadOnly, "the file system is mounted read-only"),
    errno.EACCES: (StoreReadOnly, "give this user the right to write the file and its folder"),
    errno.EPERM: (StoreReadOnly, "give this user the right to write the file and its folder"),
    errno.ENOSPC: (StoreFull, "free some room on the disk"),
    errno.EDQUOT: (StoreFull, "free some room in this user's quota"),
}

# What rules and tables raise when a row that was found contradicts the others, or is not what was ever written.
SENSELESS = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Garbled(Exception):
    """A text is no UTF-8 any more, at this place.

    Attributes:
        instance: whose it is, if that is known.
    """

    def __init__(self, message: str, *, instance: str | None) -> None:
        super().__init__(message)
        self.instance = instance


def result_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the module itself raised."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def advice_on(error: Exception) -> str:
    """What to do about the cause of an error."""
    if isinstance(error, OSError):
        return FILE_ERRORS.get(error.errno or 0, (StoreError, "check the path and the file system"))[1]
    known = isinstance(error, sqlite3.Error) and ADVICE.get(result_code(error))
    return known[1] if known else "see the error that this one was raised from"


def is_ours(error: BaseException) -> bool:
    """Whether `translate` has something to say about it."""
    return isinstance(error, sqlite3.Error | OSError)


def translate(error: BaseException, path: str, doing: str) -> BaseException:
    """The error to raise in its place, with the original as its cause."""
    cls: Callable[[str], StoreError]
    if isinstance(error, Garbled):
        cls, advice = functools.partial(StoreCorrupt, instance=error.instance), ADVICE[sqlite3.SQLITE_CORRUPT][1]
        detail = str(error)
    elif isinstance(error, sqlite3.Error):
        unknown: tuple[type[StoreError], str]
        unknown = (StoreError, "this is a fault in trioflow or in a tool that changed the file; please report it")
        if str(error).startswith("no such "):  # what is asked for never changes, so the schema has
            unknown = (StoreCorrupt, "the file's schema is damaged, or a tool has changed it: restore a backup")
        cls, advice = ADVICE.get(result_code(error), unknown)
        detail = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    elif isinstance(error, OSError):
        passing = (StoreUnavailable, "check the path and the file system, and try again")
        cls, advice = FILE_ERRORS.get(error.errno or 0, passing)
        detail = str(error)
    elif isinstance(error, SENSELESS) and not isinstance(error, TrioflowError | UnicodeEncodeError):
        cls, advice = ADVICE[sqlite3.SQLITE_CORRUPT]
        detail = f"what is stored makes no sense ({error!r})"
    else:
        return error
    translated = cls(f"SQLite store {path}: {doing} failed: {detail}. What to do: {advice}.")
    translated.__cause__ = error
    return translated
