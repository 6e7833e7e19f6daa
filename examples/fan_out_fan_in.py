"""Many activities at once, joined by a nursery, by `gather`, by a bounded `map`, and by `race`.

Prints:
    words per page: [2, 3, 4]
    total: 9
    north and south: 7 5
    the winner is number 1: quick
"""

import trio

import trioflow
from trioflow import durable

app = trioflow.App("fan-out")

PAGES = ["one two", "three four five", "six seven eight nine"]


@app.activity
async def count_words(page: str) -> int:
    """Count the words of a page."""
    return len(page.split())


@app.activity
async def measure(place: str) -> int:
    """Ask a sensor."""
    return {"north": 7, "south": 5}[place]


@app.activity
async def search(engine: str) -> str:
    """Ask a search engine; the slow one would take an hour."""
    if engine == "slow":
        await trio.sleep(3600)
    return engine


@app.orchestration
async def report(pages: list[str]) -> list[str]:
    """Fan out, fan in. What it found is returned: a replay would print again."""
    counts = await durable.map(count_words, pages, limit=2)

    total = 0

    async def add(page: str) -> None:
        nonlocal total
        words = await count_words(page)
        total += words

    async with durable.open_nursery() as nursery:  # the block ends when all its branches have ended
        for page in pages:
            nursery.start_soon(add, page)

    north, south = await durable.gather(measure("north"), measure("south"))

    index, engine = await durable.race(search("slow"), search("quick"))  # the loser is cancelled, for real
    return [
        f"words per page: {counts}",
        f"total: {total}",
        f"north and south: {north} {south}",
        f"the winner is number {index}: {engine}",
    ]


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(report, PAGES)
        print(*await handle.result(), sep="\n")


if __name__ == "__main__":
    trio.run(main)
