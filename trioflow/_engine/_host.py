"""What a running orchestration is given at once: random streams, recorded values, status, kv, patches, its own
description.

Laws: every answer follows from the history alone; what is said is written into the journal. Implements `_ambient.Host`.
Must never know: scheduling. Who calls it: the verbs of `durable` and the definitions of `app`. Read next:
`_ending.py`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from trioflow._ambient import LogEntry, OrchestrationInfo
from trioflow._engine._journal import Journal
from trioflow._engine._segments import Said, describe
from trioflow._kernel import Task, next_operation_key
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import LimitExceeded
from trioflow.history import (
    AskedAt,
    CarriedEvent,
    Failure,
    FailureCodec,
    KeyValueCleared,
    KeyValueSet,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationStarted,
    PatchMarked,
    PayloadCodec,
    Recorded,
    StatusSet,
    derive,
)


@attrs.define(eq=False)
class EngineHost:
    """The services of one execution."""

    app: App
    definition: OrchestrationDefinition[Any, Any]
    journal: Journal
    stop: Callable[[BaseException], None]  # makes the kernel end the turn with this error
    codec: PayloadCodec = attrs.field(init=False)  # how values cross the durable border
    started: OrchestrationStarted | None = None  # from the first event on
    mailboxes: dict[str, deque[CarriedEvent]] = attrs.field(factory=dict)  # unread events by name; never an empty one
    unread_bytes: int = 0  # in their payloads
    status: bytes | None = None
    kv: dict[str, bytes] = attrs.field(factory=dict)
    kv_times: dict[str, float] = attrs.field(factory=dict)  # of each key of `kv`: when it was last set
    changed_status: bytes | None = None  # in this turn
    changed_kv: dict[str, bytes | None] = attrs.field(factory=dict)  # in this turn; None: cleared
    marks: dict[str, bool] = attrs.field(factory=dict)  # patches marked anywhere in the history, or decided so far
    _streams: WeakKeyDictionary[Task, random.Random] | None = None  # by branch, from the first one on

    def __attrs_post_init__(self) -> None:
        self.codec = self.app.codec

    @property
    def failures(self) -> FailureCodec:
        """How exceptions cross it."""
        return self.app.failures

    def begin(self, started: OrchestrationStarted) -> None:
        """Take what the first event carries, which is kept without it: nothing of that is in memory twice."""
        self.started = attrs.evolve(
            started, payload=b"", carried_events=(), carried_kv={}, carried_kv_times={}, carried_status=None
        )
        self.kv = dict(started.carried_kv)
        self.kv_times = {key: started.carried_kv_times.get(key, started.at) for key in self.kv}
        self.status = started.carried_status
        for event in started.carried_events:
            self.put_event(event)

    def take_turn(self) -> tuple[bytes | None, dict[str, bytes | None]]:
        """The status if it was set, and the values that were set or cleared (None), since the last call."""
        taken = self.changed_status, self.changed_kv
        self.changed_status, self.changed_kv = None, {}
        return taken

    # -- who am I

    def registered_name(self, definition: Any) -> str:
        """The name under which the running app knows a definition."""
        name: str = definition.name if definition.app is self.app else self.app.name_of(definition)
        return name

    def orchestration_named(self, name: str) -> OrchestrationDefinition[Any, Any]:
        """The definition of that name, in the version that the app uses."""
        return self.app.find_orchestration(name)

    def own_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Arguments for the next execution."""
        what, recorded = f"orchestration {self.definition.name!r}", self.recorded_end(OrchestrationContinuedAsNew)
        return self.codec.encode_arguments(self.definition.spec, args, kwargs, what=what, recorded=recorded)

    def recorded_next(self) -> AskedAt | None:
        """What was recorded at the place of the operation that is asked for next."""
        segment = self.journal.segment
        if segment is None:
            return None
        return segment.asked.get(next_operation_key())  # type: ignore[return-value]  # by a place, nothing else is there

    def recorded_value(self, key: str) -> bytes | None:
        """What was stored next, if that was under this key."""
        head = self._said_next()
        return head.payload if isinstance(head, KeyValueSet) and head.key == key else None

    def recorded_status(self) -> bytes | None:
        """The status that was set next, if that is what came next."""
        head = self._said_next()
        return head.payload if isinstance(head, StatusSet) else None

    def _said_next(self) -> Said | None:
        segment = self.journal.segment
        return segment.said[0] if segment is not None and segment.said else None

    def _say(self, event: Said) -> None:
        """Write a draft, or pass over what the history says of it."""
        if self.journal.segment is not None:
            self.journal.segment.say(event)
        self.journal.say(event)

    def recorded_end(self, kind: type[OrchestrationCompleted | OrchestrationContinuedAsNew]) -> bytes | None:
        """What the execution ended with, if it ended in this segment, and in that way."""
        segment = self.journal.segment
        ending = None if segment is None else segment.ending
        return ending.payload if isinstance(ending, kind) else None

    def info(self) -> OrchestrationInfo:
        """At the point of history that is being evaluated."""
        assert self.started is not None
        length, size = self.journal.opened
        return OrchestrationInfo(
            instance=self.started.instance,
            execution=self.started.execution,
            name=self.started.name,
            version=self.started.version or self.definition.version,
            parent=self.started.parent,
            history_length=length,
            history_size=size,
            is_replaying=self.journal.replaying,
        )

    def stream(self, branch: Task) -> random.Random:
        """The branch's own random stream, by its place."""
        if self._streams is None:
            self._streams = WeakKeyDictionary()
        stream = self._streams.get(branch)
        if stream is None:
            assert self.started is not None
            seed = int.from_bytes(derive(self.started.seed, "stream", branch.place), "big")
            stream = self._streams[branch] = random.Random(seed)
        return stream

    # -- said once

    def record(self, place: str, name: str, fn: Callable[[], bytes]) -> Recorded | None:
        """Run `fn` now, or know what it gave; None if the history holds something else."""
        if self.journal.replaying:
            recorded = self.journal.recorded_at(place)
            if not isinstance(recorded, Recorded) or recorded.name != name:
                expected = describe(recorded) if recorded else None
                self.stop(self.journal.disagreement(place, expected, f"Recorded {name!r} at {place}"))
                return None
            return recorded
        payload: bytes | None = None
        failure: Failure | None = None
        try:
            payload = fn()
        except Exception as exc:
            failure = self.failures.to_failure(exc)
        made = Recorded(place=place, name=name, payload=payload, failure=failure)
        self.journal.say(made)
        return made

    def patched(self, change: str) -> bool:
        """Decided at the first call, for the whole execution."""
        if change not in self.marks:
            self.codec.limits.check_id("change", change)
            self.marks[change] = not self.journal.replaying
            self.journal.say(PatchMarked(change=change))
        return self.marks[change]

    def log(self, entry: LogEntry) -> None:
        """Keep it for after the commit; silent in replay."""
        if not self.journal.replaying:
            self.journal.logs.append(entry)

    def fatal(self, exc: BaseException) -> BaseException:
        """End the turn with `exc`, whatever the code does with it."""
        self.stop(exc)
        return exc

    # -- events

    @property
    def unread(self) -> int:
        """Events received and not taken."""
        return sum(map(len, self.mailboxes.values()))

    def put_event(self, event: CarriedEvent) -> None:
        """An event arrived."""
        self.mailboxes.setdefault(event.name, deque()).append(event)
        self.unread_bytes += len(event.payload)

    def take_event(self, name: str) -> CarriedEvent | None:
        """The oldest unread one."""
        box = self.mailboxes.get(name)
        if box is None:
            return None
        event = box.popleft()
        self.unread_bytes -= len(event.payload)
        if not box:
            del self.mailboxes[name]
        return event

    def unread_events(self) -> tuple[CarriedEvent, ...]:
        """All unread ones, by name in order of arrival of the name's first."""
        return tuple(event for box in self.mailboxes.values() for event in box)

    # -- status and kv

    def get_status(self) -> bytes | None:
        """As last set."""
        return self.status

    def set_status(self, payload: bytes) -> None:
        """Progress for clients."""
        limit = self.app.limits.status_size
        if len(payload) > limit and payload != self.recorded_status():
            raise LimitExceeded(
                f"a status of {len(payload)} bytes is larger than status_size ({limit}); keep large values in kv, "
                f"or in a store of your own",
                limit="status_size",
                allowed=limit,
                actual=len(payload),
            )
        self.status = payload
        if not self.journal.replaying:
            self.changed_status = payload
        self._say(StatusSet(payload=payload))

    def kv_get(self, key: str) -> bytes | None:
        """The value of a key."""
        return self.kv.get(key)

    def kv_updated_at(self, key: str) -> float | None:
        """When the value of a key was set."""
        return self.kv_times.get(key)

    def kv_set(self, key: str, payload: bytes) -> None:
        """Store a value."""
        limits, known = self.app.limits, payload == self.recorded_value(key)
        if len(payload) > limits.kv_value_size and not known:
            raise LimitExceeded(
                f"kv[{key!r}]: a value of {len(payload)} bytes is larger than kv_value_size ({limits.kv_value_size})",
                limit="kv_value_size",
                allowed=limits.kv_value_size,
                actual=len(payload),
            )
        if key not in self.kv and len(self.kv) >= limits.kv_keys and not known:
            raise LimitExceeded(
                f"kv[{key!r}]: the instance holds kv_keys ({limits.kv_keys}) keys already",
                limit="kv_keys",
                allowed=limits.kv_keys,
                actual=len(self.kv) + 1,
            )
        self.kv[key] = payload
        self.kv_times[key] = self.journal.at  # history's time, so a replay gives the same
        self._changed(key, payload)
        self._say(KeyValueSet(key=key, payload=payload))

    def kv_clear(self, key: str) -> None:
        """Remove a key that is there."""
        del self.kv[key], self.kv_times[key]
        self._changed(key, None)
        self._say(KeyValueCleared(key=key))

    def _changed(self, key: str, payload: bytes | None) -> None:
        if not self.journal.replaying:
            self.changed_kv[key] = payload

    def kv_keys(self) -> Iterable[str]:
        """All keys, oldest first."""
        return tuple(self.kv)
