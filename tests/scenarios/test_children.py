"""Sub-orchestrations: calls, ids, versions, and every way a child may end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trioflow
from tests.runtime.programs import Probe, Rejected, running, until
from trioflow import State, durable
from trioflow.abc import Store


async def test_a_child_is_a_call(store: Store) -> None:
    """duroxide: sample_sub_orchestration_basic, _fanout, _chained: one, two joined, and root over mid over leaf."""
    app = trioflow.App("family")

    @app.activity
    async def upper(text: str) -> str:
        return text.upper()

    @app.orchestration
    async def leaf(text: str) -> str:
        return await upper(text)

    @app.orchestration
    async def mid(text: str) -> str:
        return f"{await leaf(text)}-mid"

    @app.orchestration
    async def root(text: str) -> list[str]:
        return [f"{await mid(text)}-root", *await durable.gather(leaf("a"), leaf("b"))]

    async with running(app, store) as client:
        handle = await client.start(root, "hi", id="root")
        assert await handle.result(timeout=20) == ["HI-mid-root", "A", "B"]


async def test_a_child_has_an_exact_version_or_the_newest(store: Store) -> None:
    """duroxide: sample_versioning_sub_orchestration_explicit_vs_policy."""
    app = trioflow.App("versions")

    @app.orchestration(name="child")
    async def child() -> str:
        return durable.info().version

    @app.orchestration(name="child", version="2.0.0")
    async def newer() -> str:
        return durable.info().version

    @app.orchestration
    async def main() -> list[str]:
        return [await child.options(version="1.0.0")(), await child()]

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == ["1.0.0", "2.0.0"]


async def test_automatic_ids_never_collide(store: Store) -> None:
    """duroxide: suborch_id_collision, #28: ids made for children were used again by the next execution."""
    app = trioflow.App("ids")

    @app.orchestration
    async def child(number: int) -> str:
        return durable.info().instance

    @app.orchestration
    async def main(seen: list[str]) -> list[str]:
        seen += await durable.gather(*[child(number) for number in range(3)])
        seen.append(await child(3))
        if len(seen) < 12:
            durable.continue_as_new(seen)
        return seen

    async with running(app, store) as client:
        ids = await (await client.start(main, [], id="twin")).result(timeout=20)
        other = await (await client.start(main, [], id="twin.1")).result(timeout=20)
        assert len({*ids, *other}) == 24
        assert {(await client.get(child_id)).parent for child_id in ids} == {"twin"}


@pytest.mark.parametrize("taken_by", ["a root that runs", "a root that has ended", "a child of another"])
async def test_a_taken_id_is_told_to_the_parent(store: Store, taken_by: str) -> None:
    """duroxide: sub-orchestration ids that collide hang the parent, and may attach it to a stranger."""
    app = trioflow.App("taken")

    @app.orchestration
    async def child(name: str) -> str:
        return str(await durable.wait_event("answer"))

    @app.orchestration
    async def main() -> str:
        try:
            return await child.options(id="taken")("mine")
        except trioflow.ChildFailed as exc:
            return exc.type

    @app.orchestration
    async def other() -> str:
        return await child.options(id="taken")("theirs")

    async with running(app, store) as client:
        if taken_by == "a child of another":
            first = await client.start(other)
            while not await exists(client, "taken"):
                await trio.lowlevel.checkpoint()
        else:
            first = await client.start(child, "root", id="taken")
        if taken_by == "a root that has ended":
            await first.raise_event("answer", "over")
            await first.result(timeout=20)
        assert await (await client.start(main)).result(timeout=20) == "trioflow.InstanceExists"
        if taken_by != "a root that has ended":
            await client.raise_event("taken", "answer", "undisturbed")
            assert await first.result(timeout=20) == "undisturbed"


async def exists(client: trioflow.Client, id: str) -> bool:
    """Whether an instance of that id is there."""
    try:
        await client.get(id)
    except trioflow.InstanceNotFound:
        return False
    return True


async def test_the_link_survives_continue_as_new_of_both(store: Store) -> None:
    """duroxide: a child that continued as new, or whose parent had, never reported to it.

    Here the parent is in its third execution, the child ends in its fourth, and the workers keep nothing in memory.
    """
    app = trioflow.App("links")

    @app.orchestration
    async def child(left: int) -> str:
        if left:
            durable.continue_as_new(left - 1)
        link = durable.info().parent
        assert link is not None
        return f"execution {durable.info().execution} of a child of execution {link.execution}"

    @app.orchestration
    async def main(left: int) -> str:
        if left:
            durable.continue_as_new(left - 1)
        return await child.options(id="child")(3)

    async with store:
        async with running(app, store, cache_executions=0), running(app, store, cache_executions=0) as client:
            handle = await client.start(main, 2)
            assert await handle.result(timeout=20) == "execution 4 of a child of execution 3"


async def test_a_child_in_flight_ends_before_its_parent_continues(store: Store) -> None:
    """duroxide: children are not cancelled by continue-as-new; their ends reach an execution that is gone.

    Here the nursery cancels and awaits them first, and the next execution hears nothing of them.
    """
    app = trioflow.App("structured")

    @app.orchestration
    async def child() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def main(again: bool) -> str:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(child.options(id=f"child of {durable.info().execution}"))
            await durable.wait_event("go")
            if again:
                durable.continue_as_new(False)
            nursery.cancel_scope.cancel()
        return "ended"

    async with running(app, store) as client:
        handle = await client.start(main, True)
        while not await exists(client, "child of 1"):
            await trio.lowlevel.checkpoint()
        await handle.raise_event("go")
        while (await handle.info()).execution == 1:
            await trio.lowlevel.checkpoint()
        assert (await client.get("child of 1")).state is State.CANCELLED
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == "ended"
        assert (await client.get("child of 2")).state is State.CANCELLED


class Unregistered(Exception):
    """No app knows it."""


async def forever() -> None:
    """Take events."""
    async for _ in durable.events("tick"):
        pass


async def large_status() -> None:
    """Break a limit."""
    durable.set_status("x" * 300_000)


async def large_value() -> None:
    """Break a limit."""
    durable.kv["x"] = "x" * 70_000


async def many_keys() -> None:
    """Break a limit."""
    for number in range(2000):
        durable.kv[str(number)] = number


async def large_result() -> str:
    """Break a limit."""
    return "x" * 3_000_000


async def raises() -> None:
    """Fail with what comes back as itself."""
    raise Rejected("no")


async def raises_unregistered() -> None:
    """Fail with what does not."""
    raise Unregistered("no")


async def raises_group() -> None:
    """Fail with several."""
    raise ExceptionGroup("two", [ValueError("a"), Rejected("b")])


async def recursive() -> None:
    """Never end."""
    await recursive()


def doomed(probe: Probe, **limits: int) -> trioflow.App:
    """A child that may end in each way, and a parent that says how it heard of it."""
    app = trioflow.App("doomed", limits=trioflow.Limits(**limits))
    app.exception(Rejected)

    @app.orchestration
    async def child(how: str) -> Any:
        return await globals()[how]()

    @app.orchestration
    async def parent(how: str) -> str:
        try:
            await child.options(id="child")(how)
        except Exception as exc:
            probe.calls.append(exc)
            return f"{type(exc).__name__}: {exc}"
        return "it lives"

    return app


@pytest.mark.parametrize(
    ("how", "heard"),
    [
        ("large_status", "LimitExceeded"),
        ("large_value", "LimitExceeded"),
        ("many_keys", "LimitExceeded"),
        ("large_result", "LimitExceeded"),
        ("raises", "Rejected: no"),
        ("raises_unregistered", "ChildFailed"),
        ("raises_group", "ExceptionGroup: two"),
        ("recursive", "RecursionError"),
    ],
)
async def test_every_failure_of_a_child_reaches_its_parent(store: Store, how: str, heard: str) -> None:
    """duroxide: a child that broke a limit (status, kv) never reported, and its parent waited for ever."""
    probe = Probe()
    async with running(doomed(probe), store) as client:
        handle = await client.start("parent", how)
        assert heard in await handle.result(timeout=20)
        assert (await client.get("child")).state is State.FAILED


@pytest.mark.parametrize("how", ["cancelled", "terminated"])
async def test_a_child_ended_by_others_is_told_too(store: Store, how: str) -> None:
    """duroxide: cancel_child_directly_signals_parent. Being cancelled is no string and no failure like any other."""
    probe = Probe()
    async with running(doomed(probe), store) as client:
        handle = await client.start("parent", "forever")
        while not await exists(client, "child"):
            await trio.lowlevel.checkpoint()
        await (client.cancel if how == "cancelled" else client.terminate)("child", reason="enough")
        assert "enough" in await handle.result(timeout=20)
    assert isinstance(probe.calls[0], trioflow.ChildCancelled if how == "cancelled" else trioflow.ChildTerminated)


@pytest.mark.parametrize("how", ["a history too long", "nondeterminism, where that is to fail"])
async def test_a_child_that_the_runtime_ends_is_told_too(store: Store, how: str) -> None:
    """duroxide: the history cap, bad history and nondeterminism paths end an instance without telling its parent."""
    probe = Probe()
    app = doomed(probe, history_events=30)
    async with running(app, store, cache_executions=0, on_nondeterminism="fail") as client:
        handle = await client.start("parent", "forever")
        while not await exists(client, "child"):
            await trio.lowlevel.checkpoint()
        if how == "a history too long":
            for _ in range(40):
                try:
                    await client.raise_event("child", "tick")
                except trioflow.InstanceFinished:
                    break
            assert "history_events" in await handle.result(timeout=20)
        else:
            while not (await client.get("child")).history_length:
                await trio.lowlevel.checkpoint()
            child = app.find_orchestration("child")

            async def changed(how: str) -> None:
                await durable.sleep(3)

            child.fn = changed
            await client.raise_event("child", "tick")
            assert "NondeterminismError" in await handle.result(timeout=20)
    assert isinstance(probe.calls[0], trioflow.LimitExceeded | trioflow.ChildFailed | trioflow.NondeterminismError)


async def test_a_grandchild_of_what_the_runtime_ends_is_ended_too_and_hears_why(store: Store) -> None:
    """duroxide: what fails by a limit leaves its own children running. Here they and its activities end with it."""
    app, probe = trioflow.App("orphans", limits=trioflow.Limits(history_events=20)), Probe()

    @app.activity
    async def body() -> None:
        probe.calls.append("began")
        try:
            await trio.sleep_forever()
        finally:
            probe.calls.append("ended")

    @app.orchestration
    async def grandchild() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def child() -> None:
        async with durable.open_nursery() as nursery:
            nursery.start_soon(grandchild.options(id="grandchild"))
            nursery.start_soon(body)
            nursery.start_soon(forever)

    async with running(app, store) as client:
        handle = await client.start(child)
        await until(lambda: bool(probe.calls))
        for _ in range(30):
            try:
                await handle.raise_event("tick")
            except trioflow.InstanceFinished:
                break
        with pytest.raises(trioflow.OrchestrationFailed, match="history_events"):
            await handle.result(timeout=20)
        with pytest.raises(trioflow.OrchestrationTerminated) as caught:
            await client.handle("grandchild").result(timeout=20)
        assert caught.value.reason == "its parent has failed"
        await until(lambda: probe.calls == ["began", "ended"])


async def test_a_cancel_goes_down_to_the_leaves(store: Store) -> None:
    """duroxide: sample_cancellation_parent_cascades_to_children, cancel_parent_with_multiple_children."""
    app, probe = trioflow.App("cascade"), Probe()

    @app.activity
    async def work(name: str) -> None:
        probe.calls.append(name)
        await trio.sleep_forever()

    @app.orchestration
    async def leaf(name: str) -> None:
        try:
            await work(name)
        finally:
            durable.set_status("unwound")

    @app.orchestration
    async def mid() -> None:
        await durable.gather(*[leaf.options(id=name)(name) for name in ("one", "two", "three")])

    @app.orchestration
    async def main() -> None:
        await mid.options(id="mid")()

    async with running(app, store) as client:
        handle = await client.start(main)
        await until(lambda: len(probe.calls) == 3)
        await handle.cancel("stop")
        await handle.cancel("stop")  # multiple_cancel_calls_are_idempotent
        with pytest.raises(trioflow.OrchestrationCancelled, match="stop"):
            await handle.result(timeout=20)
        for name in ("mid", "one", "two", "three"):
            assert (await client.get(name)).state is State.CANCELLED
        assert await client.handle("two").status() == "unwound"


async def test_a_child_that_loses_a_race_has_ended(store: Store) -> None:
    """duroxide: select2_loser_sub_orchestration_cancelled, also with an explicit id."""
    app = trioflow.App("losers")

    @app.orchestration
    async def child() -> None:
        await durable.sleep_forever()

    @app.orchestration
    async def main() -> int:
        index, _ = await durable.race(child.options(id="loser")(), durable.wait_event("go"))
        return index

    async with running(app, store) as client:
        handle = await client.start(main)
        await handle.raise_event("go")
        assert await handle.result(timeout=20) == 1
        assert (await client.get("loser")).state is State.CANCELLED


async def test_causes_cross_the_borders_of_children(store: Store) -> None:
    """duroxide: errors are strings. Here a class, its attributes and its chain of causes come through two children."""
    app, probe = trioflow.App("causes"), Probe()
    app.exception(Rejected)

    @app.activity
    async def fetch() -> None:
        try:
            raise TimeoutError("the bank did not answer")
        except TimeoutError as exc:
            raise Rejected("o-1", 402) from exc

    @app.orchestration
    async def leaf() -> None:
        await fetch()

    @app.orchestration
    async def mid() -> None:
        await leaf()

    @app.orchestration
    async def main() -> str:
        try:
            await mid()
        except Rejected as exc:
            probe.calls.append(exc)
            return "rejected"
        return "fetched"

    async with running(app, store) as client:
        assert await (await client.start(main)).result(timeout=20) == "rejected"
        with pytest.raises(trioflow.OrchestrationFailed) as caught:
            await (await client.start(mid)).result(timeout=20)
    error = probe.calls[0]
    first, *stories, last = chain(error)
    assert (type(first), first.args) == (Rejected, ("o-1", 402))
    told = [str(story).partition(" failed")[0].rpartition(": ")[2] for story in stories]
    assert told == ["child 'mid'", "child 'leaf'", "activity 'fetch'"]
    assert (type(last), str(last)) == (TimeoutError, "the bank did not answer")
    assert isinstance(caught.value.__cause__, Rejected)


def chain(exc: BaseException | None) -> list[BaseException]:
    """An exception and what caused it."""
    return [] if exc is None else [exc, *chain(exc.__cause__)]
