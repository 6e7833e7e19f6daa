"""Retries with back-off, exceptions that come back as themselves, and durable cleanup.

Prints:
    attempt 1
    attempt 2
    attempt 3
    the third time works
    refunded receipt for o-1
    failed: Rejected: o-1 was rejected by the warehouse
    its cause is Rejected, order o-1
"""

import trio

import trioflow
from trioflow import activity, durable

app = trioflow.App("shop")


@app.exception
class Rejected(Exception):
    """Registered with the app, so it crosses processes as itself."""

    def __init__(self, order: str) -> None:
        super().__init__(f"{order} was rejected by the warehouse")
        self.order = order


@app.activity(retry=trioflow.Retry(max_attempts=5, initial=0.01, factor=2, max_interval=1, retry_on=(ConnectionError,)))
async def flaky() -> str:
    """Fails twice."""
    attempt = activity.info().attempt
    print("attempt", attempt)
    if attempt < 3:
        raise ConnectionError("the line is down")
    return "the third time works"


@app.activity
async def charge(order: str) -> str:
    """Take the money."""
    return f"receipt for {order}"


@app.activity
def pack(order: str) -> None:
    """A plain function runs in a worker thread."""
    raise Rejected(order)


@app.activity
async def refund(receipt: str) -> None:
    """Give it back."""
    print("refunded", receipt)


@app.orchestration
async def retried() -> str:
    """The policy is applied by whoever runs the activity; the history has one completion."""
    return await flaky()


@app.orchestration
async def checkout(order: str) -> str:
    """Cleanup is ordinary code, and runs durably."""
    receipt = await charge(order)
    try:
        await pack(order)
    except Rejected:
        with durable.CancelScope(shield=True):
            await refund(receipt)
        raise
    return receipt


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        print(await (await runtime.client.start(retried)).result())
        handle = await runtime.client.start(checkout, "o-1")
        try:
            await handle.result()
        except trioflow.OrchestrationFailed as exc:
            cause = exc.__cause__
            assert isinstance(cause, Rejected)
            print(f"failed: {type(cause).__name__}: {cause}")
            print(f"its cause is {type(cause).__name__}, order {cause.order}")


if __name__ == "__main__":
    trio.run(main)
