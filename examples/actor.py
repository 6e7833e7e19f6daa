"""An actor: an instance that lives for ever, with a mailbox, one message at a time, and a fresh history now and then.

Prints:
    balance: 70
    refused: 100 from 70
    balance: 75
    chapters: ...
"""

from typing import Literal, NoReturn

import attrs
import trio

import trioflow
from trioflow import durable

app = trioflow.App("bank")

CHAPTER = 3  # messages after which the history begins afresh; a real one might take a thousand


@attrs.frozen
class Change:
    """A message to an account."""

    what: Literal["deposit", "withdraw"]
    amount: int


@app.activity
async def write_ledger(account: str, change: Change) -> None:
    """Touch the world."""


@app.orchestration
async def account(name: str, balance: int = 0) -> NoReturn:
    """What it knows is in its arguments; whoever wants to know reads its status."""
    for _ in range(CHAPTER):
        change = await durable.wait_event("change", Change)
        after = balance + change.amount if change.what == "deposit" else balance - change.amount
        if after < 0:
            durable.set_status(f"refused: {change.amount} from {balance}")
            continue
        balance = after
        await write_ledger(name, change)
        durable.set_status(f"balance: {balance}")
    durable.continue_as_new(name, balance)  # messages that are not read yet go along


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        ada = await runtime.client.start(account, "Ada", id="account-ada")
        said = ada.watch()
        await ada.raise_event("change", Change("deposit", 70))
        print(await anext(said))
        await ada.raise_event("change", Change("withdraw", 100))
        print(await anext(said))
        for _ in range(5):
            await ada.raise_event("change", Change("deposit", 1))
        async for status in said:
            if status == "balance: 75":
                break
        print(status)
        print(f"chapters: {(await ada.info()).execution}")


if __name__ == "__main__":
    trio.run(main)
