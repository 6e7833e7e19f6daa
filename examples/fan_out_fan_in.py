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
async def report(pages: list[str]) -> int:
    """Fan out, fan in."""
    counts = await durable.map(count_words, pages, limit=2)
    print("words per page:", counts)

    total = 0

    async def add(page: str) -> None:
        nonlocal total
        words = await count_words(page)
        total += words

    async with durable.open_nursery() as nursery:  # the block ends when all its branches have ended
        for page in pages:
            nursery.start_soon(add, page)
    print("total:", total)

    north, south = await durable.gather(measure("north"), measure("south"))
    print("north and south:", north, south)

    index, engine = await durable.race(search("slow"), search("quick"))  # the loser is cancelled, for real
    print(f"the winner is number {index}: {engine}")
    return total


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        handle = await runtime.client.start(report, PAGES)
        await handle.result()


if __name__ == "__main__":
    trio.run(main)
