"""Durable timers, deadlines and events: an approval that is reminded of, and one that nobody gives.

Prints:
    draft sent
    reminder sent
    approved by Ada
    nobody answered in time
"""

import attrs
import trio

import trioflow
from trioflow import durable

app = trioflow.App("approvals")


@attrs.frozen
class Approval:
    """What the approver says."""

    by: str


@app.activity
async def send(text: str) -> None:
    """Tell somebody."""
    print(f"{text} sent")


@app.orchestration
async def ask_for_approval(patience: float) -> str:
    """Wait for an approval; send one reminder on the way."""
    await send("draft")
    async with durable.open_nursery() as nursery:

        async def remind() -> None:
            await durable.sleep(patience / 4)  # a durable timer: it would fire after a restart
            await send("reminder")
            durable.set_status("reminded")

        nursery.start_soon(remind)
        approval = await durable.wait_event("approval", Approval)
        nursery.cancel_scope.cancel()
    return f"approved by {approval.by}"


@app.orchestration
async def wait_in_vain(patience: float) -> str:
    """A deadline, as in trio."""
    with durable.move_on_after(patience):
        await durable.wait_event("approval", Approval)
        return "approved"
    return "nobody answered in time"


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        asked = await runtime.client.start(ask_for_approval, 1.0, id="contract-7")
        async for status in asked.watch():
            if status == "reminded":
                break
        await asked.raise_event("approval", Approval("Ada"))  # events are kept until somebody takes them
        print(await asked.result())

        vain = await runtime.client.start(wait_in_vain, 0.2)
        print(await vain.result())


if __name__ == "__main__":
    trio.run(main)
