"""A chat with memory: messages in through a mailbox, a slow model as an activity, replies out through the status.

Prints:
    you: hello
    bot: you said "hello", and nothing before it
    you: how are you
    bot: you said "how are you", and before it 2 lines
    a conversation of 4 lines
"""

from typing import Any

import trio

import trioflow
from trioflow import durable

app = trioflow.App("chat")


@app.activity(retry=trioflow.Retry(max_attempts=5), timeout=30)
async def think(lines: list[str]) -> str:
    """Ask a model; here, one that is not very bright."""
    await trio.sleep(0.01)
    before = f"before it {len(lines) - 1} lines" if len(lines) > 1 else "nothing before it"
    return f'you said "{lines[-1]}", and {before}'


@app.orchestration
async def conversation(lines: list[str]) -> str:
    """One question and one answer a chapter, so that a conversation of years has a short history."""
    with durable.move_on_after(3600):  # an hour of silence ends it
        text = await durable.wait_event("message", str)
        if text != "bye":
            reply = await think([*lines, text])
            durable.set_status({"turn": len(lines) // 2, "reply": reply})
            durable.continue_as_new([*lines, text, reply])
    return f"a conversation of {len(lines)} lines"


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:
        chat: trioflow.Handle[Any] = await runtime.client.start(conversation, [], id="chat-with-ada")
        replies = chat.watch()
        for text in ("hello", "how are you"):
            print(f"you: {text}")
            await chat.raise_event("message", text)
            print(f"bot: {(await anext(replies))['reply']}")
        await chat.raise_event("message", "bye")
        print(await chat.result())


if __name__ == "__main__":
    trio.run(main)
