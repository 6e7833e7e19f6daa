"""Beginning an instance, with what instruments add to it and are told of it.

Law: whatever comes of a start that instruments gave headers to, they are told. Who calls it: `_client.py`,
`_restarting.py`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from trioflow._client._info import draft_of
from trioflow._client._requests import until_answered
from trioflow.abc import BornLeased, Start, StartAnswered, StartInstance, Started
from trioflow.history import OrchestrationStarted, qualified_name

if TYPE_CHECKING:
    from trioflow._client._steering import Steering


class FirstTurn(Protocol):
    """A runtime's offer to run the first turn of what is about to be started: a context manager around the start."""

    @property
    def born(self) -> BornLeased:
        """For the request."""
        ...

    def answered(self, answer: Started) -> None:
        """The store has said how it went. Not called: nobody knows."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


async def begin(client: Steering, started: OrchestrationStarted, request: StartInstance) -> Started:
    """Ask the store to begin an instance with this event, of which the request holds the draft."""
    instruments = client.instruments
    if not instruments:
        return await until_answered(client.store.start_instance, request)
    start = Start(by="client", instance=started.instance, name=started.name, seed=started.seed, at=client.env.now())

    def tell(how: Literal["created", "attached", "refused"], error: str | None = None) -> None:
        instruments.saw(StartAnswered(start=start, at=client.env.now(), how=how, error=error))

    try:
        draft = draft_of(attrs.evolve(started, headers=instruments.headers(start)), client.codec)
        request = attrs.evolve(request, start=draft)
        answer = await until_answered(client.store.start_instance, request)
    except BaseException as exc:
        tell("refused", qualified_name(type(exc)))
        raise
    tell("created" if answer.created else "attached")
    return answer
