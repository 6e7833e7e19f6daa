"""What happened: the closed union of everything a history can hold.

Laws: an event is past tense, immutable and complete; `id` is its position in the execution's history, from 1, given
by the engine, never by a store; an event that was *delivered* opens a segment, those that the program *asked for*
follow it. Every event has `extra`, fields that an older reader keeps and passes over. A message is an event that has
not happened yet: id 0, until it is delivered.

Must never know: the kernel, stores, how it is encoded (`_codec.py`).
Who calls it: everybody above. Read next: `_codec.py`, then `_kernel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import attrs

from trioflow.history._failures import Failure

REPLAY_SEMANTICS = 1  # of this release; recorded in OrchestrationStarted, so a worker knows what it can replay

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})  # one for all events, which cannot be changed anyway


@attrs.frozen(kw_only=True)
class ParentLink:
    """Who waits for a child: the parent's instance, its execution, and the event that scheduled the child."""

    instance: str
    execution: int
    event_id: int


@attrs.frozen(kw_only=True)
class CarriedEvent:
    """An unread event handed from one execution to the next."""

    name: str
    payload: bytes


@attrs.frozen(kw_only=True)
class CarriedCancel:
    """A cancellation that the execution before had been asked for and had not absorbed."""

    reason: str | None = None


@attrs.frozen(kw_only=True)
class Event:
    """What all events have."""

    id: int = 0  # position in the history, from 1; 0 while it is a message or a draft
    at: float = 0.0  # store's clock, seconds since the Unix epoch
    extra: Mapping[str, Any] = attrs.field(default=NOTHING, repr=False)

    delivered: ClassVar[bool] = False  # opens a segment
    ends: ClassVar[bool] = False  # ends the execution
    administrative: ClassVar[bool] = False  # is a client's, and belongs to no segment

    def placed(self, id: int, at: float) -> Self:
        """The same event at its place in a history: what a message or a draft becomes."""
        made = object.__new__(type(self))  # not `attrs.evolve`, which reads the class anew for each event
        for name in _COPIED[type(self)]:
            object.__setattr__(made, name, getattr(self, name))
        object.__setattr__(made, "id", id)
        object.__setattr__(made, "at", at)
        return made


@attrs.frozen(kw_only=True)
class Delivered(Event):
    """An event that comes from outside and opens a segment."""

    delivered: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class Answer(Delivered):
    """An event that answers an operation of the program."""

    answers: int  # id of the event that asked


@attrs.frozen(kw_only=True)
class AskedAt(Event):
    """An event that the program asked for, at a place that no other branch's work can move."""

    place: str  # such as "0.1#2"


@attrs.frozen(kw_only=True)
class Asking(Event):
    """An event that the program asked for about an earlier one."""

    about: int  # id of that event


# -- the execution ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OrchestrationStarted(Delivered):
    """The first event of an execution: everything it needs to begin, here or anywhere."""

    instance: str
    execution: int = 1
    name: str
    version: str | None = None  # None only in the message: the first turn pins it
    payload: bytes  # the arguments, by parameter name
    seed: str  # hex; keys the random streams
    semantics: int = REPLAY_SEMANTICS
    parent: ParentLink | None = None
    headers: Mapping[str, str] = NOTHING  # the starter's trace context
    carried_events: tuple[CarriedEvent, ...] = ()
    carried_kv: Mapping[str, bytes] = NOTHING
    carried_kv_times: Mapping[str, float] = NOTHING  # when each was last set
    carried_status: bytes | None = None
    carried_cancel: CarriedCancel | None = None


@attrs.frozen(kw_only=True)
class OrchestrationCompleted(Event):
    """It returned."""

    payload: bytes
    unread: tuple[CarriedEvent, ...] = ()
    ends: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class OrchestrationFailed(Event):
    """It raised."""

    failure: Failure
    unread: tuple[CarriedEvent, ...] = ()
    ends: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class OrchestrationCancelled(Event):
    """It was cancelled and has unwound."""

    reason: str | None = None
    unread: tuple[CarriedEvent, ...] = ()
    ends: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class OrchestrationTerminated(Delivered):
    """It was ended from outside, without unwinding."""

    reason: str | None = None
    unread: tuple[CarriedEvent, ...] = ()
    ends: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class OrchestrationContinuedAsNew(Event):
    """It ended to begin again with a fresh history."""

    payload: bytes
    version: str | None = None
    ends: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class CancelRequested(Delivered):
    """Somebody asked it to unwind."""

    reason: str | None = None


@attrs.frozen(kw_only=True)
class Suspended(Event):
    """A client stopped it for a while."""

    reason: str | None = None
    administrative: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class Resumed(Event):
    """A client let it go on."""

    administrative: ClassVar[bool] = True


@attrs.frozen(kw_only=True)
class Parked(Event):
    """It cannot go on until somebody acts."""

    failure: Failure
    administrative: ClassVar[bool] = True


# -- activities -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ActivityScheduled(AskedAt):
    """A branch asked for an activity."""

    name: str
    payload: bytes
    on_cancel: str = "wait"
    tag: str | None = None
    session: str | None = None
    headers: Mapping[str, str] = NOTHING


@attrs.frozen(kw_only=True)
class ActivityCompleted(Answer):
    """The activity returned."""

    payload: bytes


@attrs.frozen(kw_only=True)
class ActivityFailed(Answer):
    """The activity raised, and no retry is left."""

    failure: Failure


@attrs.frozen(kw_only=True)
class ActivityCancelRequested(Asking):
    """A branch asked for the end of its activity."""


@attrs.frozen(kw_only=True)
class ActivityCancelled(Answer):
    """The activity ended by our cancellation."""

    how: str = "ended"  # "ended", "never_started" or "lost"


# -- time -------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TimerCreated(AskedAt):
    """A deadline was open when the program blocked."""

    deadline: float


@attrs.frozen(kw_only=True)
class TimerFired(Delivered):
    """Time has come for at least one deadline; the event only brings the time."""


@attrs.frozen(kw_only=True)
class TimerCancelled(Asking):
    """That deadline was closed or moved."""


# -- events from outside ----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class EventReceived(Delivered):
    """An event entered the history; it waits in its mailbox until somebody takes it."""

    name: str
    payload: bytes


@attrs.frozen(kw_only=True)
class EventWaited(AskedAt):
    """A branch waits for an event of that name."""

    name: str


# -- children ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ChildScheduled(AskedAt):
    """A branch asked for a child orchestration."""

    name: str
    version: str | None = None
    instance: str
    payload: bytes
    on_cancel: str = "wait"
    on_parent_close: str = "cancel"
    headers: Mapping[str, str] = NOTHING


@attrs.frozen(kw_only=True)
class ChildCompleted(Answer):
    """The child returned."""

    payload: bytes


@attrs.frozen(kw_only=True)
class ChildFailed(Answer):
    """The child raised, or could not be started."""

    failure: Failure


@attrs.frozen(kw_only=True)
class ChildCancelRequested(Asking):
    """A branch asked for the end of its child."""


@attrs.frozen(kw_only=True)
class ChildCancelled(Answer):
    """The child has unwound after a cancellation."""

    reason: str | None = None


@attrs.frozen(kw_only=True)
class ChildTerminated(Answer):
    """The child was terminated."""

    reason: str | None = None


@attrs.frozen(kw_only=True)
class DetachedScheduled(AskedAt):
    """A branch asked for a new root instance."""

    name: str
    version: str | None = None
    instance: str
    payload: bytes
    headers: Mapping[str, str] = NOTHING


@attrs.frozen(kw_only=True)
class DetachedStarted(Answer):
    """The new instance exists."""

    instance: str = ""


@attrs.frozen(kw_only=True)
class DetachedRefused(Answer):
    """The new instance could not be started."""

    failure: Failure


# -- what the program says of itself ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class StatusSet(Event):
    """The program's progress, for clients."""

    payload: bytes


@attrs.frozen(kw_only=True)
class KeyValueSet(Event):
    """A value was stored."""

    key: str
    payload: bytes


@attrs.frozen(kw_only=True)
class KeyValueCleared(Event):
    """A value was removed."""

    key: str


@attrs.frozen(kw_only=True)
class Recorded(AskedAt):
    """A small nondeterministic function ran, once; either its value or its failure."""

    name: str
    payload: bytes | None = None
    failure: Failure | None = None


@attrs.frozen(kw_only=True)
class PatchMarked(Event):
    """The program took the new side of a version gate."""

    change: str


EVENTS: tuple[type[Event], ...] = (
    OrchestrationStarted,
    OrchestrationCompleted,
    OrchestrationFailed,
    OrchestrationCancelled,
    OrchestrationTerminated,
    OrchestrationContinuedAsNew,
    CancelRequested,
    Suspended,
    Resumed,
    Parked,
    ActivityScheduled,
    ActivityCompleted,
    ActivityFailed,
    ActivityCancelRequested,
    ActivityCancelled,
    TimerCreated,
    TimerFired,
    TimerCancelled,
    EventReceived,
    EventWaited,
    ChildScheduled,
    ChildCompleted,
    ChildFailed,
    ChildCancelRequested,
    ChildCancelled,
    ChildTerminated,
    DetachedScheduled,
    DetachedStarted,
    DetachedRefused,
    StatusSet,
    KeyValueSet,
    KeyValueCleared,
    Recorded,
    PatchMarked,
)
"""Every kind of event; its kind is its class's name."""

_COPIED: Final = {cls: tuple(a.name for a in attrs.fields(cls) if a.name not in ("id", "at")) for cls in EVENTS}
