"""A process that works a SQLite store through its verbs and notes in a file beside it what it asked and was answered.

Usage: python -m tests.crash_images.workload PATH full|fast|sabotaged TASKS ROUNDS

A note is a line of JSON in PATH.ack, written before a verb is called (``{"n": 1, "fact": [...]}``: what will be true
once it has happened) and after it has answered (``{"n": 1}``). Everything that is written can be accounted for
afterwards: see `account.py`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from trioflow.abc import (
    Capabilities,
    CommitActivities,
    CommitTurn,
    Draft,
    EventRow,
    LockActivities,
    LockTurns,
    NewActivity,
    OutMessage,
    PostMessage,
    SettleActivity,
    StartInstance,
    State,
    TagFilter,
)
from trioflow.stores import SqliteStore
from trioflow.stores._sqlite import _database
from trioflow.stores._verbs import StoreVerbs

LIVES = 3  # times the store is opened


class NeverSynced(sqlite3.Connection):
    """A connection that says it syncs its commits, and does not."""

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text.startswith("PRAGMA synchronous"):
            super().execute("PRAGMA synchronous = OFF")
            text = "SELECT 2"
        return super().execute(text, *values)


def connect_unsynced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """For the store's `connect`."""
    return sqlite3.connect(*args, factory=NeverSynced, **kwargs)


class Marks:
    """The file beside the database."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._count = 0

    @asynccontextmanager
    async def around(self, *fact: object) -> AsyncIterator[None]:
        """Around a verb: once it has answered, this is a fact."""
        self._count += 1
        number = self._count
        self._write({"n": number, "fact": fact})
        yield
        self._write({"n": number})

    def _write(self, mark: dict[str, object]) -> None:
        os.write(self._fd, json.dumps(mark).encode() + b"\n")


@attrs.define(eq=False)
class Task:
    """One client and worker in one: it starts instances, and runs what it has started."""

    store: StoreVerbs
    marks: Marks
    name: str
    lease: float = 3600.0  # seconds

    async def round(self, number: int) -> None:
        """An instance, two notes to it, a turn, an activity, and a turn of the first instance, which gets mail."""
        instance = f"{self.name}/{number}"
        await self.start(instance)
        await self.post(instance, 1, b"")
        await self.post(instance, 2, b"x" * (3000 * (number % 4)))
        await self.turns()
        await self.activities()
        await self.turns()

    async def start(self, instance: str) -> None:
        """A new instance."""
        start = Draft("Started", f"start {instance}".encode())
        async with self.marks.around("request", f"start {instance}"):
            await self.store.start_instance(
                StartInstance(request_id=f"start {instance}", instance=instance, name=self.name, start=start)
            )

    async def post(self, instance: str, number: int, payload: bytes) -> None:
        """A note to an instance."""
        text = f"note {instance} {number}"
        message = OutMessage(instance=instance, draft=Draft("Note", text.encode(), payload), mailbox=True)
        async with self.marks.around("request", text):
            await self.store.post_message(PostMessage(request_id=text, message=message))

    async def turns(self) -> None:
        """Everything that is in an inbox becomes history; what is new in it schedules an activity and sends mail."""
        ours = Capabilities(orchestrations=((self.name, "1"),))
        locked = await self.store.lock_turns(LockTurns(worker=self.name, limit=2, lease=self.lease, can_run=ours))
        for turn in locked.turns:
            drafts = [message.draft for message in turn.messages]
            scheduled = turn.history_length + len(drafts) + 1
            fresh = any(draft.kind == "Started" for draft in drafts)
            drafts += [Draft("Scheduled", b"item")] * fresh
            rows = enumerate(drafts, turn.history_length + 1)
            events = tuple(EventRow(at, locked.now, d.kind, d.data, d.payload) for at, d in rows)
            item = NewActivity(event_id=scheduled, name="work", tag=self.name, data=b"", payload=b"")
            lock, revision = turn.lock, turn.revision + 1
            mail = OutMessage(
                instance=f"{self.name}/0", draft=Draft("Mail", f"mail {lock.instance} {revision}".encode())
            )
            commit = CommitTurn(
                request_id=f"turn {lock.instance} {revision}",
                lock=lock,
                revision=turn.revision,
                events=events,
                consumed=tuple(message.seq for message in turn.messages),
                state=State.WAITING,
                status=str(revision).encode(),
                kv_set={"revision": str(revision).encode()},
                activities=(item,) if fresh else (),
                messages=(mail,) if fresh else (),
            )
            async with self.marks.around("turn", lock.instance, revision):
                await self.store.commit_turn(commit)

    async def activities(self) -> None:
        """What is queued is done."""
        ours = TagFilter(untagged=False, tags=(self.name,))
        locked = await self.store.lock_activities(
            LockActivities(worker=self.name, limit=2, lease=self.lease, tags=ours)
        )
        for item in locked.activities:
            done = Draft("Done", f"done {item.lock.instance} {item.lock.event_id}".encode())
            async with self.marks.around("settled", item.lock.token):
                answer = await self.store.commit_activities(
                    CommitActivities(settle=(SettleActivity(lock=item.lock, message=done),))
                )
                assert not answer.lost


async def work(path: str, kind: str, tasks: int, rounds: int) -> None:
    """Several tasks at once, in several lives of the store."""
    marks = Marks(f"{path}.ack")
    options: dict[str, Any] = {"durability": "full" if kind == "sabotaged" else kind}
    if kind == "sabotaged":
        options["connect"] = connect_unsynced
    for life in range(LIVES):
        async with SqliteStore(path, **options) as store, trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(_live, Task(store, marks, f"t{number}"), range(life * rounds, (life + 1) * rounds))


async def _live(task: Task, rounds: range) -> None:
    for number in rounds:
        await task.round(number)


if __name__ == "__main__":
    _database.CHECKPOINT_BATCHES, _database.CHECKPOINT_ROWS = 4, 12  # many checkpoints in a short life
    trio.run(work, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
