"""Self-pruning: an orchestration that never ends, and removes its own earlier histories through an activity.

Prints:
    round 1 watched
    round 2 watched
    round 3 watched
    round 4 watched
    round 5 watched
    kept: executions 4, 5, 6
"""

import trio

import trioflow
from trioflow import activity, durable

app = trioflow.App("watch")
KEEP = 3


@app.activity
async def watch(round: int) -> None:
    """Look at something in the world."""
    print(f"round {round} watched")


@app.activity
async def forget_the_past() -> int:
    """Remove the histories of the executions before; safe to repeat, and the current one always stays."""
    client: trioflow.Client = activity.client()
    return await client.prune(activity.info().instance, keep=KEEP)


@app.orchestration
async def watchman(round: int) -> None:
    """One round for each execution, so that no history grows; then the next, for ever."""
    await forget_the_past()
    durable.set_status({"rounds": round - 1})
    await durable.wait_event("tick")
    await watch(round)
    durable.continue_as_new(round + 1)


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(watchman, 1, id="watchman")
        for _ in range(5):
            await handle.raise_event("tick")  # kept, and handed on from execution to execution, until it is taken
        await handle.wait_status(lambda status: status["rounds"] == 5)
        kept = [str(one.execution) for one in await handle.executions()]
        print("kept: executions", ", ".join(kept))
        await handle.terminate("the example is over")


if __name__ == "__main__":
    trio.run(main)
