"""Starting instances: what is refused at the border, and what becomes of an id that is taken."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest
import trio

import trioflow
from trioflow import durable
from trioflow.errors import OutcomeUnknown, StoreUnavailable
from trioflow.history import OrchestrationStarted
from trioflow.stores import MemoryStore
from trioflow.testing import FailpointEnv, FaultyStore

app = trioflow.App("shop")


@attrs.frozen
class Order:
    """What is ordered."""

    number: int
    amount: int = 1


@app.orchestration
async def checkout(order: Order, note: str = "") -> str:
    """Wait for approval."""
    return f"{order.number} {note} {await durable.wait_event('approved')}"


@app.orchestration
async def quick(number: int) -> int:
    """End at once."""
    return number


async def test_a_start_returns_a_handle_with_an_id() -> None:
    """An id is made from the name; the instance is there, pending, before any runtime has seen it."""
    async with trioflow.connect(MemoryStore(), app) as client:
        handle = await client.start(checkout, Order(1), "note", attributes={"customer": "7"})
        assert handle.id.startswith("checkout-")
        assert repr(handle) == f"Handle(id={handle.id!r})"
        assert repr(client) == "<Client of 'shop'>"
        info = await handle.info()
        assert (info.state, info.name, info.execution, info.version) == (trioflow.State.PENDING, "checkout", 1, None)
        assert info.attributes == {"customer": "7"}
        assert info.parent is None
        assert await handle.history() == []


async def test_a_name_will_do() -> None:
    """An orchestration is started by the name it is registered under, included ones with their prefix."""
    whole = trioflow.App("whole")
    whole.include(app, prefix="shop.")
    async with trioflow.open_runtime(whole, MemoryStore()) as runtime:
        assert await (await runtime.client.start("shop.quick", 3)).result(timeout=20) == 3
        assert await (await runtime.client.start(quick, 4)).result(timeout=20) == 4


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (("chekout", Order(1)), trioflow.UnregisteredError, "did you mean 'checkout'"),
        ((checkout, 5), trioflow.EncodeError, "order"),
        ((checkout,), TypeError, "order"),
        ((checkout, Order(1), "note", 3), TypeError, "."),
        ((7,), trioflow.ConfigurationError, "without calling it"),
    ],
)
async def test_a_wrong_call_is_refused_before_anything_is_written(
    call: tuple[Any, ...], error: type[Exception], says: str
) -> None:
    """Unknown names suggest near ones, wrong arguments are named, and nothing is started."""
    store = FaultyStore(MemoryStore())
    async with trioflow.connect(store, app) as client:
        with pytest.raises(error, match=says):
            await client.start(*call)
    assert "start_instance" not in store.calls


@pytest.mark.parametrize("bad", ["", "  ", "a\0b", "x" * 513, "\ud800", 5])
async def test_an_id_that_no_store_could_keep_is_refused(bad: Any) -> None:
    """Empty, endless, with NUL or half a surrogate: refused with a typed error wherever an id is given."""
    async with trioflow.connect(MemoryStore(), app) as client:
        with pytest.raises(trioflow.PayloadError, match="instance id"):
            await client.start(quick, 1, id=bad)
        with pytest.raises(trioflow.PayloadError, match="instance id"):
            client.handle(bad)
        with pytest.raises(trioflow.PayloadError, match="instance id"):
            await client.raise_event(bad, "go")


@pytest.mark.parametrize(
    "options",
    [
        {"if_exists": "never"},
        {"delay": -1},
        {"delay": float("inf")},
        {"delay": float("nan")},
        {"version": "9.9"},
        {"attributes": {"a": 1}},
    ],
)
async def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """Options are checked before anything is written."""
    async with trioflow.connect(MemoryStore(), app) as client:
        with pytest.raises(trioflow.TrioflowError):
            await client.start(quick, 1, **options)


async def test_a_variant_brings_its_options() -> None:
    """What `options` says of id and version is what is started, unless the call says otherwise."""
    shop = trioflow.App("versions")

    @shop.orchestration(name="deal", version="1.0.0")
    async def old() -> str:
        return "old"

    @shop.orchestration(name="deal", version="2.0.0")
    async def new() -> str:
        return "new"

    variant = old.options(version="1.0.0", id="deal-7")
    async with trioflow.open_runtime(shop, MemoryStore()) as runtime:
        handle = await runtime.client.start(variant)
        assert (handle.id, await handle.result(timeout=20)) == ("deal-7", "old")
        handle = await runtime.client.start(variant, id="deal-8", version="2.0.0")
        assert (handle.id, await handle.result(timeout=20)) == ("deal-8", "new")
        handle = await runtime.client.start(old.options(id="deal-9"))
        assert (handle.id, await handle.result(timeout=20)) == ("deal-9", "new")
        with pytest.raises(trioflow.InstanceExists):
            await runtime.client.start(variant)
        with pytest.raises(trioflow.UnregisteredError):
            await runtime.client.start(old.options(version="9.9.9"))


async def test_an_argument_that_is_too_large_is_refused() -> None:
    """The limit is named, and the app may set another."""
    async with trioflow.connect(MemoryStore(), app) as client:
        with pytest.raises(trioflow.LimitExceeded, match="payload_size"):
            await client.start(checkout, Order(1), "x" * 3_000_000)


async def test_an_id_that_is_taken() -> None:
    """`if_exists` fails, attaches, or replaces what has ended; execution numbers go on."""
    async with trioflow.open_runtime(app, MemoryStore()) as runtime:
        client = runtime.client
        first = await client.start(quick, 1, id="one")
        assert await first.result(timeout=20) == 1
        with pytest.raises(trioflow.InstanceExists, match="one"):
            await client.start(quick, 2, id="one")
        attached = await client.start(quick, 3, id="one", if_exists="attach")
        assert await attached.result(timeout=20) == 1
        replaced = await client.start(quick, 4, id="one", if_exists="replace_finished")
        assert await replaced.result(timeout=20) == 4
        assert (await replaced.info()).execution == 2
        events = await replaced.history()
        assert isinstance(events[0], OrchestrationStarted)
        assert events[0].execution == 2
        with pytest.raises(trioflow.InstanceExists, match="'one' runs orchestration 'quick', not 'checkout'"):
            await client.start(checkout, Order(1), id="one", if_exists="attach")
        await client.start(checkout, Order(1), id="two")
        with pytest.raises(trioflow.InstanceExists):
            await client.start(checkout, Order(1), id="two", if_exists="replace_finished")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_start_whose_answer_was_lost_is_one_start(when: Any, autojump_clock: trio.testing.MockClock) -> None:
    """Repeated by its request id, a start that had happened is not a second one, and no error."""
    store = FaultyStore(MemoryStore()).fail("start_instance", OutcomeUnknown("lost"), when=when)
    async with trioflow.connect(store, app) as client:
        handle = await client.start(quick, 1, id="one")
        assert (await handle.info()).execution == 1
    assert store.calls["start_instance"] == 2


async def test_a_client_loses_patience(autojump_clock: trio.testing.MockClock) -> None:
    """A store that stays away is reported, after half a minute of tries."""
    store = FaultyStore(MemoryStore())
    store.dead = True
    async with trioflow.connect(store, app) as client:
        with pytest.raises(StoreUnavailable):
            await client.start(quick, 1)
    assert store.calls["start_instance"] == 13
    assert 30 < trio.current_time() < 40


async def test_reading_has_the_same_patience(autojump_clock: trio.testing.MockClock) -> None:
    """A question that the store could not answer at the moment is asked again."""
    store = FaultyStore(MemoryStore())
    async with trioflow.connect(store, app) as client:
        handle = await client.start(quick, 1)
        for verb in ("read_instance", "read_history", "read_kv"):
            store.fail(verb, StoreUnavailable("busy"))
        assert (await handle.info()).execution == 1
        assert await handle.history() == []
        assert await client.kv(handle.id) == {}


async def test_moments_of_a_start_are_named() -> None:
    """Failpoints before and after a start and a post."""
    env = FailpointEnv()
    async with trioflow.connect(MemoryStore(), app, env=env) as client:
        handle = await client.start(checkout, Order(1))
        await handle.raise_event("approved")
    assert env.trace == ["client.before_start", "client.after_start", "client.before_post", "client.after_post"]


async def test_a_client_without_an_app_reads_plain_data() -> None:
    """Without an app a client steers and reads; results are plain data."""
    store = MemoryStore()
    async with trioflow.open_runtime(app, store) as runtime, trioflow.connect(store) as stranger:
        handle = await runtime.client.start(quick, 5)
        assert await stranger.handle(handle.id).result(timeout=20) == 5
        with pytest.raises(trioflow.UnregisteredError):
            await stranger.start("quick", 1)


async def test_a_partial_brings_keyword_arguments() -> None:
    """Of a definition only; what it holds comes before what `start` is given."""
    async with trioflow.open_runtime(app, "memory:") as runtime:
        client = runtime.client
        handle = await client.start(functools.partial(checkout, note="gift"), Order(1))
        await handle.raise_event("approved", 2)
        assert await handle.result() == "1 gift 2"
        with pytest.raises(
            trioflow.ConfigurationError, match=r"<Activity 'look' of 'shop'>; write .*functools\.partial"
        ):
            await client.start(functools.partial(look))


@app.activity
async def look() -> None:
    """No orchestration."""
