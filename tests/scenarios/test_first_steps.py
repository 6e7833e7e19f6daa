"""What a newcomer writes first: one step, a branch, a loop, an error that is caught, values with types."""

from __future__ import annotations

import functools
import uuid
from typing import Any

import attrs
import pytest

import trioflow
from tests.runtime.programs import running, shape
from trioflow import State, durable
from trioflow.abc import Store


async def run(app: trioflow.App, store: Store, what: Any, *args: Any) -> Any:
    """The result of an orchestration, run to its end."""
    async with running(app, store) as client:
        return await (await client.start(what, *args)).result(timeout=20)


async def test_one_activity(store: Store) -> None:
    """duroxide: sample_hello_world, and its file twin."""
    app = trioflow.App("hello")

    @app.activity
    async def hello(name: str) -> str:
        return f"Hello, {name}!"

    @app.orchestration
    async def greet(name: str) -> str:
        return await hello(name)

    assert await run(app, store, greet, "Rust") == "Hello, Rust!"


@pytest.mark.parametrize(("flag", "said"), [("yes", "picked yes"), ("no", "picked no")])
async def test_a_branch_on_a_result(store: Store, flag: str, said: str) -> None:
    """duroxide: sample_basic_control_flow."""
    app = trioflow.App("branches")

    @app.activity
    async def get_flag() -> str:
        return flag

    @app.activity
    async def say(word: str) -> str:
        return f"picked {word}"

    @app.orchestration
    async def decide() -> str:
        if await get_flag() == "yes":
            return await say("yes")
        return await say("no")

    assert await run(app, store, decide) == said


async def test_a_loop_that_accumulates(store: Store) -> None:
    """duroxide: sample_loop."""
    app = trioflow.App("loops")

    @app.activity
    async def append(text: str) -> str:
        return f"{text}x"

    @app.orchestration
    async def grow(text: str) -> str:
        for _ in range(3):
            text = await append(text)
        return text

    assert await run(app, store, grow, "start") == "startxxx"


async def test_two_greetings_at_once(store: Store) -> None:
    """duroxide: dtf_legacy_gabbar_greetings: results come in the order of the arguments."""
    app = trioflow.App("greetings")

    @app.activity
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    @app.orchestration
    async def both() -> str:
        return ", ".join(await durable.gather(greet("Gabbar"), greet("Samba")))

    assert await run(app, store, both) == "Hello, Gabbar!, Hello, Samba!"


def shipping(ship_fails: bool, debit_fails: bool = False) -> trioflow.App:
    """A debit, a shipment, and a refund if the second fails."""
    app = trioflow.App("shipping")

    @app.activity
    async def debit(account: str) -> str:
        if debit_fails:
            raise ValueError("insufficient")
        return f"debited {account}"

    @app.activity
    async def ship(order: str) -> str:
        if ship_fails:
            raise ConnectionError("carrier is down")
        return f"shipped {order}"

    @app.activity
    async def refund(receipt: str) -> str:
        return f"refunded after {receipt}"

    @app.orchestration
    async def sell(order: str) -> str:
        receipt = await debit(order)
        try:
            return await ship(order)
        except ConnectionError:
            return await refund(receipt)

    return app


@pytest.mark.parametrize(
    ("ship_fails", "result", "asked"),
    [(True, "refunded after debited o-1", ["debit", "ship", "refund"]), (False, "shipped o-1", ["debit", "ship"])],
)
async def test_a_failure_is_compensated(store: Store, ship_fails: bool, result: str, asked: list[str]) -> None:
    """duroxide: sample_error_handling, error_handling_compensation_on_ship_failure, error_handling_success_path."""
    async with running(shipping(ship_fails), store) as client:
        handle = await client.start("sell", "o-1")
        assert await handle.result(timeout=20) == result
        names = [event.name for event in await handle.history() if hasattr(event, "name")]
        assert names == ["sell", *asked]


async def test_a_failure_before_there_is_anything_to_undo(store: Store) -> None:
    """duroxide: error_handling_early_debit_failure, orchestration_propagates_activity_failure."""
    async with running(shipping(ship_fails=False, debit_fails=True), store) as client:
        handle = await client.start("sell", "o-1")
        with pytest.raises(trioflow.OrchestrationFailed, match="insufficient") as caught:
            await handle.result(timeout=20)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_an_error_passes_through_a_helper_and_is_caught_by_class(store: Store) -> None:
    """duroxide: sample_basic_error_handling, sample_nested_function_error_handling, sample_error_recovery."""
    app = trioflow.App("helpers")

    @app.activity
    async def parse(text: str) -> int:
        return int(text)

    async def helper(text: str) -> int:
        return await parse(text) + 1  # an exception needs no `?` to go on

    @app.orchestration
    async def robust(texts: list[str]) -> list[int]:
        numbers = []
        for text in texts:
            try:
                numbers.append(await helper(text))
            except ValueError:
                numbers.append(-1)
        return numbers

    assert await run(app, store, robust, ["1", "one", "3"]) == [2, -1, 4]


@attrs.frozen
class Sum:
    """A typed value."""

    a: int
    b: int


async def test_values_have_types(store: Store) -> None:
    """duroxide: sample_typed_activity_and_orchestration, both sample_mixed_string_and_typed ones.

    There is one spelling: what the annotations say.
    """
    app = trioflow.App("types")

    @app.activity
    async def add(numbers: Sum) -> Sum:
        assert isinstance(numbers, Sum)
        return Sum(numbers.a + numbers.b, 0)

    @app.activity
    async def shout(text: str) -> str:
        return text.upper()

    @app.orchestration
    async def mixed(numbers: Sum, text: str) -> tuple[Sum, str]:
        return await add(numbers), await shout(text)

    assert await run(app, store, functools.partial(mixed, text="done"), Sum(2, 3)) == (Sum(5, 0), "DONE")


async def test_ids_and_times_without_a_worker(store: Store) -> None:
    """duroxide: sample_system_activities.

    A uuid and the time are there at once, the same in every replay, and cost no event and no worker.
    """
    app, seen = trioflow.App("system"), list[tuple[str, str]]()

    @app.activity
    async def step() -> None: ...

    @app.orchestration
    async def main() -> str:
        first, began = durable.uuid4(), durable.now()
        await step()
        seen.append((str(first), began.isoformat()))
        assert durable.now() >= began
        assert durable.uuid4() != first
        return str(first)

    async with running(app, store, cache_executions=0, fuse=False) as client:  # each turn replays
        handle = await client.start(main)
        result = await handle.result(timeout=20)
        assert uuid.UUID(result).version == 4
        assert [text for text, _ in seen] == [result]
        assert shape(await handle.history()) == [
            "OrchestrationStarted",
            "ActivityScheduled",
            "ActivityCompleted",
            "OrchestrationCompleted",
        ]


async def test_what_a_client_sees_on_the_way(store: Store) -> None:
    """duroxide: sample_status_polling, orchestration_status."""
    app = trioflow.App("status")

    @app.orchestration
    async def main() -> str:
        durable.set_status({"progress": 50})
        await durable.wait_event("go")
        durable.set_status({"progress": 100})
        return "done"

    async with store:
        async with trioflow.connect(store, app) as client:
            handle = await client.start(main)
            assert (await handle.info()).state is State.PENDING  # visible at once
            with pytest.raises(trioflow.InstanceNotFound):
                await client.get("nobody")
        seen = []
        async with running(app, store) as client:
            async for status in client.handle(handle.id).watch():
                seen.append(status)
                if status == {"progress": 50}:
                    await client.raise_event(handle.id, "go")
            assert seen == [{"progress": 50}, {"progress": 100}]
            info = await client.get(handle.id)
            assert (info.state, info.version, info.status) == (State.COMPLETED, "1.0.0", {"progress": 100})
