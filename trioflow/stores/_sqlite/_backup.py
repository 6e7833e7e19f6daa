"""A copy of the file while it is in use: one moment's state, complete or not there at all.

Laws: the copy is read through a connection of its own, which can neither write nor fold the log, in a thread of its
own, so nobody waits for it; it is written beside its place, synced, and given its name last; an existing file is never
touched.

Must never know: what the tables mean. Who calls it: `_store.py`. Read next: `_gate.py`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import trio

from trioflow.errors import ConfigurationError
from trioflow.stores._sqlite._errors import translate
from trioflow.stores._sqlite._opening import Settings, connect_to_read

STEP = 256  # pages between two looks at whether the caller was cancelled


async def back_up(settings: Settings, path: str | os.PathLike[str]) -> None:
    """See `SqliteStore.backup`."""
    if settings.in_memory:
        raise ConfigurationError("A store in memory cannot be backed up: use one in a file.")
    await trio.to_thread.run_sync(_back_up, settings, path, limiter=trio.CapacityLimiter(1))


def _back_up(settings: Settings, path: str | os.PathLike[str]) -> None:
    target = Path(path).absolute()
    part = target.with_name(f"{target.name}.{settings.env.token()}.part")
    try:
        try:
            _refuse(target, exists=os.path.lexists(target))
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            _copy(settings, part)
            _sync(part)
            _name(part, target)
            _sync(target.parent)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
    except (sqlite3.Error, OSError) as exc:
        raise translate(exc, settings.path, f"backing it up to {target}") from exc


def _copy(settings: Settings, part: Path) -> None:
    """All pages, as of the moment at which this begins: the transaction holds it still while others write."""
    source = connect_to_read(settings)
    with closing(source), closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = OFF").fetchall()  # what is not complete is thrown away
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        source.backup(copy, pages=STEP, progress=_look_up, sleep=0.01)


def _look_up(status: int, remaining: int, total: int) -> None:
    trio.from_thread.check_cancelled()


def _name(part: Path, target: Path) -> None:
    """Give the finished copy its name; unlike a rename, a link never replaces what another has put there meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        _refuse(target, exists=True)


def _refuse(target: Path, *, exists: bool) -> None:
    if exists:
        raise ConfigurationError(f"{target} exists, and a backup never replaces a file. Choose another path.")


def _sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
