"""Where a text is that is no UTF-8 any more: the driver says only that it met one.

Laws: asked only after a statement has failed; that statement runs once more, on the same connection and in the same
transaction, with each text taken for what it is; the answer names a place and never tells what stands there.

Must never know: what the tables mean, but that a column called `instance` says whose a row is. Who calls it:
`_tables.py`, `_activities.py`. Read next: `_errors.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import attrs

from trioflow.stores._sqlite._errors import Garbled

Values = Sequence[object] | Mapping[str, object]


@attrs.frozen
class Raw:
    """What stands where a text should be."""

    content: bytes


def find_garbled(error: sqlite3.OperationalError, db: sqlite3.Connection, text: str, values: Values) -> None:
    """If a SELECT has failed because of a text, raise Garbled, which says where that stands."""
    if not str(error).startswith("Could not decode to UTF-8"):  # SQLite itself does not mind, so there is no code
        return
    table = text.partition(" FROM ")[2].split()[0]
    column, instance = next(_places(db, text, values), ("?", None))
    named = "" if instance is None else f", instance {_shown(instance)}"
    whose = instance if isinstance(instance, str) else None
    raise Garbled(f"column {column} of table {table}{named}, is no text any more", instance=whose) from error


def _places(db: sqlite3.Connection, text: str, values: Values) -> Iterator[tuple[str, object]]:
    """The columns with such a text, and the instances that they belong to, where that is known."""
    db.text_factory = _text
    try:
        cursor = db.execute(text, values)
        names = [name for name, *_ in cursor.description]
        asked = values[0] if isinstance(values, Sequence) and " WHERE instance = ?" in text else None
        for row in cursor.fetchall():
            fields = dict(zip(names, row, strict=True))
            for column, value in fields.items():
                if isinstance(value, Raw):
                    yield column, fields.get("instance", asked)
    finally:
        db.text_factory = str


def _text(content: bytes) -> str | Raw:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return Raw(content)


def _shown(instance: object) -> str:
    return repr(instance.content.decode(errors="replace") if isinstance(instance, Raw) else instance)
