"""What a power loss may leave of some files: a log of writes in, images of the disk out.

Laws: what was synced is there; of what was written to a file since its last sync anything may be there or not, in any
combination, and one write may be there in part, in sectors of 512 bytes; a file's name is there once its folder was
synced, before that it may be or not, as may be a name that was removed. Nothing but the seed decides which images are
made.

Who calls it: the tests beside it. The log's format is told in `shim.c`.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterator

import attrs

HEAD = struct.Struct("<cHQI")
SECTOR = 512
MARKS = ".ack"  # the file in which a workload notes what it was answered; it lies on no disk that fails


@attrs.frozen
class Record:
    """One call that a process made."""

    kind: str
    name: str
    offset: int
    data: bytes


def read_log(log: bytes) -> Iterator[Record]:
    """The records of a log."""
    position = 0
    while position < len(log):
        kind, name_length, offset, length = HEAD.unpack_from(log, position)
        position += HEAD.size
        name = log[position : position + name_length].decode()
        position += name_length
        yield Record(kind.decode(), name, offset, log[position : position + length])
        position += length


def write_log(records: list[Record]) -> bytes:
    """A log with these records."""
    return b"".join(
        HEAD.pack(record.kind.encode(), len(record.name), record.offset, len(record.data))
        + record.name.encode()
        + record.data
        for record in records
    )


Kept = list[tuple[Record, int, int]]  # a write, and which part of it is there
Choice = Callable[[list[Record]], Kept]


@attrs.define(eq=False)
class File:
    """What a file is known to hold, and what was written to it since."""

    synced: bytearray = attrs.field(factory=bytearray)
    pending: list[Record] = attrs.field(factory=list)

    def sync(self) -> None:
        """All of it is there from now on."""
        self.synced, self.pending = bytearray(self.holding(all_of(self.pending))), []

    def holding(self, kept: Kept) -> bytes:
        """The file with some of the pending writes."""
        content = bytearray(self.synced)
        for record, start, end in kept:
            if record.kind == "T":
                content = content[: record.offset].ljust(record.offset, b"\0")
            else:
                place = record.offset + start
                content.extend(b"\0" * (place - len(content)))
                content[place : place + end - start] = record.data[start:end]
        return bytes(content)


def all_of(pending: list[Record]) -> Kept:
    """Every write is there."""
    return [(record, 0, len(record.data)) for record in pending]


def none_of(_: list[Record]) -> Kept:
    """No write is there."""
    return []


def late_ones(pending: list[Record]) -> Kept:
    """The first write is missing, as if those behind it had overtaken it."""
    return all_of(pending[1:])


def some_of(rng: random.Random) -> Choice:
    """Each write is there or not."""
    return lambda pending: [kept for kept in all_of(pending) if rng.random() < 0.5]


def torn(rng: random.Random) -> Choice:
    """All writes are there, but of the last one only its beginning, or only its end."""

    def choose(pending: list[Record]) -> Kept:
        kept = all_of(pending)
        if kept and len(kept[-1][0].data) > SECTOR:
            record = kept[-1][0]
            edge = SECTOR * rng.randrange(1, (len(record.data) + SECTOR - 1) // SECTOR)
            kept[-1] = (record, 0, edge) if rng.random() < 0.5 else (record, edge, len(record.data))
        return kept

    return choose


@attrs.define(eq=False)
class Disk:
    """The files of a database while a log goes by."""

    rng: random.Random
    _files: list[File] = attrs.field(factory=list)
    _now: dict[str, int] = attrs.field(factory=dict)  # name -> index of its file
    _names: dict[str, int] = attrs.field(factory=dict)  # as of the last sync of the folder
    _renamed: list[dict[str, int | None]] = attrs.field(factory=list)  # what happened to names since, each step whole

    def apply(self, record: Record) -> None:
        """One more call."""
        match record.kind:
            case "C":
                self._files.append(File())
                self._rename({record.name: len(self._files) - 1})
            case "U":
                self._rename({record.name: None})
            case "R":
                self._rename({record.name: None, record.data.decode(): self._now[record.name]})
            case "S" if record.name == ".":
                self._names, self._renamed = dict(self._now), []
            case "S":
                self._files[self._now[record.name]].sync()
            case _:
                self._files[self._now[record.name]].pending.append(record)

    def _rename(self, step: dict[str, int | None]) -> None:
        self._renamed.append(step)
        _take_step(self._now, step)

    def images(self) -> Iterator[dict[str, bytes]]:
        """What a power loss at this moment may leave: the content of each file by its name."""
        rng = self.rng
        choices = (none_of, all_of, late_ones, some_of(rng), torn(rng))
        yield self._image(lambda: none_of, self._renamed[:0])
        yield self._image(lambda: all_of, self._renamed)
        yield self._image(lambda: late_ones, self._renamed)
        yield self._image(lambda: choices[-1], self._renamed)
        for _ in range(3):  # each file by a law of its own: one may be far ahead of the other
            yield self._image(lambda: rng.choice(choices), [step for step in self._renamed if rng.random() < 0.5])

    def _image(self, choice: Callable[[], Choice], steps: list[dict[str, int | None]]) -> dict[str, bytes]:
        names = dict(self._names)
        for step in steps:
            _take_step(names, step)
        return {name: self._files[file].holding(choice()(self._files[file].pending)) for name, file in names.items()}


def _take_step(names: dict[str, int], step: dict[str, int | None]) -> None:
    for name, file in step.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def digest(image: dict[str, bytes]) -> bytes:
    """The same for equal images."""
    made = hashlib.blake2b(digest_size=16)
    for name, content in sorted(image.items()):
        made.update(f"{name} {len(content)} ".encode())
        made.update(content)
    return made.digest()


def concerns_the_database(record: Record) -> bool:
    """Locks, marks, and files that are open after their name has gone do not count."""
    return record.name != MARKS and not record.name.startswith(".workers") and not record.name.endswith(" (deleted)")
