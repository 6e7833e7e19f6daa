"""The smallest durable orchestration: one activity, one result, in a file that would survive a crash.

Prints:
    Hello, world!
"""

import pathlib
import tempfile

import trio

import trioflow

app = trioflow.App("hello")


@app.activity
async def greet(name: str) -> str:
    """Touch the world: here, only make a greeting."""
    return f"Hello, {name}!"


@app.orchestration
async def hello(name: str) -> str:
    """Every await is a durable step."""
    return await greet(name)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:{pathlib.Path(folder, 'hello.db')}"
        async with trioflow.open_runtime(app, store) as runtime:
            handle = await runtime.client.start(hello, "world", id="hello-1")
            print(await handle.result())


if __name__ == "__main__":
    trio.run(main)
