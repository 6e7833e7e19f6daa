"""The application whose instances the tests of management find, delete, prune and begin again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

import trioflow
from trioflow import durable


@attrs.define(eq=False)
class Yard:
    """An app, and a switch that makes its code one that no longer fits its histories."""

    app: trioflow.App = attrs.field(factory=lambda: trioflow.App("yard"))
    changed: bool = False


def make_yard() -> Yard:
    """Orchestrations that wait, end, continue as new, have children, or break when `changed`."""
    yard = Yard()
    app = yard.app

    @app.orchestration
    async def wait(name: str = "go") -> Any:
        """Waits for an event, and says in its status and kv that it does."""
        durable.set_status({"waits": name})
        durable.kv["name"] = name
        return await durable.wait_event(name)

    @app.orchestration
    async def echo(value: Any = None) -> Any:
        return value

    @app.orchestration
    async def fail(text: str) -> None:
        raise ValueError(text)

    @app.orchestration
    async def count(left: int, stay: bool = False) -> str:
        """As many executions as it is told, and one; then it waits or ends."""
        if left:
            durable.continue_as_new(left - 1, stay)
        if stay:
            await durable.wait_event("go")
        return "counted"

    @app.orchestration
    async def parent(child: str) -> str:
        """Waits for a child and tells how that ended."""
        try:
            return f"got {await wait.options(id=child)()}"
        except trioflow.ChildTerminated as exc:
            return f"terminated: {exc}"

    @app.orchestration
    async def leave(child: str) -> None:
        """Ends before its child does."""
        async with durable.open_nursery() as nursery:
            nursery.start_soon(wait.options(id=child, on_cancel="abandon", on_parent_close="abandon"))
            await durable.sleep(0)
            nursery.cancel_scope.cancel()

    @app.orchestration
    async def fragile() -> str:
        """Waits for another event once the code has changed."""
        await durable.wait_event("go")
        await durable.wait_event("changed" if yard.changed else "more")
        return "done"

    return yard


async def until_state(handle: trioflow.Handle[Any], *states: trioflow.State) -> trioflow.InstanceInfo:
    """Wait until an instance is in one of these states."""
    return await until_info(handle, lambda info: info.state in states)


async def until_info(
    handle: trioflow.Handle[Any], wanted: Callable[[trioflow.InstanceInfo], bool]
) -> trioflow.InstanceInfo:
    """Wait until an instance is there, and is as wanted."""
    with trio.fail_after(60):
        while True:
            with suppress(trioflow.InstanceNotFound):
                if wanted(info := await handle.info()):
                    return info
            await trio.lowlevel.checkpoint()


async def listed(client: trioflow.Client, filter: trioflow.InstanceFilter | None = None, **fields: Any) -> list[str]:
    """The ids in a list."""
    return [info.id async for info in client.list(filter, **fields)]
