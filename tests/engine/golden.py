"""Golden histories: the programs behind them, and how to write one down.

To add one: write a program here, drive it as its author would see it, and call `add`, once, by hand::

    driven = Driven(app.orchestration(my_program), 3)
    driven.start()
    ...
    add("my-program", driven, about="What it shows.")

The file is then history: it, and its program here, are never edited, for a running orchestration could not be, either.
What has to change gets a new program and a new file beside the old. A broken one is a good one, damaged: `add_broken`.
Who uses it: `test_golden_histories.py`.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import attrs

from tests.engine.driving import Driven
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow.app import App
from trioflow.errors import TrioflowError
from trioflow.history import Event, EventCodec, TimerFired

FOLDER = pathlib.Path(__file__).parent.parent / "histories"
CODEC = EventCodec(json="stdlib")

app = App("golden")


@attrs.frozen
class Order:
    """What the programs work on."""

    id: str
    amount: int


@app.activity
async def charge(order: Order) -> str:
    """Never runs here."""
    return order.id


@app.activity
async def pack(order: Order, box: int) -> int:
    """Never runs here."""
    return box


@app.orchestration
async def chain(order: Order) -> str:
    """One step after the other; the last one is cleanup."""
    receipt = await charge(order)
    try:
        first = await pack(order, box=1)
        return f"{receipt} {first} {await pack(order, 2)}"
    finally:
        with durable.CancelScope(shield=True):
            await charge(attrs.evolve(order, amount=0))


@app.orchestration
async def fan_out(order: Order) -> list[int]:
    """Three at once; the slow ones are cancelled when time is up, and what came of them is kept."""
    boxes: list[int] = []

    async def one(box: int) -> None:
        boxes.append(await pack(order, box))

    with durable.move_on_after(10):
        async with durable.open_nursery() as nursery:
            for box in (1, 2, 3):
                nursery.start_soon(one, box)
    return boxes


@app.orchestration
async def timers_and_events(name: str) -> list[object]:
    """Events with a patience, random streams, recorded values, a version gate, status and kv."""
    got: list[object] = [durable.random(), str(durable.uuid4()), await durable.record(int, "5")]
    durable.set_status("waiting")
    while len(got) < 6:
        with durable.move_on_after(60) as patience:
            got.append(await durable.wait_event(name, int))
        if patience.cancelled_caught:
            got.append("nothing")
            durable.kv["late"] = durable.kv.get("late", 0) + 1
    if durable.patched("sleep-at-the-end"):
        await durable.sleep(1.5)
    return [*got, durable.kv.get("late")]


@app.orchestration
async def again(n: int) -> None:
    """Begins anew with each event, in the middle of two nurseries."""
    durable.kv["n"] = n
    async with durable.open_nursery() as outer:
        outer.start_soon(durable.wait_event, "never")
        async with durable.open_nursery():
            await durable.wait_event("next")
            durable.continue_as_new(n + 1)


@app.orchestration
async def parent(order: Order) -> list[object]:
    """A child that returns, one that fails, one that is cancelled, and a detached one."""
    got: list[object] = [await chain(order)]
    try:
        await fan_out.options(id="mine", version="1.0.0")(order)
    except LookupError as exc:
        got.append(repr(exc))
    with durable.move_on_after(5):
        await chain(order)
    got.append(await durable.start_detached(again, 1))
    return got


def add(name: str, driven: Driven, *, about: str) -> None:
    """Write down what a driven program did. Refuses to overwrite."""
    golden = {
        "about": about,
        "program": driven.definition.name,
        "events": [_row(event) for event in driven.history],
    }
    assert lived(golden) == golden["events"]
    _write(name, golden)


def add_broken(
    name: str, of: str, damage: Callable[[list[dict[str, Any]]], object], *, about: str, program: str | None = None
) -> None:
    """Write down a good one, damaged in place or read by another program, with the error that it gives."""
    golden = json.loads((FOLDER / f"{of}.json").read_text())
    damage(golden["events"])
    golden = {"about": about, "program": program or golden["program"], "events": golden["events"]}
    try:
        replay(golden)
    except TrioflowError as exc:
        _write(name, {**golden, "error": {"type": type(exc).__name__, "text": text_of(exc)}})
        return
    raise AssertionError(f"{name} is not broken")


def decoded(golden: dict[str, Any]) -> list[Event]:
    """The events of a file."""
    return [
        CODEC.decode(row["id"], row["at"], row["kind"], row["data"].encode(), _payload(row)) for row in golden["events"]
    ]


def replay(golden: dict[str, Any]) -> Execution:
    """Evaluate a file; the caller closes what it gets."""
    execution = Execution(app, app.find_orchestration(golden["program"]))
    try:
        for _ in execution.replay(decoded(golden)):
            pass
    except BaseException:
        execution.close()
        raise
    return execution


def lived(golden: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that the program gives when it lives through what a file says was delivered."""
    live = Execution(app, app.find_orchestration(golden["program"]))
    rows: list[dict[str, Any]] = []
    for event in decoded(golden):
        if event.delivered:
            messages = (
                [] if isinstance(event, TimerFired) else [Message(1, event.at, attrs.evolve(event, id=0, at=0.0))]
            )
            rows += map(_row, live.run(messages, event.at).events)
    live.close()
    return rows


def text_of(exc: Exception) -> str:
    """An error's text, without the place in a file, which moves."""
    return re.sub(r" \([^()]*:\d+ in ([^()]*)\)", r" (in \1)", str(exc))


def _payload(row: dict[str, Any]) -> bytes | None:
    return None if row["payload"] is None else row["payload"].encode()


def _row(event: Event) -> dict[str, Any]:
    kind, data, payload = CODEC.encode(event)
    return {
        "id": event.id,
        "at": event.at,
        "kind": kind,
        "data": data.decode(),
        "payload": None if payload is None else payload.decode(),
    }


def _write(name: str, golden: dict[str, Any]) -> None:
    with (FOLDER / f"{name}.json").open("x") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")
