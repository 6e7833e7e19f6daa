"""The workloads whose operations are counted, and the counting.

Laws: trio's clock stands still, so nothing happens because time has passed; what is counted does not depend on the
machine. Who calls it: the tests beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import attrs
import pytest
import trio
import trio.testing

import trioflow
from trioflow import durable
from trioflow._kernel import Kernel
from trioflow.abc import LockActivities, LockTurns, LockedActivities, LockedTurns, Store
from trioflow.testing import FaultyStore

app = trioflow.App("guards")


@app.activity
async def echo(value: int) -> int:
    """Give the argument back."""
    return value


@app.orchestration
async def chain(steps: int) -> None:
    """Activities one after another."""
    for step in range(steps):
        await echo(step)


@app.orchestration
async def fan(width: int) -> None:
    """Activities all at once."""
    await durable.gather(*(echo(number) for number in range(width)))


@app.orchestration
async def listen(count: int) -> None:
    """Take events one by one."""
    for _ in range(count):
        await durable.wait_event("tick", int)


async def run_one(client: trioflow.Client, name: str, size: int, id: str = "one") -> None:
    """Start one and wait for its end."""
    handle = await client.start(name, size, id=id)
    await handle.result()


async def run_twenty(client: trioflow.Client, name: str, size: int) -> None:
    """Twenty at the same time."""
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run_one, client, name, size, f"one-{number}")


async def raise_events(client: trioflow.Client, name: str, size: int) -> None:
    """Start one and raise its events, each after the one before it was kept."""
    handle = await client.start(name, size, id="one")
    for number in range(size):
        await handle.raise_event("tick", number)
    await handle.result()


@attrs.define
class Counts:
    """What a workload took."""

    calls: dict[str, int] = attrs.field(factory=dict)  # of the store, by verb
    transactions: int = 0  # of SQLite, that wrote
    steps: int = 0  # of the kernel
    encoded: int = 0  # bytes of all histories


class Watched(FaultyStore):
    """A store that tells when whoever opened a runtime on it has been told that there is nothing to do."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looked = {verb: trio.Event() for verb in ("lock_turns", "lock_activities")}

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """A look for turns."""
        answer = await super().lock_turns(request)
        self.looked["lock_turns"].set()
        return answer

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """A look for activities."""
        answer = await super().lock_activities(request)
        self.looked["lock_activities"].set()
        return answer

    async def at_rest(self) -> None:
        """Wait until the first looks were answered, and nothing came of them."""
        for looked in self.looked.values():
            await looked.wait()
        await trio.testing.wait_all_tasks_blocked()


async def count(
    store: Store, workload: Callable[[trioflow.Client, str, int], Awaitable[None]], name: str, size: int
) -> Counts:
    """Run a workload on an empty store and count."""
    counts, counting = Counts(), Watched(store)
    async with trioflow.open_runtime(app, counting) as runtime:
        with pytest.MonkeyPatch.context() as patch, _transactions(counting, counts):
            await counting.at_rest()
            before = dict(counting.calls)
            _count_steps(patch, counts)
            await workload(runtime.client, name, size)
            made = {verb: calls - before.get(verb, 0) for verb, calls in counting.calls.items()}
            counts.calls = {verb: calls for verb, calls in made.items() if calls}
        async for info in runtime.client.list():
            rows = await store.read_history(info.id, info.execution)
            counts.encoded += sum(len(row.data) + len(row.payload or b"") for row in rows)
    return counts


@contextlib.contextmanager
def _transactions(store: Store, counts: Counts) -> Iterator[None]:
    def committed(operations: int, seconds: float) -> None:
        counts.transactions += 1

    store.signals.on_commit.append(committed)
    yield
    store.signals.on_commit.remove(committed)


def _count_steps(patch: pytest.MonkeyPatch, counts: Counts) -> None:
    step = Kernel._step

    def counted(self: Kernel, task: object) -> None:
        counts.steps += 1
        step(self, task)  # type: ignore[arg-type]

    patch.setattr(Kernel, "_step", counted)
