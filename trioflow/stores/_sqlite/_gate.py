"""Locks between processes: a gate for writers, and files that say who is alive.

Laws: a lock is an `flock` on a file beside the database, so it goes with its process, however that ends; a file is
removed only by whoever holds its lock, and a lock on a file that is no longer at its path counts for nothing. SQLite's
own files are never opened here: closing one would drop the locks that SQLite holds on it.

The gate: every trioflow process writes, checkpoints and closes with it held, so a checkpoint never meets a commit of
another connection. That is the meeting which the WAL-reset fault of SQLite 3.7.0 to 3.51.2 needs to do harm; the whole
argument is in docs/sqlite.md. Correctness otherwise rests on SQLite's own locks, never on the gate.

Must never know: SQL. Who calls it: `_writer.py`. Read next: `_owners.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from trioflow.errors import StoreUnavailable


def take(path: Path, *, create: bool) -> int | None:
    """Open a file and lock it without waiting: its descriptor, or None if somebody holds it or it is not there."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            if create:
                raise
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass  # removed by its last holder, between our open and our lock
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def remove(path: Path, fd: int) -> None:
    """Remove a file whose lock we hold, and give the lock up."""
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)


@attrs.define(eq=False)
class Gate:
    """Held by one connection of one process at a time, around each transaction that writes."""

    _path: Path
    _patience: float  # seconds
    _fd: int = -1  # below 0 while it is not open
    _pause: threading.Event = attrs.field(factory=threading.Event)  # never set: something to wait on
    _depth: int = 0  # an `flock` does not count how often it was taken

    @classmethod
    def at(cls, folder: Path, patience: float) -> Gate:
        """The gate of a database."""
        return cls(folder / "gate", patience)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the gate, again if it is held already. Raises StoreUnavailable if it cannot be had."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Hold the gate until `leave` was called as often."""
        if not self._depth:
            self._enter()
        self._depth += 1

    def leave(self) -> None:
        """The other end of `enter`."""
        self._depth -= 1
        if not self._depth:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _enter(self) -> None:
        waited, pause = 0.0, 0.0001
        while True:
            if self._fd < 0:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waited >= self._patience:
                    raise StoreUnavailable(
                        f"Another process has held the store for {waited:.0f} s. If it hangs, stop it, and try again."
                    ) from None
                self._pause.wait(pause)
                waited += pause
                pause = min(pause * 1.5, 0.005)
            else:
                if self._is_in_place():
                    return
                # Somebody has removed it: whoever comes next would hold another file than we do.
                self.close()

    def _is_in_place(self) -> bool:
        try:
            return os.fstat(self._fd).st_ino == os.stat(self._path).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Give it up."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@attrs.define(eq=False)
class Presence:
    """Who is alive: one locked file for each worker and each open store. A file that can be locked belongs to the
    dead.
    """

    _folder: Path
    _mine: dict[str, int] = attrs.field(factory=dict)  # file name -> descriptor of a file that we hold
    _owners: dict[str, str] = attrs.field(factory=dict)  # file name -> whom it says to be alive
    _pause: threading.Event = attrs.field(factory=threading.Event)  # never set: something to wait on

    def announce(self, owner: str) -> bool:
        """Say that an owner lives here; False if it lives elsewhere already."""
        name = file_name(owner)
        if name in self._mine:
            return False
        fd = None
        for _ in range(20):  # whoever looks for the dead holds a file for a moment
            fd = take(self._folder / name, create=True)
            if fd is not None:
                break
            self._pause.wait(0.01)
        if fd is None:
            return False
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, owner.encode(), 0)
        except BaseException:
            remove(self._folder / name, fd)
            raise
        self._mine[name] = fd
        self._owners[name] = owner
        return True

    def restore(self) -> None:
        """Put back what somebody has removed: the folder, and the files that say who lives here."""
        for name, owner in list(self._owners.items()):
            if name not in self._mine or not (self._folder / name).exists():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                fd = self._mine.pop(name, None)
                if fd is not None:
                    os.close(fd)
                self.announce(owner)

    def withdraw(self, owner: str) -> None:
        """Say that an owner has stopped."""
        name = file_name(owner)
        fd = self._mine.pop(name, None)
        self._owners.pop(name, None)
        if fd is not None:
            remove(self._folder / name, fd)

    def withdraw_all(self) -> None:
        """The store closes."""
        for name, fd in self._mine.items():
            remove(self._folder / name, fd)
        self._mine.clear()

    def others(self) -> Iterator[tuple[str, Dead | None]]:
        """The files of others: their names, and a handle on those whose owner has died."""
        with os.scandir(self._folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".alive"))
        for name in names:
            if name not in self._mine:
                path = self._folder / name
                fd = take(path, create=False)
                if fd is not None:
                    yield name, Dead(os.pread(fd, 4096, 0).decode(errors="replace"), path, fd)
                elif path.exists():
                    yield name, None


@attrs.frozen
class Dead:
    """An owner that has died; `bury` once what it left is seen to, or `leave` to somebody else."""

    owner: str
    _path: Path
    _fd: int

    def bury(self) -> None:
        """Its leases have been expired: nobody needs to look again."""
        remove(self._path, self._fd)

    def leave(self) -> None:
        """Its leases could not be expired now."""
        os.close(self._fd)


def file_name(owner: str) -> str:
    """A name that every file system takes."""
    return hashlib.blake2b(owner.encode(), digest_size=16).hexdigest() + ".alive"
