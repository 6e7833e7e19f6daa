"""The file at the store's path: is it still the one that was opened?

Law: the first look says which file it is; a file that cannot be looked at just now is taken to be the same.

Who calls it: `_writer.py`, again and again; `_reader.py`, when it opens the file anew.
"""

from __future__ import annotations

import os

import attrs

from trioflow.errors import StoreClosed


@attrs.define(eq=False)
class Place:
    """A path, and the file that was there first."""

    _path: str
    _file: tuple[int, int] | None = None  # device and inode

    def check(self) -> None:
        """Raise `StoreClosed` if the file is gone: what is written now would be lost, what is read is of the past."""
        path = self._path
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise StoreClosed(f"SQLite store {path}: the file was removed while it was open. Restore it.") from None
        except OSError:
            return
        if self._file not in (None, (found.st_dev, found.st_ino)):
            raise StoreClosed(f"SQLite store {path}: the file was replaced while it was open. Open it again.")
        self._file = (found.st_dev, found.st_ino)
