"""The machine that is switched off again and again: the shim, the recording of a run, and the judgement of its images.

Who calls it: the tests beside it.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio

from tests.crash_images.account import Asked, Found, examine, lay_out
from tests.crash_images.images import MARKS, Disk, Record, concerns_the_database, digest, read_log
from trioflow.errors import StoreError

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("shim.c")


def build_shim(folder: Path) -> Path:
    """Compile the shim."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "These tests compile tests/crash_images/shim.c: install a C compiler (`apt install gcc`)."
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True, timeout=60)
    return library


def environment(shim: Path, database: Path, log: Path | None = None) -> dict[str, str]:
    """What makes a process run on the shim."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(shim), "TRIOFLOW_SHIM_PREFIX": str(database)}
    return env if log is None else {**env, "TRIOFLOW_SHIM_LOG": str(log)}


def record(shim: Path, folder: Path, kind: str, tasks: int, rounds: int) -> list[Record]:
    """Run the workload and give what it did to its files."""
    database, log = folder / "run" / "x.db", folder / "log"
    database.parent.mkdir()
    command = [sys.executable, "-m", "tests.crash_images.workload", str(database), kind, str(tasks), str(rounds)]
    subprocess.run(command, cwd=ROOT, env=environment(shim, database, log), check=True, timeout=120)
    return list(read_log(log.read_bytes()))


def moments(records: list[Record], seed: int, share: float) -> Iterator[tuple[Asked, list[dict[str, bytes]]]]:
    """The images of a run, after a share of its calls, and also before what is more than a write."""
    rng = random.Random(seed)
    disk, asked = Disk(rng), Asked()
    for call in records:
        if call.name == MARKS:
            if call.kind == "W":
                asked.read(call)
        elif concerns_the_database(call):
            looked_at = rng.random() < share
            if looked_at and call.kind != "W":
                yield asked, list(disk.images())
            disk.apply(call)
            if looked_at:
                yield asked, list(disk.images())


@attrs.define
class Verdict:
    """What came of the images of a run."""

    images: int = 0  # different ones
    lossy: int = 0  # of these, how many lack something that was asked for
    broken: list[str] = attrs.field(factory=list)

    def __str__(self) -> str:
        return f"{self.images} images, {self.lossy} of them without the newest, {len(self.broken)} broken"


async def judge(records: list[Record], folder: Path, durability: str, *, share: float, seed: int = 1) -> Verdict:
    """Open every image and hold it against the promises."""
    verdict = Verdict()
    known: dict[bytes, Found | Exception] = {}
    for asked, images in moments(records, seed, share):
        for image in images:
            name = digest(image)
            if name not in known:
                known[name] = await _opened(image, folder)
                verdict.images += 1
                await trio.lowlevel.checkpoint()
            found = known[name]
            if isinstance(found, Exception):
                verdict.broken.append(repr(found))
            else:
                verdict.broken += found.broken_promises(asked, durability)
                verdict.lossy += not all(map(found.holds, asked.facts.values()))
    return verdict


async def _opened(image: dict[str, bytes], folder: Path) -> Found | Exception:
    try:
        return await examine(lay_out(image, folder / "image"))
    except (StoreError, sqlite3.DatabaseError) as exc:
        return exc
