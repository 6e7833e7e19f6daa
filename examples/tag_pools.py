"""Pools of workers: an activity asks for a tag, a worker takes the tags it has the machine for.

Prints:
    cut by a machine without a tag
    trained by the gpu pool
    packed by the cpu pool
    nobody has a tpu, so: trained by the gpu pool
"""

import trio

import trioflow
from trioflow import durable
from trioflow.stores import MemoryStore

app = trioflow.App("pools")


@app.activity
async def work(what: str) -> str:
    """Where it ran is what its tag says: nobody else takes it."""
    tag = trioflow.activity.info().tag
    return f"{what} by the {tag} pool" if tag else f"{what} by a machine without a tag"


@app.orchestration
async def pipeline() -> list[str]:
    """Each step on the machine that fits it."""
    return [
        await work("cut"),
        await work.options(tag="gpu")("trained"),
        await work.options(tag="cpu")("packed"),
    ]


@app.orchestration
async def prefer(first: str, second: str) -> str:
    """A tag that nobody may have: what is not taken in time is taken back, and done elsewhere."""
    with durable.move_on_after(0.2):
        return await work.options(tag=first)("trained")
    return f"nobody has a {first}, so: {await work.options(tag=second)('trained')}"


async def main() -> None:
    gpu = trioflow.RuntimeOptions(tags=("gpu",), untagged=False)  # nothing else: it is dear
    cpu = trioflow.RuntimeOptions(tags=("cpu", "large-memory"), untagged=False)
    async with (
        MemoryStore() as store,
        trioflow.open_runtime(app, store) as runtime,  # takes what has no tag
        trioflow.open_runtime(app, store, options=gpu),
        trioflow.open_runtime(app, store, options=cpu),
    ):
        print(*await (await runtime.client.start(pipeline)).result(), sep="\n")
        print(await (await runtime.client.start(prefer, "tpu", "gpu")).result())


if __name__ == "__main__":
    trio.run(main)
