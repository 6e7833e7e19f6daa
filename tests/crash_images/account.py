"""What is found in an image of the disk, and whether it is what was promised.

Laws: an image is opened by the store first, as after a power loss; then each row is accounted for: whatever a
transaction writes in several places is there in all of them, exactly once, or in none. What was acknowledged is there
("full"); or what is there is what was written up to some moment ("fast"): what had been acknowledged before the
newest of it was asked for is there, too.

Who calls it: the tests beside it. What the workload writes is told in `workload.py`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.crash_images.images import MARKS, Record
from trioflow.stores import SqliteStore

Fact = tuple[object, ...]


@attrs.define
class Asked:
    """What the workload had asked for, and been answered, at some moment."""

    facts: dict[int, Fact] = attrs.field(factory=dict)  # by number, in the order in which they were asked
    known_before: dict[int, int] = attrs.field(factory=dict)  # by number: how many answers there were when it was asked
    answered: list[int] = attrs.field(factory=list)

    def read(self, record: Record) -> None:
        """Marks of the workload."""
        assert record.name == MARKS
        mark = json.loads(record.data)
        if "fact" in mark:
            self.facts[mark["n"]] = tuple(mark["fact"])
            self.known_before[mark["n"]] = len(self.answered)
        else:
            self.answered.append(mark["n"])


@attrs.frozen
class Found:
    """What an image holds."""

    requests: frozenset[str]
    settled: frozenset[str]
    revisions: dict[str, int]
    problems: tuple[str, ...]

    def holds(self, fact: Fact) -> bool:
        """Whether something has happened, as far as the image tells."""
        match fact:
            case ("request", str(request)):
                return request in self.requests
            case ("turn", str(instance), int(revision)):
                return self.revisions.get(instance, 0) >= revision
            case ("settled", str(token)):
                return token in self.settled
        raise AssertionError(fact)

    def broken_promises(self, asked: Asked, durability: str) -> list[str]:
        """What is wrong with this image."""
        there = [number for number, fact in asked.facts.items() if self.holds(fact)]
        count = len(asked.answered) if durability == "full" else 0
        count = max([count, *(asked.known_before[number] for number in there)])
        lost = set(asked.answered[:count]).difference(there)
        return [*self.problems, *(f"lost: {asked.facts[number]}" for number in sorted(lost))]


def lay_out(image: dict[str, bytes], folder: Path) -> Path:
    """Put the files of an image into an empty folder; the path of the database."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        (folder / f"x.db{name}").write_bytes(content)
    return folder / "x.db"


async def examine(path: Path, clock: Callable[[], float] | None = None) -> Found:
    """Open the store, as whoever comes first after the power is back, and look at everything."""
    async with SqliteStore(path, durability="fast", clock=clock) as store:
        await store.read_instance("t0/0")
        db = sqlite3.connect(path)
        try:
            return _look(db)
        finally:
            db.close()


def _look(db: sqlite3.Connection) -> Found:
    problems: list[str] = []
    for (text,) in db.execute("PRAGMA integrity_check"):
        if text != "ok":
            problems.append(f"integrity: {text}")
    requests = frozenset(request for (request,) in db.execute("SELECT request_id FROM request"))
    settled = frozenset(token for (token,) in db.execute("SELECT token FROM settled"))
    instances = db.execute("SELECT instance, revision, history_length, queued, mail FROM instance").fetchall()
    revisions = {instance: revision for instance, revision, *_ in instances}
    texts = Counter(
        bytes(data).decode() for (data,) in db.execute("SELECT data FROM message UNION ALL SELECT data FROM event")
    )
    scheduled = texts.pop("item", 0)
    problems += [f"twice: {text}" for text, count in texts.items() if count > 1]
    problems += _differences("a request and its message", requests, _texts(texts, "start ", "note "))
    # A first turn sends mail and schedules an item, which is queued until it is done.
    sent = frozenset(f"mail {instance} 1" for instance, revision in revisions.items() if revision)
    problems += _differences("a turn and its mail", sent, _texts(texts, "mail "))
    done = _texts(texts, "done ")
    queued = frozenset(f"done {row[0]} {row[1]}" for row in db.execute("SELECT instance, event_id FROM activity"))
    if done & queued or len(done | queued) != scheduled or scheduled != len(sent) or len(done) != len(settled):
        problems.append(f"items: {scheduled} scheduled, {len(queued)} queued, {len(done)} done, {len(settled)} settled")
    problems += _differences(
        "an instance and its start",
        frozenset(revisions),
        frozenset(request.removeprefix("start ") for request in requests if request.startswith("start ")),
    )
    for instance, revision, length, queue, mail in instances:
        ids = [event for (event,) in db.execute("SELECT id FROM event WHERE instance = ? ORDER BY id", (instance,))]
        (kept,) = db.execute("SELECT count(*), ifnull(sum(mailbox), 0) FROM message WHERE instance = ?", (instance,))
        values = db.execute(
            "SELECT value FROM kv WHERE instance = ? UNION ALL SELECT value FROM status WHERE instance = ?",
            (instance, instance),
        ).fetchall()
        if ids != list(range(1, length + 1)) or kept != (queue, mail):
            problems.append(f"{instance}: events {ids} of {length}, messages {kept} of {(queue, mail)}")
        if values != [(str(revision).encode(),)] * (2 if revision else 0):
            problems.append(f"{instance}: values {values} at revision {revision}")
    return Found(requests, settled, revisions, tuple(problems))


def _texts(texts: Counter[str], *beginnings: str) -> frozenset[str]:
    return frozenset(text for text in texts if text.startswith(beginnings))


def _differences(what: str, one: frozenset[str], other: frozenset[str]) -> list[str]:
    return [f"{what}: {text} on one side only" for text in sorted(one ^ other)]
