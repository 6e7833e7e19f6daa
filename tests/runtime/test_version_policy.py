"""Which version runs what was started without one: the newest, or the one that `App.use_version` says."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import find, running
from trioflow import durable
from trioflow.abc import Store
from trioflow.history import OrchestrationStarted
from trioflow.testing import run_durable


def versions() -> trioflow.App:
    """Three versions of a job, which say their own, and others that begin it."""
    app = trioflow.App("versions")

    def define(number: str) -> None:
        @app.orchestration(name="job", version=number)
        async def job(left: int = 0) -> list[str]:
            mine = [*durable.kv.get("seen", []), durable.info().version]
            durable.kv["seen"] = mine
            await durable.wait_event("go") if left == 0 else None
            if left > 0:
                durable.continue_as_new(left - 1)
            return mine

    for number in ("1.0.0", "9.0.0", "10.0.0"):
        define(number)
    job = app.find_orchestration("job")

    @app.orchestration
    async def parent(version: str | None) -> Any:
        return await job.options(version=version, id=f"child-{version}")(-1)

    @app.orchestration
    async def starter(version: str | None) -> None:
        await durable.start_detached(job.options(version=version), -1, id=f"detached-{version}")

    return app


async def ran(client: trioflow.Client, *args: Any, **options: Any) -> Any:
    """What an instance that does not wait gives."""
    return await (await client.start(*args, **options)).result(timeout=20)


async def test_a_start_without_a_version_runs_what_the_app_uses(store: Store) -> None:
    """The newest by number, until something else is said, and again when that is taken back; an exact one always."""
    app = versions()
    async with running(app, store) as client:
        found = [await ran(client, "job", -1)]
        app.use_version("job", "9.0.0")
        found += [await ran(client, "job", -1), await ran(client, "job", -1, version="1.0.0")]
        app.use_version("job", None)
        found += [await ran(client, "job", -1)]
    assert found == [["10.0.0"], ["9.0.0"], ["1.0.0"], ["10.0.0"]]


async def begun(handle: trioflow.Handle[Any], execution: int) -> None:
    """Wait until an execution has had its first turn."""
    with trio.fail_after(60):
        while True:
            info = await handle.info()
            if info.execution == execution and info.version is not None:
                return
            await trio.sleep(0.01)


@pytest.mark.parametrize("begin", ["parent", "starter"])
async def test_children_and_detached_starts_follow_the_same_rule(begin: str, store: Store) -> None:
    """By the policy where they name no version, and as they say where they do."""
    app = versions()
    app.use_version("job", "9.0.0")
    async with running(app, store) as client:
        found = []
        for version in (None, "10.0.0"):
            result = await ran(client, begin, version)
            found.append(result if begin == "parent" else await client.handle(f"detached-{version}").result(timeout=20))
    assert found == [["9.0.0"], ["10.0.0"]]


async def test_an_execution_keeps_what_its_first_turn_took(store: Store) -> None:
    """Its version is recorded: a policy that changes meanwhile reaches the next execution, also over a cold replay."""
    app = versions()
    app.use_version("job", "1.0.0")
    async with running(app, store, cache_executions=0) as client:
        handle = await client.start("job", 1)
        await begun(handle, 2)
        app.use_version("job", "10.0.0")
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == ["1.0.0", "1.0.0"]
        started = (await handle.history())[0]
        assert isinstance(started, OrchestrationStarted)
        assert started.version == "1.0.0"


async def test_continue_as_new_is_where_a_version_is_changed(store: Store) -> None:
    """By the policy at that time, without anybody naming a version."""
    app = versions()

    @app.orchestration
    async def ever() -> list[str]:
        durable.kv["seen"] = [*durable.kv.get("seen", []), durable.info().version]
        if await durable.wait_event("next") != "end":
            durable.continue_as_new()
        return durable.kv["seen"]  # type: ignore[no-any-return]

    app.orchestration(name="ever", version="2.0.0")(ever.fn)
    app.use_version("ever", "1.0.0")
    async with running(app, store) as client:
        handle = await client.start("ever")
        await begun(handle, 1)
        for execution, version in enumerate(["1.0.0", "2.0.0", "1.0.0", None], start=2):
            app.use_version("ever", version)
            await handle.raise_event("next")
            await begun(handle, execution)
        await handle.raise_event("next", "end")
        assert await handle.result(timeout=20) == ["1.0.0", "1.0.0", "2.0.0", "1.0.0", "2.0.0"]


async def test_a_policy_changed_in_the_first_turn_does_not_split_it(store: Store) -> None:
    """What the code ran as is what is pinned, although the app says another thing by the time of the commit."""
    app = trioflow.App("hasty")

    @app.orchestration(name="job", version="1.0.0")
    async def old() -> str:
        app.use_version("job", "2.0.0")
        return f"old {await durable.wait_event('go')}"

    @app.orchestration(name="job", version="2.0.0")
    async def new() -> str:
        return "new"

    app.use_version("job", "1.0.0")
    async with running(app, store, cache_executions=0) as client:
        handle = await client.start("job")
        await begun(handle, 1)
        assert (await handle.info()).version == "1.0.0"
        await handle.raise_event("go", "well")
        assert await handle.result(timeout=20) == "old well"


async def test_run_durable_follows_it_too() -> None:
    """For children, and at continue-as-new."""
    app = versions()
    app.use_version("job", "9.0.0")
    assert await run_durable(find(app, "parent"), None) == ["9.0.0"]
    assert await run_durable(find(app, "parent"), "1.0.0") == ["1.0.0"]
