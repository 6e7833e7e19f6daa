"""Sessions: the steps of a conversation stay with the runtime that has its model in memory.

Two runtimes share a store. Each conversation begins wherever there is room, and goes on there; when one runtime stops,
its conversations move.

Prints:
    4 conversations, 20 answers, models loaded 4 times
    after one runtime has stopped: 20 answers, each conversation in one place
"""

import trio

import trioflow
from trioflow import activity, durable

ROUNDS = 5


def chat(loaded: list[str]) -> trioflow.App:
    """The application of one runtime, with models of its own in memory."""
    app = trioflow.App("chat")
    models: dict[str, int] = {}

    @app.activity
    async def answer(question: int) -> int:
        """Expensive at first, cheap wherever the conversation is known already."""
        conversation = activity.info().session
        assert conversation is not None
        if conversation not in models:
            loaded.append(conversation)
            models[conversation] = 0
        models[conversation] += 1
        return models[conversation]

    @app.orchestration
    async def converse() -> list[int]:
        in_session = answer.options(session=durable.info().instance)
        return [await in_session(question) for question in range(ROUNDS)]

    return app


async def main() -> None:
    store, loaded = trioflow.stores.MemoryStore(), list[str]()
    async with trioflow.open_runtime(chat(loaded), store) as first:
        async with trioflow.open_runtime(chat(loaded), store):
            handles = [await first.client.start("converse", id=f"conversation-{number}") for number in range(4)]
            answers = [await handle.result() for handle in handles]
            print(f"4 conversations, {sum(map(len, answers))} answers, models loaded {len(loaded)} times")
        # The second runtime has stopped and given its conversations back.
        handles = [await first.client.start("converse", id=f"conversation-{number}-again") for number in range(4)]
        answers = [await handle.result() for handle in handles]
        if all(numbers == list(range(1, ROUNDS + 1)) for numbers in answers):
            total = sum(map(len, answers))
            print(f"after one runtime has stopped: {total} answers, each conversation in one place")


if __name__ == "__main__":
    trio.run(main)
