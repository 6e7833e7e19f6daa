"""The real runtime for generated programs: a store in memory, virtual time, and crashes at named moments.

Laws: what outlives a crash is the store and nothing else; after a crash time passes until every lease has run out, and
another runtime goes on. When nothing more would happen, events are raised, then all is cancelled, then terminated.
Who calls it: `test_runtime.py`. Read next: `invariants.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
import trio

import trioflow
from tests.generated.frames import Stage
from tests.generated.language import Case
from tests.generated.playing import staged
from trioflow._engine import Execution
from trioflow.app import App
from trioflow.errors import StoreUnavailable
from trioflow.history import ChildScheduled, DetachedScheduled, Event, OrchestrationStarted
from trioflow.stores import MemoryStore
from trioflow.testing import Crash, FailpointEnv, FaultyStore

ROOT = "root"
EPOCH = 1_700_000_000.0
LEASES = 100.0  # seconds after which no lease of a crashed runtime is left
PATIENCE = 60.0  # seconds after which a case is believed to wait for something from outside

R = TypeVar("R")


@attrs.frozen
class Plan:
    """How a case is run: crashes at the nth moment of each runtime, and the options of all."""

    crashes: tuple[int, ...] = ()
    fuse: bool = True
    born_leased: bool = True
    cached: int = 2_000

    @property
    def options(self) -> trioflow.RuntimeOptions:
        """For every runtime."""
        return trioflow.RuntimeOptions(
            fuse=self.fuse, born_leased=self.born_leased, cache_executions=self.cached, slow_turn=None
        )


@attrs.define(eq=False)
class Ran:
    """One run of a case."""

    case: Case
    plan: Plan
    stage: Stage = attrs.field(init=False)
    store: MemoryStore = attrs.field(init=False)
    histories: dict[tuple[str, int], list[Event]] = attrs.field(factory=dict)  # by instance and execution
    _offset: float = EPOCH
    _raised: int = 0

    def __attrs_post_init__(self) -> None:
        self.stage = staged(self.case)
        self.store = MemoryStore(clock=lambda: self._offset + trio.current_time())

    async def run(self) -> None:
        """To the end, and read what was written."""
        async with trioflow.connect(self.store, self.stage.app) as client:
            await client.start(self.stage.whole, None, 1, id=ROOT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._bring, client)
                for nth in self.plan.crashes:
                    await self._crash(nth)
                async with trioflow.open_runtime(self.stage.app, self.store, options=self.plan.options):
                    ended: list[str] = []  # what ends one may begin another
                    while going := [instance for instance in await self._family(client) if instance not in ended]:
                        await self._end(client, going[0])
                        ended.append(going[0])
                nursery.cancel_scope.cancel()
            for instance in await self._family(client):
                last = (await client.get(instance)).execution
                for execution in range(1, last + 1):
                    self.histories[instance, execution] = await client.history(instance, execution=execution)

    async def _bring(self, client: trioflow.Client) -> None:
        """What comes from outside, in its order."""
        began = trio.current_time()
        for happening in sorted(self.case.outside, key=lambda happening: happening.after):
            await trio.sleep_until(began + happening.after)
            await self._happen(client, ROOT, happening.what)

    async def _happen(self, client: trioflow.Client, instance: str, what: str) -> None:
        self._raised += 1
        try:
            match what:
                case "cancel":
                    await client.cancel(instance, reason="by a client")
                case "terminate":
                    await client.terminate(instance, reason="the end")
                case _:
                    await client.raise_event(instance, what, self._raised)
        except trioflow.InstanceFinished:
            pass

    async def _crash(self, nth: int) -> None:
        """A runtime that dies at its nth moment, or leaves when the root has ended before."""
        mortal = FaultyStore(self.store)

        def die() -> None:
            mortal.dead = True
            raise Crash

        env = FailpointEnv().at(None, die, nth=nth)
        try:
            async with trioflow.open_runtime(self.stage.app, mortal, options=self.plan.options, env=env):
                with trio.move_on_after(PATIENCE):
                    await trio.sleep_forever()
        except* (Crash, StoreUnavailable):
            pass
        self._offset += LEASES

    async def _family(self, client: trioflow.Client) -> list[str]:
        """All instances, each behind the one that began it."""
        found = [ROOT]
        for instance in found:
            record = await self.store.read_instance(instance)
            for execution in range(1, (record.execution if record is not None else 0) + 1):
                for event in await client.history(instance, execution=execution):
                    if isinstance(event, ChildScheduled | DetachedScheduled) and event.instance not in found:
                        found.append(event.instance)
        return found

    async def _end(self, client: trioflow.Client, instance: str) -> None:
        """Wait for the end of an instance, and help where it takes too long."""
        for what in (None, *"abab", "cancel", "terminate"):
            if what is not None:
                await self._happen(client, instance, what)
            with trio.move_on_after(PATIENCE):
                try:
                    await client.handle(instance).result()
                except trioflow.TrioflowError:
                    return
                return
        raise AssertionError(f"{instance} does not end")


def in_virtual_time(fn: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run an async function under trio, on a clock that jumps."""
    return trio.run(fn, clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=True)


def run_case(case: Case, plan: Plan) -> Ran:
    """Run a case to its end."""
    ran = Ran(case, plan)
    in_virtual_time(ran.run)
    return ran


def evaluated_again(app: App, history: list[Event]) -> list[Event]:
    """The history that the engine makes of the events that were delivered in another one."""
    started = history[0]
    assert isinstance(started, OrchestrationStarted)
    live = Execution(app, app.find_orchestration(started.name, started.version))
    try:
        for event in history:
            if event.delivered:
                live._step_live(event, event.at)
        return list(live._journal.take_turn()[0])
    finally:
        live.close()
