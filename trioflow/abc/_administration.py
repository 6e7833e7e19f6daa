"""The frozen records of administration: finding, counting, deleting and pruning instances.

Laws: as `_records.py`; a list has one order, newest first, and a place in it stays where it is while instances come and
go; what is deleted is gone with all that belongs to it, or nothing is.

Must never know: the engine, the kernel. Read next: `_store.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trioflow.abc._records import EventRow, InstanceRecord, OutMessage, State


@attrs.frozen(kw_only=True)
class InstanceQuery:
    """Which instances: all that is said has to hold. Times are on the store's clock; from `after` on, before `before`.

    `parent`: the id of the instance whose children are wanted; `roots`: only those that no instance waits for.
    """

    states: tuple[State, ...] = ()  # none named: any
    name: str | None = None
    version: str | None = None
    prefix: str = ""  # of the id
    parent: str | None = None
    roots: bool = False
    attributes: Mapping[str, str] = attrs.field(factory=dict)  # each of these pairs
    created_after: float | None = None
    created_before: float | None = None
    updated_after: float | None = None
    updated_before: float | None = None
    ended_after: float | None = None
    ended_before: float | None = None


@attrs.frozen
class ListPlace:
    """A place in a list: right after this instance. Instances that were created since are before it."""

    created_at: float
    instance: str


@attrs.frozen(kw_only=True)
class ListInstances:
    """Up to `limit` instances from a place on, newest first; those of one moment by id, last first."""

    query: InstanceQuery = InstanceQuery()
    limit: int = 100
    after: ListPlace | None = None


@attrs.frozen(kw_only=True)
class InstancePage:
    """`next`: where to go on; None where this was the end."""

    instances: tuple[InstanceRecord, ...]
    next: ListPlace | None


@attrs.frozen(kw_only=True)
class ExecutionRecord:
    """One execution whose history is kept, in short. `first` and `last` are its events without their payloads; the
    current execution has none before its first turn.
    """

    execution: int
    history_length: int
    history_bytes: int
    first: EventRow | None
    last: EventRow | None


@attrs.frozen(kw_only=True)
class DeleteInstances:
    """Remove instances with all their descendants: those whose parents are removed.

    `executions`: those of the instances that are named there go only while that execution of them is current. `force`:
    also where one of them has not ended. `messages`: to those who wait for them, posted with the deletion.
    """

    request_id: str
    instances: tuple[str, ...]
    executions: Mapping[str, int] = attrs.field(factory=dict)
    force: bool = False
    messages: tuple[OutMessage, ...] = ()


@attrs.frozen(kw_only=True)
class PruneExecutions:
    """Remove histories of an instance's earlier executions, never the current one's.

    All that is said has to hold. `keep`: the newest so many executions stay, the current one counted. `ended_before`:
    only those whose last event is older. `request_id`: for who wants to know how many, also where an answer is lost;
    to remove them twice does no more than once, so None remembers nothing.
    """

    request_id: str | None = None
    instance: str
    keep: int = 1
    ended_before: float | None = None


@attrs.frozen(kw_only=True)
class QueueDepth:
    """How much of something waits. `oldest`: seconds for which the first that is ready has waited."""

    ready: int  # may be taken now
    leased: int  # somebody has it
    later: int  # its time has not come
    oldest: float | None = None


@attrs.frozen(kw_only=True)
class QueueDepths:
    """What waits for runtimes. `tagged`: of the activities, those with each tag."""

    turns: QueueDepth
    activities: QueueDepth
    tagged: Mapping[str, QueueDepth]


@attrs.frozen(kw_only=True)
class StoreMetrics:
    """What is in a store, counted. `instances`: by name and state."""

    instances: Mapping[tuple[str, State], int]
    executions: int  # whose histories are kept
    events: int
    messages: int  # in all inboxes
    activities: int  # queued or leased
    sessions: int
