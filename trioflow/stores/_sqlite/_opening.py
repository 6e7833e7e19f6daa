"""Opening a SQLite file: is it ours, is it current, does it keep its promises?

Laws: a file that is not ours is not touched; migrations run in one transaction, whichever process comes first; settings
that durability rests on are read back, and a file that does not keep them is refused.

Who calls it: `_database.py` and `_reader.py`, each in its thread, and `_backup.py`.
Read next: `schema/0001_initial.sql`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import attrs

from trioflow.abc import Env
from trioflow.errors import StoreCorrupt, StoreError, StoreReadOnly, StoreSchemaNewer, StoreUnavailable

APPLICATION_ID = 0x7472666C  # "trfl"
SYNCHRONOUS = {"full": 2, "fast": 1}


@attrs.frozen(kw_only=True)
class Settings:
    """What a store was asked to be."""

    path: str  # absolute, or ":memory:"
    durability: Literal["full", "fast"]
    clock: Callable[[], float]
    env: Env
    patience: float  # seconds to wait for other processes
    connect: Callable[..., sqlite3.Connection]

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == ":memory:"

    @property
    def folder(self) -> Path:
        """Where the locks between processes are."""
        return Path(f"{self.path}.workers")


def prepare_file(settings: Settings) -> None:
    """Make sure that there is a file, readable by its owner alone, and a folder for locks."""
    parent = os.path.dirname(settings.path)
    if not os.path.isdir(parent):
        raise StoreUnavailable(
            f"SQLite store {settings.path}: the folder {parent} does not exist. Create it, or choose another path."
        )
    if os.path.lexists(settings.folder) and not settings.folder.is_dir():
        raise StoreUnavailable(
            f"SQLite store {settings.path}: {settings.folder} has to be a folder and is not. Move it away."
        )
    if os.path.exists(settings.path) and not os.path.isfile(settings.path) and not os.path.isdir(settings.path):
        raise StoreCorrupt(f"SQLite store {settings.path}: this is no regular file. Choose another path.")
    for place in (parent, settings.path):
        if os.path.exists(place) and not os.access(place, os.W_OK):
            raise StoreReadOnly(
                f"SQLite store {settings.path}: {place} cannot be written. Give this user the right to write it, or "
                "mount its file system for writing."
            )
    try:
        os.close(os.open(settings.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass


def connect(settings: Settings) -> sqlite3.Connection:
    """A connection to a file that is ours or new; nothing was written."""
    db = settings.connect(
        settings.path, timeout=settings.patience, isolation_level=None, cached_statements=256, check_same_thread=True
    )
    try:
        db.execute("BEGIN")  # so that all that is looked at is of one moment: others may be first right now
        check_ours(db, settings.path)
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def connect_to_read(settings: Settings) -> sqlite3.Connection:
    """A connection that can neither write nor fold the log, also when it is the last to be closed: the file is open
    for reading alone, and for a descriptor like that the system grants no lock that excludes others.
    """
    return settings.connect(
        f"file:{quote(settings.path)}?mode=ro",
        uri=True,
        timeout=settings.patience,
        isolation_level=None,
        cached_statements=256,
        check_same_thread=True,
    )


def check_ours(db: sqlite3.Connection, path: str) -> None:
    """Refuse another program's file and a newer release's."""
    application_id, version = number(db, "application_id"), number(db, "user_version")
    if application_id != APPLICATION_ID:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema ORDER BY name LIMIT 5")]
        if tables or application_id:
            raise StoreCorrupt(
                f"SQLite store {path}: the file belongs to another program (application id {application_id}, it holds "
                f"{', '.join(tables) or 'nothing'}). Choose another path; nothing was changed."
            )
    elif version > len(migrations()):
        raise StoreSchemaNewer(
            f"SQLite store {path}: its schema is version {version}, this release knows {len(migrations())}. "
            "Upgrade trioflow in this process; nothing was changed."
        )


def configure(db: sqlite3.Connection, settings: Settings) -> None:
    """Set what durability rests on, and read it back."""
    asked: dict[str, str | int] = {
        "journal_mode": "memory" if settings.in_memory else "wal",
        "synchronous": SYNCHRONOUS[settings.durability],
        "wal_autocheckpoint": 0,  # checkpoints are made with the gate held
        "busy_timeout": int(settings.patience * 1000),
    }
    for name, value in asked.items():
        db.execute(f"PRAGMA {name} = {value}").fetchall()
        (found,) = db.execute(f"PRAGMA {name}").fetchone()
        if found != value:
            raise StoreError(
                f"SQLite store {settings.path}: {name} is {found!r} although {value!r} was asked for, so "
                "commits would not be as durable as promised. The file system may not support it: use a local disk."
            )


def migrations() -> list[str]:
    """The scripts that make the schema, in order; the n-th leads to version n."""
    folder = resources.files("trioflow.stores._sqlite") / "schema"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [script.read_text() for script in scripts]


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring the schema up to date. Safe with several processes at once."""
    scripts = migrations()
    if number(db, "application_id") == APPLICATION_ID and number(db, "user_version") == len(scripts):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        check_ours(db, path)  # again, now that nobody can change it
        for script in scripts[number(db, "user_version") :]:
            for statement in statements(script):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(scripts)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit before it begins."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        text = "\n".join(lines)
        if sqlite3.complete_statement(text):
            yield text
            lines.clear()


def number(db: sqlite3.Connection, pragma: str) -> int:
    """The value of a pragma that is a number."""
    (value,) = db.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)
