"""Runs generated programs as orchestrations: each kind of node is one small function, found by table.

Who calls it: the worlds of this folder, through `staged`. Read next: `world.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Any

import attrs

from tests.canary import CANARY
from tests.generated.frames import Frame, Mail, Stage, block_of, nursery_of, step
from tests.generated.language import (
    Act,
    Again,
    Case,
    Catch,
    Child,
    Detach,
    Finally,
    Flag,
    Generate,
    Guarded,
    Many,
    Node,
    Nursery,
    Pipe,
    Saga,
    Say,
    Scope,
    Seq,
    Shield,
    Sleep,
    Spawn,
    Start,
    Take,
    Timeout,
)
from trioflow import durable
from trioflow._kernel import current_task

EXECUTIONS = 3  # that a program which continues as new has


def staged(case: Case) -> Stage:
    """A case as an application."""
    return Stage(case, play)


async def branch(frame: Frame, node: Node) -> Any:
    """The main function of a branch."""
    with frame.block.running(current_task().place):
        return await play(node, frame)


async def play(node: Node, frame: Frame) -> Any:
    """Run a part of a program."""
    return await _PLAYERS[type(node)](node, frame)


async def _act(node: Act, frame: Frame) -> Any:
    activity = frame.stage.act.options(on_cancel=node.on_cancel)
    value = await step(frame, lambda: activity(node.value, node.takes, node.fails, node.stops))
    if value != node.value * 10 or node.fails:
        frame.stage.complain(f"{node} returned {value}")
    return value


async def _sleep(node: Sleep, frame: Frame) -> Any:
    if node.until:
        return await step(frame, lambda: durable.sleep_until(frame.began + node.seconds))
    return await step(frame, lambda: durable.sleep(node.seconds))


def explode(value: int) -> int:
    """Recorded, and raises."""
    raise KeyError(value, CANARY)


async def _say(node: Say, frame: Frame) -> Any:
    value = node.value
    match node.what:
        case "checkpoint":
            return await step(frame, durable.lowlevel.checkpoint)
        case "record":
            return await step(frame, lambda: durable.record(int, value))
        case "explode":
            return await step(frame, lambda: durable.record(explode, value))
        case "raise":
            raise ValueError(value, CANARY)
        case "kv":
            durable.kv["k"] = durable.kv.get("k", 0) + value
            return durable.kv["k"]
        case "forget":
            return durable.kv.pop("k", None)
        case "status":
            return durable.set_status({"value": value, "song": CANARY})
        case "log":
            return durable.logger.info("%s", value)
    return {
        "random": durable.random,
        "uuid4": lambda: str(durable.uuid4()),
        "now": lambda: durable.current_time() - frame.began,
    }[node.what]()


async def _take(node: Take, frame: Frame) -> Any:
    mail = frame.room.mail.setdefault(node.name, Mail())
    ticket = object()
    mail.waiting.append(ticket)
    try:
        number = await step(frame, lambda: durable.wait_event(node.name, int))
        if mail.waiting[0] is not ticket or number <= mail.last:
            frame.stage.complain(f"event {node.name!r} {number} came out of turn")
        mail.last = number
    finally:
        mail.waiting.remove(ticket)
    return number


async def _flag(node: Flag, frame: Frame) -> Any:
    flag = frame.room.flags[node.number]
    return await step(frame, flag.wait) if node.wait else flag.set()


async def _detach(node: Detach, frame: Frame) -> Any:
    await step(frame, lambda: durable.start_detached(frame.stage.nothing))


async def _again(node: Again, frame: Frame) -> Any:
    if frame.generation < EXECUTIONS:
        durable.continue_as_new(frame.key, frame.generation + 1)
    return frame.generation


async def _child(node: Child, frame: Frame) -> Any:
    key = next(index for index, program in enumerate(frame.stage.children) if program is node.program)
    child = frame.stage.whole.options(on_cancel=node.on_cancel)
    return await step(frame, lambda: child(key, 1))


async def _seq(node: Seq, frame: Frame) -> Any:
    return [await play(part, frame) for part in node.parts]


async def _nursery(node: Nursery, frame: Frame) -> Any:
    async with nursery_of(frame) as inside:
        assert inside.nursery is not None
        for part in node.parts:
            inside.nursery.start_soon(branch, inside, part)
        return await play(node.body, inside)


async def _spawn(node: Spawn, frame: Frame) -> Any:
    target = frame.up(node.up)
    if target is not None:
        assert target.nursery is not None
        target.nursery.start_soon(branch, target, node.part)


async def _start(node: Start, frame: Frame) -> Any:
    target = frame.up(node.up)
    if target is None:
        return None
    nursery = target.nursery
    assert nursery is not None

    async def started(task_status: durable.TaskStatus[int]) -> None:
        place = current_task().place
        with frame.block.running(place), durable.CancelScope() if node.scoped else nullcontext() as scope:
            await play(node.before, frame if scope is None else frame.within(scope))
            task_status.started(7)
            if current_task().parent_nursery is nursery:
                frame.block.leave(place)
                with target.block.running(place):
                    await play(node.after, target if scope is None else target.within(scope))
            else:  # the call is cancelled: it stays
                await play(node.after, frame if scope is None else frame.within(scope))

    return await nursery.start(started)


async def _many(node: Many, frame: Frame) -> Any:
    with block_of(frame) as block:
        # The nursery of these is their own: nobody spawns into it.
        inside = attrs.evolve(frame, block=block)
        if node.verb == "map":
            return await durable.map(partial(branch, inside), node.parts, limit=node.limit)
        work = [branch(inside, part) for part in node.parts]
        return await (durable.gather(*work) if node.verb == "gather" else durable.race(*work))


async def _timeout(node: Timeout, frame: Frame) -> Any:
    verbs: dict[str, Callable[[float], Any]] = {
        "move_on_after": durable.move_on_after,
        "fail_after": durable.fail_after,
        "move_on_at": lambda seconds: durable.move_on_at(frame.began + seconds),
        "fail_at": lambda seconds: durable.fail_at(frame.began + seconds),
    }
    with verbs[node.verb](node.seconds) as scope:
        return await play(node.part, frame.within(scope))
    return "too slow"


async def _shield(node: Shield, frame: Frame) -> Any:
    with durable.CancelScope(shield=True) as scope:
        return await play(node.part, frame.within(scope))


async def _scope(node: Scope, frame: Frame) -> Any:
    scope = durable.CancelScope(shield=node.change == "unshield")
    if node.change in ("later", "sooner"):
        scope.deadline = frame.began + 4
    change: dict[str, Callable[[], object]] = {
        "cancel": lambda: scope.cancel("on purpose"),
        "later": lambda: setattr(scope, "deadline", scope.deadline + 3),
        "sooner": lambda: setattr(scope, "deadline", durable.current_time()),
        "shield": lambda: setattr(scope, "shield", True),
        "unshield": lambda: setattr(scope, "shield", False),
    }

    async def meddle(inside: Frame) -> None:
        with inside.block.running(current_task().place):
            await step(inside, lambda: durable.sleep(node.after or 0))
            change[node.change]()

    async with nursery_of(frame) as inside:
        assert inside.nursery is not None
        if node.after is not None:
            inside.nursery.start_soon(meddle, inside)
        with scope:
            if node.after is None:
                change[node.change]()
            return await play(node.part, inside.within(scope))
        return f"caught: {scope.cancelled_caught}"


async def _finally(node: Finally, frame: Frame) -> Any:
    try:
        return await play(node.part, frame)
    finally:
        if node.shielded:
            await _shield(Shield(node.last), frame)
        else:
            await play(node.last, frame)


_CAUGHT: dict[str, type[BaseException]] = {
    "Exception": Exception,
    "Cancelled": durable.Cancelled,
    "BaseException": BaseException,
}


async def _catch(node: Catch, frame: Frame) -> Any:
    try:
        return await play(node.part, frame)
    except _CAUGHT[node.what] as exc:
        then = await play(node.then, frame)
        if node.reraise:
            raise
        return type(exc).__name__, then


async def _generate(node: Generate, frame: Frame) -> Any:
    async def generator() -> AsyncIterator[Any]:
        try:
            for part in node.parts:
                yield await play(part, frame)
        finally:
            await play(node.last, frame)

    values: list[Any] = []
    async with aclosing(generator()) as iterator:  # type: ignore[type-var]
        async for value in iterator:
            values.append(value)
            if len(values) == node.stop_after:
                break
    return values


async def _guarded(node: Guarded, frame: Frame) -> Any:
    guard, inside = frame.room.guards[node.kind], frame.room.inside
    await step(frame, guard.acquire)
    inside[node.kind] = inside.get(node.kind, 0) + 1
    try:
        if inside[node.kind] > 1:
            frame.stage.complain(f"two branches hold the {node.kind}")
        if node.kind == "condition":
            guard.notify()
            if node.waits:
                inside[node.kind] -= 1
                try:
                    await step(frame, guard.wait)
                finally:
                    inside[node.kind] += 1
        return await play(node.part, frame)
    finally:
        inside[node.kind] -= 1
        guard.release()


async def _saga(node: Saga, frame: Frame) -> Any:
    async with durable.saga() as saga:
        # Where that runs is shielded by the saga; a scope that is no scope of anything says so to the watch.
        saga.on_failure(play, node.undo, frame.within(durable.CancelScope(shield=True)))
        return await play(node.part, frame)


async def _pipe(node: Pipe, frame: Frame) -> Any:
    send, receive = durable.open_memory_channel[int](node.size)

    async def feed(inside: Frame) -> None:
        with inside.block.running(current_task().place), send:
            for number in range(node.count):
                await step(inside, partial(send.send, number))

    numbers: list[int] = []
    async with nursery_of(frame) as inside:
        assert inside.nursery is not None
        inside.nursery.start_soon(feed, inside)
        async with receive:
            async for number in receive:
                numbers.append(number)
                await play(node.part, inside)
    if numbers != list(range(node.count)):
        frame.stage.complain(f"{node} passed {numbers}")


_PLAYERS: dict[type[Any], Callable[[Any, Frame], Awaitable[Any]]] = {
    Act: _act,
    Sleep: _sleep,
    Say: _say,
    Take: _take,
    Flag: _flag,
    Detach: _detach,
    Again: _again,
    Child: _child,
    Seq: _seq,
    Nursery: _nursery,
    Spawn: _spawn,
    Start: _start,
    Many: _many,
    Timeout: _timeout,
    Shield: _shield,
    Scope: _scope,
    Finally: _finally,
    Catch: _catch,
    Generate: _generate,
    Guarded: _guarded,
    Saga: _saga,
    Pipe: _pipe,
}
