"""A saga: a trip of three bookings. What was booked is cancelled, in reverse, when a later step fails or is called off.

Prints:
    rome: car booked
    rome: hotel booked
    rome: flight booked
    rome is booked
    oslo: car booked
    oslo: hotel booked
    oslo: hotel cancelled
    oslo: car cancelled
    oslo failed: SoldOut: no flights to oslo
    bali: car booked
    bali: hotel booked
    bali: hotel cancelled
    bali: car cancelled
    bali was called off: the dog is ill
"""

import functools

import trio

import trioflow
from trioflow import durable

app = trioflow.App("trips")


@app.exception
class SoldOut(Exception):
    """No retry will help."""


@app.activity
async def book(what: str, where: str) -> str:
    """Book something."""
    if (what, where) == ("flight", "oslo"):
        raise SoldOut(f"no flights to {where}")
    print(f"{where}: {what} booked")
    return what


@app.activity(retry=trioflow.Retry(max_attempts=10, initial=0.1))
async def cancel_booking(what: str, where: str) -> None:
    """Undo a booking; tried again until it works."""
    print(f"{where}: {what} cancelled")


@app.orchestration
async def trip(where: str, ask_first: bool = False) -> str:
    """Car, hotel, flight: all or nothing."""
    async with durable.saga() as saga:
        for what in ("car", "hotel"):
            await book(what, where)
            saga.on_failure(cancel_booking, what, where)
        if ask_first:
            durable.set_status("waiting for a yes")
            await durable.wait_event("yes")
        await book("flight", where)
    return f"{where} is booked"


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        client = runtime.client
        print(await (await client.start(trip, "rome")).result())

        try:
            await (await client.start(trip, "oslo")).result()
        except trioflow.OrchestrationFailed as exc:
            print(f"oslo failed: {type(exc.__cause__).__name__}: {exc.__cause__}")

        handle = await client.start(functools.partial(trip, "bali", ask_first=True))
        async for status in handle.watch():
            if status == "waiting for a yes":
                break
        await handle.cancel(reason="the dog is ill")
        try:
            await handle.result()
        except trioflow.OrchestrationCancelled as exc:
            print(f"bali was called off: {exc.reason}")


if __name__ == "__main__":
    trio.run(main)
