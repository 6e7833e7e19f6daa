"""Management: find instances, page through them, count, begin again, delete, in bulk, with filters.

Prints:
    failed: order-3 (no such address)
    page: order-5, order-4
    page: order-3, order-2
    page: order-1
    checkout: 4 completed, 1 failed
    order-3 again: shipped to Rose Lane, execution 2
    deleted 2 in the north, 3 are left
"""

import trio

import trioflow

app = trioflow.App("shop")
addresses = {f"order-{number}": "Hill Street" for number in (1, 2, 4, 5)}


@app.activity(retry=trioflow.Retry(max_attempts=1))
async def ship(order: str) -> str:
    """Knows no address of order-3, until somebody corrects that."""
    if order not in addresses:
        raise ValueError("no such address")
    return f"shipped to {addresses[order]}"


@app.orchestration
async def checkout(order: str) -> str:
    return await ship(order)


async def place_orders(client: trioflow.Client) -> None:
    """Five orders, of which one fails; attributes are for finding them."""
    for number in range(1, 6):
        region = "north" if number > 3 else "south"
        handle = await client.start(checkout, f"order-{number}", id=f"order-{number}", attributes={"region": region})
        try:
            await handle.result()
        except trioflow.OrchestrationFailed:
            pass


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        client = runtime.client
        await place_orders(client)

        failed = trioflow.InstanceFilter(name="checkout", states="failed")
        async for info in client.list(failed):
            print(f"failed: {info.id} ({info.failure.message if info.failure else 'unknown'})")

        cursor: str | None = None  # a text: keep it in an address or a form, go on whenever you like
        while True:
            page = await client.page(limit=2, cursor=cursor)
            print("page:", ", ".join(info.id for info in page.instances))
            cursor = page.cursor
            if cursor is None:
                break

        for name, states in (await client.metrics()).instances.items():
            print(f"{name}: " + ", ".join(f"{count} {state}" for state, count in states.items()))

        addresses["order-3"] = "Rose Lane"
        again = await client.restart("order-3")  # with the input that it began with
        result = await again.result()
        print(f"order-3 again: {result}, execution {(await again.info()).execution}")

        deleted = await client.delete_all(attributes={"region": "north"})
        print(f"deleted {deleted} in the north, {(await client.metrics()).count()} are left")


if __name__ == "__main__":
    trio.run(main)
