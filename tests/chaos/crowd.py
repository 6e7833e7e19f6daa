"""What a crowd of processes works on: orchestrations of every kind, what each must return, and what a client does.

Laws: what an instance returns follows from its kind and number alone, and is worked out here without the engine; every
run of a body is noted in a file outside of the store before anything else happens in it.

Who calls it: `crowd_process.py`. Read next: `many.py`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import trio

import trioflow
from trioflow import activity, durable
from trioflow.errors import InstanceFinished, StoreUnavailable

app = trioflow.App("crowd")


class Ledger:
    """A file that all processes append lines to, each with the time on a clock that all of them share."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, what: str, *words: object) -> None:
        """One line, in one write: it is there whole, or not at all, whatever becomes of the process."""
        os.write(self._fd, " ".join([f"{time.monotonic():.6f}", what, *map(str, words)]).encode() + b"\n")


ledger: Ledger | None = None  # of this process
life = ""  # this process's name, unlike any other's


def note(what: str) -> None:
    """Note something about the attempt that runs here."""
    info = activity.info()
    assert ledger is not None
    ledger.note(what, life, info.idempotency_key, info.attempt)


@app.activity
async def step(value: int) -> int:
    """A step of work."""
    note("run")
    await trio.sleep(0.002 * (value % 5))
    note("ran")
    return value + 1


@app.activity
def thread_step(value: int) -> int:
    """A step of work in a thread."""
    note("run")
    note("ran")
    return value + 1


@app.activity(retry=trioflow.Retry(max_attempts=5, initial=0.01))
async def flaky(value: int) -> int:
    """Fails twice."""
    note("run")
    if activity.info().attempt < 3:
        note("failed")
        raise OSError("not yet")
    note("ran")
    return value + 1


@app.activity
async def hang() -> None:
    """Never ends by itself."""
    note("run")
    await trio.sleep_forever()


@app.activity
async def clean_up(what: str) -> None:
    """Undo something."""
    note("run")
    note("ran")


@app.activity
async def refuse() -> None:
    """Fail for good."""
    note("run")
    note("ran")
    raise ValueError("refused")


@app.orchestration
async def chain(number: int) -> int:
    """One step after the other."""
    for _ in range(4):
        number = await step(number)
    return await thread_step(number)


@app.orchestration
async def fan(number: int) -> list[int]:
    """Steps beside each other."""
    return [*await durable.gather(step(number), step(number), flaky(number)), *await durable.map(step, range(4))]


@app.orchestration
async def family(number: int) -> int:
    """Children."""
    return sum(await durable.gather(chain(number), again(number)))


@app.orchestration
async def again(number: int, round: int = 0) -> int:
    """Three executions, one after the other."""
    number = await step(number)
    if round < 2:
        durable.continue_as_new(number, round + 1)
    return number


@app.orchestration
async def mail(number: int) -> list[int]:
    """Events, in order."""
    return [await durable.wait_event("note", int) for _ in range(3)]


@app.orchestration
async def timer(number: int) -> int:
    """A sleep, and a deadline that is missed."""
    await durable.sleep(0.05 + number % 3 * 0.1)
    with durable.move_on_after(0.05):
        await durable.wait_event("never")
    return await step(number)


@app.orchestration
async def unwinding(number: int) -> None:
    """Waits for a body that has no end, until it is cancelled; tidies up then."""
    try:
        await hang()
    finally:
        with durable.CancelScope(shield=True):
            await clean_up("first")
            await clean_up("second")


@app.orchestration
async def undoing(number: int) -> str:
    """A saga that fails."""
    try:
        async with durable.saga() as saga:
            await step(number)
            saga.on_failure(clean_up, "first")
            await step(number)
            saga.on_failure(clean_up, "second")
            await refuse()
    except* ValueError:
        pass
    return "undone"


KINDS: Final = (chain, fan, family, mail, timer, unwinding, undoing, again)
CANCELLED: Final = "cancelled"
CLEANED_UP: Final = {"unwinding": 2, "undoing": 2}  # how often `clean_up` has completed at the end


def id_of(number: int) -> str:
    """The instance of a number."""
    return f"{KINDS[number % len(KINDS)].name}-{number}"


def expected(number: int) -> Any:
    """What the instance of a number returns."""
    return {
        "chain": number + 5,
        "fan": [number + 1] * 3 + [1, 2, 3, 4],
        "family": (number + 5) + (number + 3),
        "mail": [0, 1, 2],
        "timer": number + 1,
        "unwinding": CANCELLED,
        "undoing": "undone",
        "again": number + 3,
    }[KINDS[number % len(KINDS)].name]


async def visit(client: trioflow.Client, number: int) -> None:
    """Start the instance of a number, do what it waits for, and note whether it returned what it must."""
    while True:
        try:
            return await _visit(client, number)
        except StoreUnavailable:
            await trio.sleep(0.1)


async def _visit(client: trioflow.Client, number: int) -> None:
    assert ledger is not None
    definition: Any = KINDS[number % len(KINDS)]
    handle = await client.start(definition, number, id=id_of(number), if_exists="attach")
    ledger.note("started", number)
    try:
        if definition is mail:
            for place in range(3):
                await handle.raise_event("note", place, dedupe_key=f"{handle.id}/{place}")
        elif definition is unwinding:
            await handle.cancel()
    except InstanceFinished:
        pass  # this was done in an earlier life
    try:
        result = await handle.result()
    except trioflow.OrchestrationCancelled:
        result = CANCELLED
    if result == expected(number):
        ledger.note("right", number)
    else:
        ledger.note("wrong", number, repr(result).replace(" ", ""))
