"""The public API in use, as a type checker sees it: checked, never run."""

from __future__ import annotations

import datetime
import functools
import logging
import pathlib
import uuid
from collections.abc import AsyncGenerator, MutableMapping, Set as AbstractSet
from typing import Any, assert_type

import attrs
import pytest
import trio

import trioflow
from trioflow import activity, durable, stores, telemetry, testing
from trioflow.abc import Fact, Instrument, TurnRan
from trioflow.testing.store_contract_plugin import StoreContract

app = trioflow.App("typed", limits=trioflow.Limits(payload_size=1024, kv_keys=10))


@attrs.frozen
class Order:
    """What is ordered."""

    id: str
    amount: int


class Counting(Instrument):
    """An instrument of one's own."""

    def saw(self, fact: Fact) -> None:
        """Something has happened."""
        if isinstance(fact, TurnRan):
            assert_type(fact.replayed, int)


@app.exception
class Rejected(Exception):
    """Comes back as itself."""


@app.activity
async def charge(order: Order, *, dry: bool = False) -> str:
    """An async activity."""
    info = activity.info()
    assert_type(info.attempt, int)
    assert_type(info.heartbeat_timeout, float | None)
    activity.heartbeat({"at": 1})
    return order.id


@app.activity(
    retry=trioflow.Retry(max_attempts=3, retry_on=(ConnectionError,)), tag="gpu", timeout=5.0, heartbeat_timeout=2.0
)
def render(order: Order) -> bytes:
    """A plain function."""
    return order.id.encode()


@durable.as_safe_channel
async def numbers(count: int) -> AsyncGenerator[int, None]:
    """A generator that is safe to iterate."""
    yield count


async def serving(*, task_status: durable.TaskStatus[int] = durable.TASK_STATUS_IGNORED) -> None:
    """A branch that says when it is ready."""
    task_status.started(1)


@app.orchestration
async def child(order: Order) -> int:
    """A child."""
    return order.amount


@app.orchestration(name="checkout", version="2.0.0")
async def checkout(order: Order) -> str:
    """Everything an author writes."""
    assert_type(await charge(order), str)
    assert_type(await charge(order, dry=True), str)
    assert_type(await render(order), bytes)
    assert_type(await child(order), int)
    assert_type(await charge.options(tag="x", timeout=None)(order), str)
    assert_type(await charge.options(heartbeat_timeout=30.0)(order), str)
    assert_type(await child.options(on_parent_close="wait", on_cancel=None)(order), int)
    assert_type(await child.options(id="c-1", on_cancel="request", on_parent_close="abandon")(order), int)
    await charge("not an order")  # type: ignore[arg-type]
    await charge(order, wet=True)  # type: ignore[call-arg]

    both = await durable.gather(charge(order), child(order))
    assert_type(both, tuple[str, int])
    assert_type(await durable.race(charge(order), charge(order)), tuple[int, str])
    assert_type(await durable.race(charge(order), lambda: child(order), durable.sleep(5)), tuple[int, str | int | None])
    assert_type(await durable.race(*[charge(order)]), tuple[int, str])
    four = await durable.gather(charge(order), child(order), render(order), durable.wait_event("approved", bool))
    assert_type(four, tuple[str, int, bytes, bool])
    assert_type(await durable.map(charge, [order], limit=3), list[str])
    assert_type(await durable.wait_event("approved", bool), bool)
    assert_type(durable.wait_event_nowait("approved", bool), bool)
    async for each in durable.events("orders", Order):
        assert_type(each, Order)
    assert_type(await durable.record(len, "abc"), int)
    assert_type(durable.now(), datetime.datetime)
    assert_type(durable.uuid4(), uuid.UUID)
    assert_type(durable.random(), float)
    assert_type(durable.info().execution, int)
    assert_type(durable.patched("change"), bool)
    assert_type(await durable.start_detached(child, order), str)
    durable.set_status({"step": 1})
    durable.kv["key"] = 1
    assert_type(durable.kv.updated_at("key"), float)
    assert_type(durable.kv.prune(older_than=3600), int)
    assert_type(await durable.read_kv("other", "key", int), int | None)
    assert_type(await durable.read_kv("other", "key", int, 0), int)
    assert_type(await durable.read_status("other", Order), Order | None)
    durable.logger.info("at %s", 1)

    with durable.move_on_after(5) as scope:
        await durable.sleep(1)
    assert_type(scope.cancelled_caught, bool)
    with durable.fail_after(5):
        await durable.lowlevel.checkpoint()
    async with durable.open_nursery(strict_exception_groups=True) as nursery:
        assert_type(nursery, durable.Nursery)
        assert_type(nursery.child_tasks, AbstractSet[durable.lowlevel.Task])
        nursery.start_soon(charge, order)
        nursery.start_soon(charge.options(on_cancel="request"), order)
    with durable.CancelScope(deadline=5.0, shield=True), durable.CancelScope(relative_deadline=5.0):
        await durable.sleep(1)
    event = durable.Event()
    await event.wait()
    async with durable.Lock(), durable.Semaphore(2, max_value=3), durable.CapacityLimiter(total_tokens=2):
        pass
    condition = durable.Condition(lock=durable.Lock())
    async with condition:
        condition.notify_all()
    send, receive = durable.open_memory_channel[int](10)
    assert_type(send, durable.MemorySendChannel[int])
    await send.send("text")  # type: ignore[arg-type]
    async for number in receive:
        assert_type(number, int)
    async with numbers(3) as values:
        assert_type(values, durable.SafeChannel[int])
    await nursery.start(serving)
    assert_type(durable.lowlevel.ParkingLot().unpark(), list[durable.lowlevel.Task])
    async with durable.saga(timeout=60) as saga:
        saga.on_failure(charge, order)
        saga.on_failure(charge, "not an order")  # type: ignore[arg-type]
    assert_type(durable.current_time(), float)
    if order.amount:
        durable.continue_as_new(order)
    return "done"


async def inside_run_durable(seq: testing.Sequencer) -> None:
    """What tests of programs use inside them."""
    async with seq(0):
        await testing.wait_all_tasks_blocked()
    with testing.assert_checkpoints():
        await durable.sleep(0)
    with testing.assert_no_checkpoints():
        durable.current_time()


class TestStore(StoreContract):
    """The store contract, as an author of a store runs it."""

    parts = ("core", "children")

    @pytest.fixture
    def store_factory(self) -> testing.StoreFactory:
        """Fresh stores."""
        return stores.MemoryStore

    @pytest.fixture
    def store_twins(self) -> testing.Twins | None:
        """Other stores on the same data."""
        return lambda store: lambda clock: store


async def checked(factory: testing.StoreFactory) -> None:
    """The store contract without pytest."""
    assert_type(await testing.check_store(factory, twins=None, processes=False, core_only=True), tuple[str, ...])
    await testing.check_store(stores.MemoryStore, parts=[testing.Part.CORE, "children"])
    await testing.check_store(stores.MemoryStore)
    await testing.check_store(lambda clock: stores.SqliteStore(":memory:", clock=clock))
    print(testing.ContractBroken)


async def backed_up(store: stores.SqliteStore) -> None:
    """What a store in a file offers beside its protocol."""
    await store.backup("copy.db")
    await store.backup(pathlib.Path("copy.db"))


def is_large(order: Order) -> bool:
    """A predicate."""
    return order.amount > 1


async def client_side(client: trioflow.Client) -> None:
    """Everything a client does."""
    handle = await client.start(checkout, Order("o", 1), id="o-1", if_exists="attach")
    assert_type(handle, trioflow.Handle[str])
    await client.start(functools.partial(checkout, order=Order("o", 1)))
    assert_type(await handle.result(timeout=5), str)
    assert_type(await client.start(functools.partial(checkout, order=Order("o", 1))), trioflow.Handle[Any])
    await handle.raise_event("approved", True)
    await handle.cancel(reason="enough")
    await handle.cancel("enough")
    await client.cancel("o-1", "enough")
    await client.terminate("o-1", reason="enough")
    assert_type(await handle.status(Order), Order | None)
    assert_type(await handle.status(), Any)
    assert_type(await handle.kv_value("key", int), int)
    assert_type(await client.kv_value("o-1", "key"), Any)
    assert_type(await handle.wait_kv("key", is_large, type=Order), Order)
    assert_type(await handle.wait_kv("key", timeout=5), Any)
    assert_type(await handle.wait_status(lambda status: bool(status), timeout=5), Any)
    assert_type(await handle.wait_status(type=Order), Order)
    async for status in handle.watch():
        print(status)
    info = await client.get("o-1")
    assert_type(info.state, trioflow.State)
    tree = await handle.tree()
    assert_type(tree, trioflow.InstanceTree)
    assert_type(await client.tree("o-1"), trioflow.InstanceTree)
    for branch in tree.branches:
        assert_type(branch, trioflow.TreeBranch)
        assert_type(branch.waits, trioflow.TreeWait | None)
        assert_type(branch.scopes, tuple[trioflow.TreeScope, ...])
    print(tree)


async def management(client: trioflow.Client, handle: trioflow.Handle[str]) -> None:
    """Everything that finds, counts, removes and begins again."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    failed = trioflow.InstanceFilter(states=("failed", trioflow.State.PARKED), name="checkout", ended_after=yesterday)
    assert_type(failed.states, tuple[trioflow.State, ...] | None)
    async for info in client.list(failed, prefix="o-", roots=True, attributes={"region": "eu"}):
        assert_type(info, trioflow.InstanceInfo)
    client.list(nam="checkout")  # type: ignore[call-arg]
    client.list(created_after="yesterday")  # type: ignore[arg-type]
    page = await client.page(states="failed", limit=20, cursor=None)
    assert_type(page, trioflow.ListPage)
    assert_type(page.instances, tuple[trioflow.InstanceInfo, ...])
    assert_type(page.cursor, str | None)
    executions = await handle.executions()
    assert_type(executions, tuple[trioflow.ExecutionInfo, ...])
    assert_type(executions[0].end, trioflow.ExecutionEnd | None)
    assert_type(await client.delete("o-1", force=True) + await handle.delete(), int)
    assert_type(await client.prune("o-1", keep=3) + await handle.prune(older_than=86_400), int)
    assert_type(await client.restart("o-1", force=True, latest=True), trioflow.Handle[Any])
    await handle.restart()
    assert_type(await client.delete_all(failed, limit=100), int)
    await client.delete_all(force=True, everything=True)
    await client.prune_all(name="checkout", keep=2, older_than=3600)
    await client.cancel_all(failed, reason="enough")
    await client.terminate_all(prefix="o-", reason="enough")
    await client.suspend_all(name="checkout", limit=5)
    await client.resume_all()
    metrics = await client.metrics()
    assert_type(metrics, trioflow.Metrics)
    assert_type(metrics.count(state=trioflow.State.FAILED), int)
    depths = await client.queue_depths()
    assert_type(depths, trioflow.QueueDepths)
    assert_type(depths.tagged["gpu"], trioflow.QueueDepth)
    assert_type(activity.client(), trioflow.Client)


def logs() -> None:
    """Who logs."""
    handler = logging.StreamHandler()
    handler.addFilter(telemetry.CorrelationFilter())
    event: MutableMapping[str, Any] = {"event": "hello"}
    assert_type(telemetry.add_correlation(None, "info", event), MutableMapping[str, Any])
    durable.logger.info("hello %s", "log", extra={"order": 7})
    activity.logger.info("hello %s", "log", extra={"order": 7})


async def main() -> None:
    """Ways to open a runtime."""
    trioflow.RuntimeOptions(log_exception_messages=True)
    app.use_version("checkout", "2.0.0")
    app.use_version("checkout", None)
    async with trioflow.open_runtime(app, "sqlite:shop.db", options=trioflow.RuntimeOptions()) as runtime:
        assert_type(runtime.client, trioflow.Client)
        await client_side(runtime.client)
    async with trioflow.connect(stores.MemoryStore(clock=None), app) as client:
        await client_side(client)
        await management(client, client.handle("o-1"))
    told: list[Instrument] = [telemetry.OpenTelemetry(messages=True, metrics=False), Counting()]
    async with trioflow.connect("memory:", instruments=told if telemetry.configured() else None) as client:
        await client_side(client)
    async with trio.open_nursery() as nursery:
        await nursery.start(trioflow.serve, app, stores.SqliteStore("shop.db"))
    assert_type(await testing.run_durable(checkout, Order("o", 1)), str)
