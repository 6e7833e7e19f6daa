"""Looking at tasks and nurseries from inside: the same program tells the same under trio and under a kernel."""

from __future__ import annotations

import contextvars
import types
from types import ModuleType, SimpleNamespace
from typing import Any

import trio
import trio.lowlevel

from tests.kernel.helpers import finish
from trioflow import durable
from trioflow._util import TASK_STATUS_IGNORED

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("MARK", default="unset")


async def tell(lib: ModuleType | SimpleNamespace) -> list[Any]:
    """Everything there is to see of a task and a nursery, in each stage of their lives."""
    told: list[Any] = []
    main = lib.lowlevel.current_task()
    seen: dict[str, Any] = {}

    async def inner(event: Any) -> None:
        await event.wait()

    async def child(event: Any) -> None:
        async with lib.open_nursery() as own:
            seen["own"] = own
            MARK.set("child")
            await inner(event)

    async def server(event: Any, *, task_status: Any = TASK_STATUS_IGNORED) -> None:
        task = seen["server"] = lib.lowlevel.current_task()
        told.append((task.parent_nursery is nursery, task.eventual_parent_nursery is nursery))
        task_status.started()
        told.append((task.parent_nursery is nursery, task.eventual_parent_nursery))
        await event.wait()

    told.append((main.child_nurseries, main.eventual_parent_nursery))
    async with lib.open_nursery() as nursery:
        told.append((main.child_nurseries == [nursery], nursery.parent_task is main, len(nursery.child_tasks)))
        event = lib.Event()
        nursery.start_soon(child, event)
        (task,) = nursery.child_tasks
        told.append((task.name.rpartition(".")[2], task.child_nurseries, isinstance(task.coro, types.CoroutineType)))
        await nursery.start(server, event)
        told.append((seen["server"] in nursery.child_tasks, len(nursery.child_tasks)))
        told.append((task.parent_nursery is nursery, task.child_nurseries == [seen["own"]]))
        told.append((task.context[MARK], MARK.get(), seen["own"].parent_task is task))
        frames = [frame.f_code.co_name for frame, line in task.iter_await_frames() if line > 0]
        told.append((frames[:3], frames[-1] == "wait_task_rescheduled" or "wait_task_rescheduled" in frames))
        task.custom_sleep_data = "mine"
        event.set()
    told.append((main.child_nurseries, len(nursery.child_tasks), list(task.iter_await_frames())))
    told.append((task.parent_nursery is nursery, nursery.parent_task is main, task.child_nurseries))
    return told


def test_tasks_and_nurseries_tell_what_they_tell_in_trio() -> None:
    """Names, coroutines, contexts, frames, and who is whose parent: before, while and after."""
    assert finish(tell, durable) == trio.run(tell, trio)


def test_no_name_is_missing() -> None:
    """Whatever trio's tasks and nurseries show, ours do."""
    pairs = [(trio.lowlevel.Task, durable.lowlevel.Task), (trio.Nursery, durable.Nursery)]
    for theirs, ours in pairs:
        missing = [name for name in dir(theirs) if not name.startswith("_") and not hasattr(ours, name)]
        assert not missing
