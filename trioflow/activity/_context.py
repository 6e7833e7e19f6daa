"""What a running activity may know and ask of whoever runs it.

Laws: it lives in a `contextvars` variable, so it follows the body into tasks it starts and into its worker thread;
nothing here waits; a heartbeat is a note, kept until the lease is next renewed, and the place where a thread that
takes notes hears of its cancellation.

Must never know: stores, runtimes. Who calls it: activity bodies; `_runtime` sets `current` around a body.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from trioflow.errors import NotInOrchestration
from trioflow.history import PayloadCodec

if TYPE_CHECKING:
    from trioflow._client import Client


@attrs.frozen(kw_only=True)
class ActivityInfo:
    """What an attempt is, and for whom it runs."""

    instance: str  # the orchestration that asked for it
    execution: int  # from 1; continue-as-new counts on
    event_id: int  # of the event that scheduled it, in that execution's history
    name: str
    attempt: int  # from 1; attempts that were lost count
    tag: str | None = None
    session: str | None = None
    deadline: float | None = None  # seconds since the Unix epoch at which this attempt is cancelled; None: never
    heartbeat_timeout: float | None = None  # seconds that it may go without a heartbeat; None: for ever
    last_heartbeat: Any = None  # details of the last heartbeat of an earlier attempt

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this activity, and never of another: give it to what must not happen twice."""
        return f"{self.instance}/{self.execution}/{self.event_id}"


class Surroundings(Protocol):
    """An attempt's link to whoever runs it."""

    @property
    def codec(self) -> PayloadCodec: ...

    @property
    def client(self) -> Client | None:
        """Of the runtime; None where there is none."""
        ...

    def info(self) -> ActivityInfo: ...

    def note(self, details: bytes) -> None:
        """Keep a heartbeat for the next renewal."""
        ...


current: Final[ContextVar[Surroundings]] = ContextVar("trioflow.activity")
"""The attempt that this task or thread belongs to."""


def surroundings() -> Surroundings:
    """The current attempt's; raises NotInOrchestration, a RuntimeError, outside one."""
    try:
        return current.get()
    except LookupError:
        raise NotInOrchestration(
            "trioflow.activity was asked where no activity runs; its functions work in the body of an `@app.activity` "
            "that a runtime runs, in tasks and threads that the body starts, and nowhere else"
        ) from None


def info() -> ActivityInfo:
    """What is running: instance, execution, event, attempt, idempotency key, tag, session, deadline."""
    return surroundings().info()


def heartbeat(details: Any = None) -> None:
    """Note how far this attempt has come; kept with the next renewal of its lease, or its end, and shown to the next
    attempt. Puts off its `heartbeat_timeout`.

    Returns at once. In a plain function, which runs in a thread, it is where cancellation is heard, too, as in
    `trio.from_thread.check_cancelled`; an async body hears at its next checkpoint.

    Raises:
        EncodeError: the details are not plain JSON data.
        trio.Cancelled: the thread's activity is to end.
    """
    around = surroundings()
    around.note(around.codec.encode(details, what=f"the heartbeat of activity {around.info().name!r}"))
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        pass  # no thread of trio's: the body is async, or the function was called in a thread of its own


def client() -> Client:
    """The `trioflow.Client` of the runtime that runs this activity.

    It may start, steer, read and administer all that a client may, its own instance, too; what it does is done at once,
    whatever becomes of this attempt, and done again by the next. A plain function, which runs in a thread, calls it by
    `trio.from_thread.run`.

    Raises NotInOrchestration where the activity runs without a runtime, as in `testing.run_durable`.
    """
    around = surroundings()
    if around.client is None:
        raise NotInOrchestration(
            f"activity {around.info().name!r} runs without a runtime here, so there is no client to ask"
        )
    return around.client
