"""Where no orchestration may reach out, neither may what reads and writes for it."""

from __future__ import annotations

import trio

from tests.engine.driving import Driven
from trioflow import durable
from trioflow.app import App
from trioflow.errors import ForeignAwaitError


class Parcel:
    """A class with hooks of its own."""


async def test_hooks_of_the_codec_are_guarded_as_the_program_is() -> None:
    """One that looks for trio when it reads what the program is called with finds none, live and in a replay alike."""
    app = App("hooks")
    found: list[str] = []

    def read(_: object) -> Parcel:
        try:
            trio.current_time()
        except ForeignAwaitError:
            found.append("nothing")
        else:
            found.append("trio")
        return Parcel()

    app.codec.register(Parcel, lambda _: {}, read)

    @app.orchestration
    async def program(parcel: Parcel) -> None:
        await durable.wait_event("e")

    driven = Driven(program, Parcel())
    driven.start()
    driven.turn(driven.event("e"))
    assert set(found) == {"nothing"}
    assert len(found) == 5  # live once; by each turn twice from scratch
    assert trio.current_time() > 0
