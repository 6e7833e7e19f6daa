"""A rolling deployment: workers of two releases share a store, and every order is finished by code that fits it.

Prints:
    order 1: 1.0.0, charged by the old release
    order 2: 2.0.0, charged and weighed by the new release
    order 3: 1.0.0, charged by the new release
    subscription: 1.0.0, 2.0.0
"""

from typing import Any

import trio

import trioflow
from trioflow import durable
from trioflow.stores import MemoryStore


def release(number: int) -> trioflow.App:
    """What a worker of that release is deployed with. The second knows both versions of the orchestrations."""
    app, name = trioflow.App("shop"), "old" if number == 1 else "new"

    @app.activity
    async def charge() -> str:
        return f"charged by the {name} release"

    @app.orchestration(name="order", version="1.0.0")
    async def order() -> str:
        durable.set_status("begun")
        await durable.wait_event("paid")
        return f"{durable.info().version}, {await charge()}"

    @app.orchestration(name="subscription", version="1.0.0")
    async def subscription(versions: list[str]) -> list[str]:
        durable.set_status("begun")
        await durable.wait_event("month is over")
        durable.continue_as_new([*versions, durable.info().version])  # goes on in the newest version there is

    if number == 2:
        _second_version(app)
    return app


def _second_version(app: trioflow.App) -> None:
    @app.activity
    async def charge_and_weigh() -> str:
        return "charged and weighed by the new release"

    @app.orchestration(name="order", version="2.0.0")
    async def order() -> str:
        durable.set_status("begun")
        await durable.wait_event("paid")
        return f"{durable.info().version}, {await charge_and_weigh()}"

    @app.orchestration(name="subscription", version="2.0.0")
    async def subscription(versions: list[str]) -> list[str]:
        return [*versions, durable.info().version]


async def begun(client: trioflow.Client, name: str, id: str, *args: Any) -> trioflow.Handle[Any]:
    """An instance that has had its first turn: from now on its version is fixed."""
    handle = await client.start(name, *args, id=id)
    await anext(handle.watch())
    return handle


async def main() -> None:
    store = MemoryStore()  # one store; a file or PostgreSQL would do the same for several machines
    async with store:
        async with trioflow.open_runtime(release(1), store) as old:
            first = await begun(old.client, "order", "order 1")
            third = await begun(old.client, "order", "order 3")
            eternal = await begun(old.client, "subscription", "subscription", [])
            await first.raise_event("paid")
            print(f"order 1: {await first.result()}")
        async with trioflow.open_runtime(release(2), store) as new:
            second = await begun(new.client, "order", "order 2")
            for handle in (second, third):
                await new.client.raise_event(handle.id, "paid")
                print(f"{handle.id}: {await new.client.handle(handle.id).result()}")
            await new.client.raise_event(eternal.id, "month is over")
            print(f"subscription: {', '.join(await new.client.handle(eternal.id).result())}")


if __name__ == "__main__":
    trio.run(main)
