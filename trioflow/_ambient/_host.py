"""Whoever runs the current orchestration, as its verbs see it: the port between what authors write and the engine.

Laws: everything here answers at once and is deterministic (from the history, while it is replayed); what has to wait
goes through `_kernel.perform` with an ask of `_asks.py`. The engine implements `Host`; nothing below knows it.
Read next: `durable`, `app`, and then `_engine._execution`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs

from trioflow._kernel import Task, current_kernel
from trioflow.history import AskedAt, CarriedEvent, FailureCodec, ParentLink, PayloadCodec, Recorded


@attrs.frozen(kw_only=True)
class OrchestrationInfo:
    """What an orchestration may know of itself, at the point of its history that is being evaluated."""

    instance: str
    execution: int  # from 1; continue-as-new counts on
    name: str
    version: str
    parent: ParentLink | None  # who waits for it
    history_length: int  # events
    history_size: int  # bytes, about
    is_replaying: bool  # whether what the code does now has been done before


@attrs.frozen(kw_only=True)
class LogEntry:
    """A log record of an orchestration, to be emitted once the turn that made it is committed."""

    logger: str
    level: int
    message: str
    args: tuple[Any, ...] = ()
    exc_info: BaseException | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)


class Host(Protocol):
    """What the verbs of `durable` and the definitions of `app` need from whoever runs them."""

    @property
    def codec(self) -> PayloadCodec:
        """How values cross the durable border."""
        ...

    @property
    def failures(self) -> FailureCodec:
        """How exceptions cross it."""
        ...

    def registered_name(self, definition: Any) -> str:
        """The name under which the running app knows a definition; raises ConfigurationError if it does not."""
        ...

    def orchestration_named(self, name: str) -> Any:
        """The definition of that name, in the version that the app uses; raises UnregisteredError."""
        ...

    def own_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Arguments for another execution of the running orchestration, encoded by its own signature."""
        ...

    def recorded_next(self) -> AskedAt | None:
        """The event that recorded the operation which is asked for next, if it is replayed: what it holds is beyond no
        limit of today, and what cancelling the branch is to do to the operation is what was to be done then.
        """
        ...

    def info(self) -> OrchestrationInfo: ...

    def stream(self, branch: Task) -> random.Random:
        """The branch's own random stream."""
        ...

    def record(self, place: str, name: str, fn: Callable[[], bytes]) -> Recorded | None:
        """The recorded outcome of a nondeterministic function, run now if it never was. None if the history holds
        something else: then the turn ends at the next checkpoint, whatever the code does.
        """
        ...

    def take_event(self, name: str) -> CarriedEvent | None:
        """The oldest unread event of that name, taken; None if there is none."""
        ...

    def recorded_value(self, key: str) -> bytes | None:
        """What the history says was stored next, if that was under this key: it is beyond no limit of today. None where
        nothing is replayed.
        """
        ...

    def recorded_status(self) -> bytes | None:
        """As `recorded_value`, of the status."""
        ...

    def get_status(self) -> bytes | None: ...

    def set_status(self, payload: bytes) -> None: ...

    def kv_get(self, key: str) -> bytes | None: ...

    def kv_updated_at(self, key: str) -> float | None: ...

    def kv_set(self, key: str, payload: bytes) -> None: ...

    def kv_clear(self, key: str) -> None: ...

    def kv_keys(self) -> Iterable[str]: ...

    def patched(self, change: str) -> bool: ...

    def log(self, entry: LogEntry) -> None: ...

    def fatal(self, exc: BaseException) -> BaseException:
        """The turn cannot go on, whatever the code does: returns `exc`, to be raised."""
        ...


def current_host() -> Host:
    """Whoever runs the orchestration that is running now. Raises NotInOrchestration."""
    host: Host = current_kernel().host  # type: ignore[assignment]  # opaque to the kernel
    return host
