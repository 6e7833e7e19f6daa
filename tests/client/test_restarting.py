"""Beginning an instance again: with what, as what, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
import trio

import trioflow
from tests.client.managed import make_yard, until_info, until_state
from tests.runtime.programs import running, virtual_store
from trioflow import State, durable
from trioflow.abc import InstancePage, ListInstances, PostMessage, Store
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore


async def test_what_has_ended_begins_again(store: Store) -> None:
    """A new execution of the same id, with the same input, name, version and attributes; status and kv are gone."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("wait", "first", id="w", attributes={"region": "eu"})
        await handle.raise_event("first", 1)
        await handle.raise_event("unread", 2)
        assert await handle.result(timeout=20) == 1
        before = await handle.info()
        again = await client.restart("w")
        assert again.id == "w"
        info = await until_state(again, State.WAITING)
        assert (info.execution, info.name, info.version) == (2, before.name, before.version)
        assert info.attributes == {"region": "eu"}
        assert info.parent is None
        assert info.status == {"waits": "first"}
        assert info.unread == info.queued == 0
        started, restarted = (await handle.history(1))[0], (await handle.history(2))[0]
        assert restarted.payload == started.payload  # type: ignore[attr-defined]
        assert restarted.seed != started.seed  # type: ignore[attr-defined]
        await handle.raise_event("first", 3)
        assert await handle.result(timeout=20) == 3


async def test_a_failed_one_begins_again_without_an_app(store: Store) -> None:
    """A client that knows no code can begin anything again."""
    async with running(make_yard().app, store) as client, trioflow.connect(store) as bare:
        handle = await client.start("fail", "bad", id="f")
        with pytest.raises(trioflow.OrchestrationFailed):
            await handle.result(timeout=20)
        await bare.handle("f").restart()
        info = await until_info(handle, lambda info: info.execution == 2 and info.state.ended)
        assert info.state is State.FAILED


async def test_what_runs_is_only_begun_again_by_force(store: Store) -> None:
    """Without `force` it is left alone; with it, it is terminated first, and its end is waited for."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("wait", "x", id="w")
        await until_state(handle, State.WAITING)
        with pytest.raises(trioflow.InstanceNotFinished, match="force=True"):
            await handle.restart()
        assert (await handle.info()).execution == 1
        await handle.restart(force=True)
        await until_state(handle, State.WAITING)
        first, second = await handle.executions()
        assert (first.end, second.end) == (trioflow.ExecutionEnd.TERMINATED, None)
        await handle.raise_event("x", "done")
        assert await handle.result(timeout=20) == "done"


@pytest.mark.parametrize("hold", ["suspend", "park"])
async def test_what_stands_still_begins_again(store: Store, hold: str) -> None:
    """Suspended and parked instances begin again by force, too."""
    yard = make_yard()
    async with running(yard.app, store) as client:
        handle = await client.start("fragile")
        await handle.raise_event("go")
        await until_info(handle, lambda info: info.history_length == 4)
    yard.changed = True
    async with running(yard.app, store) as client:
        handle = client.handle(handle.id)
        await (handle.suspend() if hold == "suspend" else handle.raise_event("more"))
        await until_state(handle, State.SUSPENDED, State.PARKED)
        with pytest.raises(trioflow.InstanceNotFinished):
            await handle.restart()
        await handle.restart(force=True)
        await handle.raise_event("go")
        await handle.raise_event("changed")
        assert await handle.result(timeout=20) == "done"


async def test_a_child_begins_again_as_nobodys(store: Store) -> None:
    """The parent of what is ended in order to begin again is told of that end, once."""
    async with running(make_yard().app, store) as client:
        parent = await client.start("parent", "child", id="p")
        child = client.handle("child")
        await until_state(child, State.WAITING)
        await child.restart(force=True)
        assert "begin again" in await parent.result(timeout=20)
        assert (await child.info()).parent is None
        await child.raise_event("go", 1)
        assert await child.result(timeout=20) == 1


async def test_the_input_is_that_of_the_current_execution(store: Store) -> None:
    """After a continue-as-new it is what that was called with."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("count", 3, id="c")
        assert await handle.result(timeout=20) == "counted"
        assert await handle.prune() == 3
        await handle.restart()
        assert await handle.result(timeout=20) == "counted"
        assert [one.execution for one in await handle.executions()] == [4, 5]


class Interrupted(FaultyStore):
    """A store in which an event is sent, and heard of, right before the first control message."""

    event: tuple[trioflow.Client, str] | None = None

    async def post_message(self, request: PostMessage) -> None:
        """Let the event through first."""
        if request.message.control and self.event is not None:
            (client, instance), self.event = self.event, None
            await client.raise_event(instance, "go")
            await until_info(client.handle(instance), lambda info: info.execution == 2)
        await super().post_message(request)


async def test_what_continues_as_new_meanwhile_begins_with_the_new_input() -> None:
    """If the execution ends by itself before it is terminated, the next one's input counts."""
    store = Interrupted(MemoryStore())
    app = trioflow.App("actor")
    seen = []

    @app.orchestration
    async def actor(number: int) -> None:
        seen.append(number)
        await durable.wait_event("go")
        durable.continue_as_new(number + 1)

    async with running(app, store) as client:
        handle = await client.start("actor", 1, id="a")
        await until_state(handle, State.WAITING)
        store.event = (client, "a")
        await handle.restart(force=True)
        await until_info(handle, lambda info: info.execution == 3 and info.state is State.WAITING)
        assert seen[-1] == 2
        await handle.terminate()


async def test_an_execution_that_was_ended_before_it_began_has_the_input_it_was_to_have(store: Store) -> None:
    """What continue-as-new called it with is in the history of the execution before."""
    app = trioflow.App("early")

    @app.orchestration
    async def early(number: int) -> int:
        if number == 1:
            durable.continue_as_new(2, version="9.0.0")  # nobody here has that version, so it does not begin
        return number

    async with running(app, store) as client:
        handle = await client.start("early", 1, id="e")
        await until_info(handle, lambda info: info.execution == 2)
        await handle.terminate()
        await until_info(handle, lambda info: info.state.ended)
        assert [type(event).__name__ for event in await handle.history()] == ["OrchestrationTerminated"]
        await handle.restart(latest=True)
        assert await handle.result(timeout=20) == 2
        await handle.prune()
        assert [one.execution for one in await handle.executions()] == [3]


async def test_what_was_ended_before_it_began_has_no_input(store: Store) -> None:
    """What never began, and what was pruned, is not there to begin again with."""
    async with running(make_yard().app, store) as client:
        for _ in range(2):
            handle = await client.start("echo", 1, id="e", delay=3600, if_exists="replace_finished")
            await handle.terminate()
            await until_info(handle, lambda info: info.state.ended)
            with pytest.raises(trioflow.HistoryError, match="has not begun"):
                await handle.restart()


async def test_what_has_not_begun_is_not_ended(store: Store) -> None:
    """No input of it is recorded yet: the error comes before anything was done."""
    async with running(make_yard().app, store) as client:
        handle = await client.start("wait", id="w", delay=3600)
        with pytest.raises(trioflow.HistoryError, match="replace_finished"):
            await handle.restart(force=True)
        assert (await handle.info()).state is State.PENDING


@pytest.mark.parametrize(("latest", "result"), [(False, "old"), (True, "new")])
async def test_the_version_is_kept_unless_the_latest_is_wanted(store: Store, latest: bool, result: str) -> None:
    """An instance begins again with the version that it ran, or with the newest there is."""
    app = trioflow.App("versions")

    @app.orchestration(name="greet", version="1.0.0")
    async def old() -> str:
        return "old"

    async with running(app, store) as client:
        await (await client.start("greet", id="g")).result(timeout=20)

    @app.orchestration(name="greet", version="2.0.0")
    async def new() -> str:
        return "new"

    async with running(app, store) as client:
        handle = await client.restart("g", latest=latest)
        assert await handle.result(timeout=20) == result


@pytest.mark.parametrize(
    ("latest", "used", "ran"),
    [
        (False, None, ["1.0.0", "1.5.0", "2.0.0"]),
        (True, None, ["1.0.0", "2.0.0", "2.0.0"]),
        (True, "1.0.0", ["1.0.0", "1.0.0", "1.0.0"]),
    ],
)
async def test_a_restart_pins_one_execution_and_no_more(
    store: Store, latest: bool, used: str | None, ran: list[str]
) -> None:
    """It repeats what ran, or begins as a start without a version does; what follows is decided anew."""
    app, goal = trioflow.App("policy"), [2]

    async def hop(log: list[str]) -> list[str]:
        log = [*log, durable.info().version]
        return log if len(log) == goal[0] else durable.continue_as_new(log)

    for version in ("1.0.0", "1.5.0", "2.0.0"):
        app.orchestration(name="hop", version=version)(hop)
    app.use_version("hop", "1.5.0")
    async with running(app, store) as client:
        handle = await client.start("hop", [], id="h", version="1.0.0")
        assert await handle.result(timeout=20) == ["1.0.0", "1.5.0"]
        goal[0] = 3
        app.use_version("hop", used)
        await handle.restart(latest=latest)
        assert await handle.result(timeout=20) == ran


async def test_nobody_begins_what_somebody_else_has_begun(store: Store) -> None:
    """Two that begin the same instance again do it once; the other is told."""
    app = make_yard().app
    outcomes: list[Any] = []
    async with running(app, store) as client:
        handle = await client.start("wait", id="w")
        await until_state(handle, State.WAITING)
        await handle.terminate()
        await until_info(handle, lambda info: info.state.ended)

        async def again() -> None:
            try:
                outcomes.append((await client.restart("w")).id)
            except (trioflow.InstanceExists, trioflow.InstanceNotFinished):
                outcomes.append(None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(again)
            nursery.start_soon(again)
        assert sorted(outcomes, key=str) == [None, "w"]
        assert (await handle.info()).execution == 2


# -- children with ids of their own


def _with_named_children() -> trioflow.App:
    app = trioflow.App("family")

    @app.orchestration
    async def leaf(name: str) -> str:
        return f"{name} {await durable.wait_event('go')}"

    @app.orchestration
    async def branch(name: str) -> str:
        return await leaf.options(id=f"leaf of {name}")(name)

    @app.orchestration
    async def root() -> list[str]:
        return list(await durable.gather(branch.options(id="left")("left"), branch.options(id="right")("right")))

    return app


async def _answered(client: trioflow.Client, execution: int, value: int) -> None:
    """Once both leaves wait, they get an event."""
    for name in ("left", "right"):
        leaf = client.handle(f"leaf of {name}")
        while not await client.store.read_instance(leaf.id):
            await trio.sleep(0.01)
        await until_info(leaf, lambda info: info.execution == execution and info.state is State.WAITING)
        await leaf.raise_event("go", value)


async def test_children_with_ids_are_begun_again(store: Store) -> None:
    """Where the code gives its children ids, those of the new execution take the place of those that have ended."""
    async with running(_with_named_children(), store) as client:
        handle = await client.start("root", id="root")
        await _answered(client, 1, 1)
        assert await handle.result(timeout=20) == ["left 1", "right 1"]
        await handle.restart()
        await _answered(client, 2, 2)
        assert await handle.result(timeout=20) == ["left 2", "right 2"]
        assert [one.execution for one in await client.executions("leaf of left")] == [1, 2]
        record = await client.store.read_instance("left")
        assert record is not None
        assert record.parent is not None
        assert (record.parent.instance, record.parent.execution) == ("root", 2)


async def test_a_whole_family_is_begun_again_by_force(store: Store) -> None:
    """What is terminated with it has ended before it begins again, so no id is in the way."""
    async with running(_with_named_children(), store) as client:
        handle = await client.start("root", id="root")
        for name in ("left", "right"):
            while not await client.store.read_instance(f"leaf of {name}"):
                await trio.sleep(0.01)
        await handle.restart(force=True)
        await _answered(client, 2, 3)
        assert await handle.result(timeout=20) == ["left 3", "right 3"]


async def test_an_activity_does_not_restart_what_would_end_it(store: Store) -> None:
    """By force it may restart neither its own instance nor one above it; nothing is ended, and others it may."""
    app = trioflow.App("office")

    @app.activity
    async def begin_again(id: str) -> str:
        client: trioflow.Client = trioflow.activity.client()
        try:
            await client.restart(id, force=True)
        except trioflow.ConfigurationError as exc:
            return f"refused: {exc}"
        return "begun again"

    @app.orchestration
    async def child(id: str) -> str:
        return await begin_again(id)

    @app.orchestration
    async def parent(id: str) -> str:
        return await child.options(id="below")(id)

    @app.orchestration
    async def other() -> None:
        await durable.wait_event("go")

    async with running(app, store) as client:
        await until_state(await client.start(other, id="other"), State.WAITING)
        answers = {"below": "refused: .*'below'", "above": "refused: .*'above'", "other": "begun again"}
        for number, (target, answer) in enumerate(answers.items(), 1):
            handle = await client.start(parent, target, id="above", if_exists="replace_finished")
            result = await handle.result(timeout=20)
            assert re.match(answer, result), result
            assert (await handle.info()).execution == number
        assert (await client.get("other")).execution == 2


@pytest.mark.parametrize("parted", [False, True], ids=["by the same execution", "by an earlier one"])
async def test_what_is_abandoned_may_restart_its_parent(store: Store, parted: bool) -> None:
    """An activity below a child that outlives its parent is not ended with that, so it may begin that again."""
    app = trioflow.App("office")

    @app.activity
    async def begin_again() -> str:
        client: trioflow.Client = trioflow.activity.client()
        await client.restart("above", force=True)
        return "begun again"

    @app.orchestration
    async def child() -> str:
        await durable.wait_event("go")
        return await begin_again()

    @app.orchestration
    async def parent(first: bool) -> None:
        async with durable.open_nursery() as nursery:
            if first:
                nursery.start_soon(child.options(id=f"below {durable.info().execution}", on_parent_close="abandon"))
            await durable.wait_event("next")
            nursery.cancel_scope.cancel()
        durable.continue_as_new(False)

    async with running(app, store) as client:
        above = await client.start(parent, True, id="above")
        below = client.handle("below 1")
        while not await client.store.read_instance(below.id):
            await trio.sleep(0.01)
        if parted:
            await above.raise_event("next")
            await until_info(above, lambda info: info.execution == 2)
        await below.raise_event("go")
        await until_info(above, lambda info: info.execution == 2 + parted)
        assert await below.result(timeout=20) == "begun again"


class Overtaken(FaultyStore):
    """A store whose lists are a moment old: what is in them has a control message in its inbox."""

    async def list_instances(self, request: ListInstances) -> InstancePage:
        """As it was."""
        page = await super().list_instances(request)
        return attrs.evolve(page, instances=tuple(attrs.evolve(one, control_queued=True) for one in page.instances))


async def test_what_was_told_another_thing_than_to_end_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A child that outlives its parent, and was being suspended or resumed meanwhile, does not hold a restart."""
    app, store = trioflow.App("office"), Overtaken(virtual_store())

    @app.orchestration
    async def child() -> None:
        await durable.wait_event("go")

    @app.orchestration
    async def parent() -> None:
        await child.options(id=f"below {durable.info().execution}", on_parent_close="abandon")()

    async with running(app, store) as client:
        handle = await client.start(parent)
        while not await client.store.read_instance("below 1"):
            await trio.sleep(0.01)
        with trio.fail_after(1000):
            await handle.restart(force=True)
        assert (await handle.info()).execution == 2
