"""Requests and answers: an instance that serves, whose answers are key values that any client may read.

Prints:
    7 squared is 49
    8 squared is 64
    9 squared is 81
"""

import uuid
from typing import Any, NoReturn

import attrs
import trio

import trioflow
from trioflow import durable

app = trioflow.App("server")

KEEP = 100  # answers that are kept for those who are slow to read them


@attrs.frozen
class Request:
    """What is asked, and under which key the answer is wanted."""

    id: str
    number: int


@app.activity
async def square(number: int) -> int:
    """The work."""
    await trio.sleep(0.01)
    return number * number


@app.orchestration
async def serve() -> NoReturn:
    """Answer one request, then begin afresh: the answers stay."""
    request = await durable.wait_event("request", Request)
    durable.kv[request.id] = await square(request.number)
    for old in list(durable.kv)[:-KEEP]:
        del durable.kv[old]
    durable.continue_as_new()


async def ask(server: trioflow.Handle[Any], number: int) -> int:
    """The other side: send a request, and wait for the answer."""
    request = Request(str(uuid.uuid4()), number)
    await server.raise_event("request", request, dedupe_key=request.id)  # may be sent again
    while True:
        answers = await server.kv()
        if request.id in answers:
            return int(answers[request.id])
        await trio.sleep(0.01)


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        server = await runtime.client.start(serve, id="server", if_exists="attach")
        squares: dict[int, int] = {}

        async def client(number: int) -> None:
            squares[number] = await ask(server, number)

        async with trio.open_nursery() as nursery:
            for number in (7, 8, 9):
                nursery.start_soon(client, number)
        for number in sorted(squares):
            print(f"{number} squared is {squares[number]}")


if __name__ == "__main__":
    trio.run(main)
