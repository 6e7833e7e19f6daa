"""Dropping an execution that waits: whatever its code does with that, no verb acts, and nothing is left."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest

from tests.engine.driving import START, define
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow._kernel import Dropped
from trioflow.app import App
from trioflow.history import OrchestrationStarted

app = App("dropping")
ran: list[str] = []
"""Definitions that ran plainly: none may."""


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    ran.append("step")
    return value


@app.activity
def plain(value: int = 0) -> int:
    """Never runs here."""
    ran.append("plain")
    return value


@app.orchestration
async def child(value: int = 0) -> int:
    """Never runs here."""
    ran.append("child")
    return value


@attrs.define
class Seen:
    """What a program noted."""

    dropped: list[str] = attrs.field(factory=list)  # verbs that were refused
    acted: list[str] = attrs.field(factory=list)  # verbs that went through
    refs: list[weakref.ref[Any]] = attrs.field(factory=list)

    def watch(self, thing: object) -> None:
        """It should be gone in the end."""
        self.refs.append(weakref.ref(thing))


async def _shielded() -> None:
    with durable.CancelScope(shield=True):
        await step()


async def _nursery() -> None:
    async with durable.open_nursery() as nursery:
        nursery.start_soon(step)


async def _kv() -> None:
    durable.kv["key"] = 1


async def _called(fn: Callable[[], object]) -> None:
    fn()


def _verbs() -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that could be tried while unwinding; made while it is still alive."""
    lock, event, condition = durable.Lock(), durable.Event(), durable.Condition()
    semaphore, limiter = durable.Semaphore(1), durable.CapacityLimiter(1)
    send, receive = durable.open_memory_channel[int](1)
    return {
        "activity": step,
        "plain activity": plain,
        "child": lambda: child(),
        "sleep": lambda: durable.sleep(1),
        "wait_event": lambda: durable.wait_event("name"),
        "event": event.wait,
        "lock": lock.acquire,
        "semaphore": semaphore.acquire,
        "limiter": limiter.acquire,
        "condition": condition.acquire,
        "send": lambda: send.send(1),
        "receive": receive.receive,
        "nursery": _nursery,
        "shielded": _shielded,
        "gather": lambda: durable.gather(step(), step),
        "race": lambda: durable.race(step(), step),
        "map": lambda: durable.map(step, [1, 2], limit=1),
        "record": lambda: durable.record(int),
        "start_detached": lambda: durable.start_detached(child),
        "checkpoint": durable.lowlevel.checkpoint,
        "kv": _kv,
        "status": lambda: _called(lambda: durable.set_status(1)),
        "logger": lambda: _called(lambda: durable.logger.error("never")),
        "patched": lambda: _called(lambda: durable.patched("change")),
        "continue_as_new": lambda: _called(lambda: durable.continue_as_new()),
        "wait_event_nowait": lambda: _called(lambda: durable.wait_event_nowait("name")),
    }


async def try_everything(seen: Seen, verbs: dict[str, Callable[[], Awaitable[object]]]) -> None:
    """What a `finally` may do."""
    for name, verb in verbs.items():
        try:
            await verb()
        except Dropped:
            seen.dropped.append(name)
        else:
            seen.acted.append(name)


# -- shapes -----------------------------------------------------------------------------------------------------------


async def in_finally(seen: Seen) -> None:
    verbs = _verbs()
    try:
        await step()
    finally:
        await try_everything(seen, verbs)


async def in_except(seen: Seen) -> None:
    verbs = _verbs()
    try:
        await step()
    except BaseException:
        await try_everything(seen, verbs)
        raise


async def swallowed(seen: Seen) -> int:
    verbs = _verbs()
    for _ in range(5):
        try:
            await step()
        except BaseException:
            await try_everything(seen, verbs)
    return 1


async def raised_anew(seen: Seen) -> None:
    verbs = _verbs()
    try:
        await step()
    finally:
        await try_everything(seen, verbs)
        raise KeyError


async def returned(seen: Seen) -> int:
    verbs = _verbs()
    try:
        await step()
    finally:
        await try_everything(seen, verbs)
        return 1


async def in_a_generator(seen: Seen) -> None:
    verbs = _verbs()

    async def generator() -> AsyncIterator[int]:
        try:
            yield await step()
        finally:
            await try_everything(seen, verbs)

    async with contextlib.aclosing(generator()) as items:  # type: ignore[type-var]
        async for _ in items:
            pass


async def behind_a_yield(seen: Seen) -> None:
    verbs = _verbs()

    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await try_everything(seen, verbs)

    async with contextlib.aclosing(generator()) as items:  # type: ignore[type-var]
        async for _ in items:
            await step()


async def in_context_managers(seen: Seen) -> None:
    verbs = _verbs()

    @contextlib.asynccontextmanager
    async def managed() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await try_everything(seen, verbs)

    @contextlib.contextmanager
    def sync() -> Iterator[None]:
        try:
            yield
        finally:
            with pytest.raises(Dropped):
                durable.set_status("never")

    with sync(), durable.move_on_after(50):
        async with managed():
            await step()


async def in_branches(seen: Seen) -> None:
    async def branch(task_status: Any = durable.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        seen.watch(durable.lowlevel.current_task())
        await in_finally(seen)

    async with durable.open_nursery() as outer:
        await outer.start(branch)
        try:
            with durable.move_on_after(50):
                async with durable.open_nursery() as nursery:
                    nursery.start_soon(branch)
                    nursery.start_soon(in_except, seen)
        finally:
            await in_finally(seen)


async def half_way(seen: Seen) -> None:
    """Combinators with some branches waiting and some not begun."""
    async with durable.open_nursery() as nursery:
        nursery.start_soon(lambda: durable.gather(in_finally(seen), step))
        nursery.start_soon(lambda: durable.race(in_finally(seen), step()))
        nursery.start_soon(lambda: durable.map(lambda _: in_finally(seen), range(5), limit=2))


async def at_everything(seen: Seen) -> None:
    """Blocked in each kind of waiting."""
    send, _receive = durable.open_memory_channel[int](0)
    held, condition = durable.Lock(), durable.Condition()
    await held.acquire()

    async def notified() -> None:
        async with condition:
            await condition.wait()

    async with durable.open_nursery() as nursery:
        for verb in (held.acquire, durable.Event().wait, durable.sleep_forever, child, notified):
            nursery.start_soon(verb)
        nursery.start_soon(send.send, 1)
        nursery.start_soon(durable.wait_event, "name")
        nursery.start_soon(durable.start_detached, child)
        await in_finally(seen)


async def after_errors(seen: Seen) -> None:
    """Errors that were caught before leave no cycle behind either."""

    def explode() -> int:
        raise KeyError

    try:
        await durable.record(explode)
    except KeyError:
        pass
    with durable.CancelScope() as scope:
        scope.cancel()
        await step()
    await in_finally(seen)


SHAPES = [
    in_finally,
    in_except,
    swallowed,
    raised_anew,
    returned,
    in_a_generator,
    behind_a_yield,
    in_context_managers,
    in_branches,
    half_way,
    at_everything,
    after_errors,
]


DEFINITIONS: list[object] = []
"""Kept, since an app is made of cycles."""


def begun(program: Callable[[Seen], Any], seen: Seen) -> Execution:
    """An execution that waits."""

    async def whole() -> None:
        seen.watch(durable.lowlevel.current_task())
        await program(seen)

    definition = define(whole)
    DEFINITIONS.append(definition)
    execution = Execution(app, definition)
    started = OrchestrationStarted(instance="i", name="whole", payload=b"{}", seed="5eed")
    result = execution.run([Message(1, START, started)], START)
    assert not result.ended
    seen.watch(execution)
    seen.watch(execution.kernel)
    return execution


@pytest.mark.parametrize("program", SHAPES)
def test_nothing_acts_and_nothing_is_left(program: Callable[[Seen], Any]) -> None:
    """Every verb is refused, in every shape of cleanup; no event, action, log or change comes of it; no cycle stays."""
    seen = Seen()
    gc.collect()
    gc.disable()
    try:
        execution = begun(program, seen)
        length = execution.length
        execution.close()
        assert seen.acted == ran == []
        assert seen.dropped
        host = execution._host
        assert execution._journal.take_turn() == ((), (), ())
        assert (execution.length, host.changed_kv, host.changed_status) == (length, {}, None)
        assert app.undead == []
        del execution, host
        assert [ref() for ref in seen.refs if ref() is not None] == []
        assert gc.collect() == 0
    finally:
        gc.enable()


async def fails() -> None:
    durable.lowlevel.current_task()
    raise KeyError


async def fails_with_its_saga() -> None:
    async with durable.saga() as saga:
        saga.on_failure(fails)
        await fails()


@pytest.mark.parametrize("program", [fails, fails_with_its_saga])
def test_an_execution_that_failed_leaves_no_cycle(program: Callable[[], Any]) -> None:
    """The error that ended it is in the history; the exception itself, whose traceback leads back, is let go."""
    definition = define(program)
    gc.collect()
    gc.disable()
    try:
        execution = Execution(app, definition)
        started = OrchestrationStarted(instance="i", name=definition.name, payload=b"{}", seed="5eed")
        assert execution.run([Message(1, START, started)], START).ended
        kernel = weakref.ref(execution.kernel)
        execution.close()
        del execution
        assert kernel() is None
        assert gc.collect() == 0
    finally:
        gc.enable()
