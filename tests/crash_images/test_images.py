"""The machine itself: which images it makes of a log, and that it judges a recorded run, all without a compiler."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterator
from pathlib import Path

from tests.crash_images.images import Disk, Record, digest, read_log, write_log
from tests.crash_images.machine import judge

RECORDED = Path(__file__).with_name("recorded.log.xz")  # made by `record` on a small workload at "full"


def wrote(name: str, offset: int, data: bytes) -> Record:
    """A write."""
    return Record("W", name, offset, data)


def did(kind: str, name: str, *, size: int = 0, data: bytes = b"") -> Record:
    """Any other call."""
    return Record(kind, name, size, data)


def images(*records: Record) -> list[dict[str, bytes]]:
    """All images after these calls, from many seeds."""
    found: dict[bytes, dict[str, bytes]] = {}
    for seed in range(100):
        disk = Disk(random.Random(seed))
        for record in records:
            disk.apply(record)
        found.update({digest(image): image for image in disk.images()})
    return list(found.values())


CREATED = (did("C", ""), did("S", "."))


def test_what_is_synced_is_there() -> None:
    """After a sync there is one image only."""
    assert images(*CREATED, wrote("", 0, b"abc"), wrote("", 1, b"x"), did("S", "")) == [{"": b"axc"}]


def test_what_is_not_synced_is_there_or_not() -> None:
    """Each write, in any combination; a gap holds zeros."""
    found = {image[""] for image in images(*CREATED, wrote("", 0, b"ab"), wrote("", 4, b"cd"))}
    assert found == {b"", b"ab", b"ab\0\0cd", b"\0\0\0\0cd"}


def test_the_last_write_may_be_torn() -> None:
    """At a sector, and either side of the tear may be there."""
    found = {image[""] for image in images(*CREATED, did("T", "", size=1024), did("S", ""), wrote("", 0, b"x" * 1024))}
    assert found == {b"\0" * 1024, b"x" * 1024, b"x" * 512 + b"\0" * 512, b"\0" * 512 + b"x" * 512}


def test_a_cut_is_a_write() -> None:
    """A file may have been cut or not."""
    calls = (*CREATED, wrote("", 0, b"abcd"), did("S", ""), did("T", "", size=2))
    assert {image[""] for image in images(*calls)} == {b"abcd", b"ab"}


def test_names_are_there_once_their_folder_is_synced() -> None:
    """A new file may be missing although its content was synced; one that was removed may be there with its content."""
    new = (*CREATED, did("C", "-wal"), wrote("-wal", 0, b"w"), did("S", "-wal"))
    assert {frozenset(image) for image in images(*new)} == {frozenset([""]), frozenset(["", "-wal"])}
    gone = (*new, did("S", "."), did("U", "-wal"))
    assert {image.get("-wal") for image in images(*gone)} == {b"w", None}
    assert {image.get("-wal") for image in images(*gone, did("S", "."))} == {None}


def test_a_renamed_file_is_in_one_place() -> None:
    """It has the old name or the new one, never both, never none."""
    calls = (*CREATED, did("C", ".part"), wrote(".part", 0, b"p"), did("S", ".part"), did("S", "."))
    found = images(*calls, did("R", ".part", data=b".copy"))
    assert [set(image) for image in found] == [{"", ".part"}, {"", ".copy"}]
    assert found[1][".copy"] == b"p"


def test_a_log_can_be_read_again() -> None:
    """What was written as a log is read as it was."""
    records = [did("C", "-wal"), wrote("-wal", 2**40, b"abc"), did("R", ".part", data=b".copy")]
    assert list(read_log(write_log(records))) == records


def _lines(records: list[Record]) -> Iterator[Record]:
    for record in records:
        if not (record.kind == "S" and record.name == "-wal"):
            yield record


async def test_a_recorded_run_keeps_its_promises(tmp_path: Path) -> None:
    """Power losses in a small run that was recorded once: today's store opens each image, and nothing is lost."""
    records = list(read_log(lzma.decompress(RECORDED.read_bytes())))
    verdict = await judge(records, tmp_path, "full", share=0.02)
    assert verdict.broken == []
    assert verdict.images > 10


async def test_a_log_without_syncs_breaks_promises(tmp_path: Path) -> None:
    """The same run, had it never synced its commits: acknowledged operations are found to be missing."""
    records = list(_lines(list(read_log(lzma.decompress(RECORDED.read_bytes())))))
    verdict = await judge(records, tmp_path, "full", share=0.02)
    assert [text for text in verdict.broken if text.startswith("lost: ")]
