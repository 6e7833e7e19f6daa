"""The attributes of spans, and the labels of metrics: each name once, with what it means.

Law: in none of them is a payload. Who calls it: everybody here; the documentation shows the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]

INSTANCE: Final = "trioflow.instance"
EXECUTION: Final = "trioflow.execution"
NAME: Final = "trioflow.name"
VERSION: Final = "trioflow.version"
WORKER: Final = "trioflow.worker"
OUTCOME: Final = "trioflow.outcome"
CATEGORY: Final = "trioflow.category"
CANCELLED: Final = "trioflow.cancelled"
ACTIVITY: Final = "trioflow.activity"
EVENT_ID: Final = "trioflow.event_id"
ATTEMPT: Final = "trioflow.attempt"
WAITED: Final = "trioflow.waited"
RETRY_IN: Final = "trioflow.retry_in"
TAG: Final = "trioflow.tag"
SESSION: Final = "trioflow.session"
PLACE: Final = "trioflow.place"
DEADLINE: Final = "trioflow.deadline"
TARGET: Final = "trioflow.target"
CACHED: Final = "trioflow.turn.cached"
REPLAYED: Final = "trioflow.turn.replayed"
TAKEN: Final = "trioflow.turn.attempts"
EVENTS: Final = "trioflow.turn.events"
COMMIT: Final = "trioflow.turn.commit"
REASON: Final = "trioflow.reason"
MEMBERS: Final = "trioflow.errors"
ERROR: Final = "error.type"
FUNCTION: Final = "code.function.name"
QUEUE: Final = "trioflow.queue"
STATE: Final = "trioflow.state"
LEASE: Final = "trioflow.lease"

ATTRIBUTES: Final[Mapping[str, str]] = {
    INSTANCE: "the id of the instance",
    EXECUTION: "the number of the execution, from 1",
    NAME: "the name of the orchestration",
    VERSION: "its version",
    WORKER: "the name of the runtime",
    OUTCOME: "how it ended",
    CATEGORY: "who has to act on the failure: application, configuration, infrastructure, poison, or other",
    CANCELLED: "true where it ended by a cancellation",
    ACTIVITY: "the name of the activity",
    EVENT_ID: "the number of the event in the history that asked for it",
    ATTEMPT: "which attempt, from 1; lost ones count",
    WAITED: "seconds from when the activity was asked for to the begin of this attempt",
    RETRY_IN: "seconds until the next attempt",
    TAG: "the activity's tag",
    SESSION: "the activity's session",
    PLACE: "the address of the branch, scope or step",
    DEADLINE: "seconds since the Unix epoch at which its time is over, as it was when it was opened",
    TARGET: "the id of the instance that is started",
    CACHED: "whether the live execution was at hand",
    REPLAYED: "events that were replayed because it was not",
    TAKEN: "how often the instance was taken since its last commit; more than 1 after crashes",
    EVENTS: "events that the turn added to the history",
    COMMIT: "seconds that the commit took",
    REASON: "the reason that was given; only where messages are to be told",
    MEMBERS: "the classes of exceptions in a group, ten at most",
    ERROR: "the class of the exception; of a group that holds one, that one's",
    FUNCTION: "the function that a branch runs",
    QUEUE: "turns or activities",
    STATE: "ready, leased or later",
    LEASE: "of a turn or an activity",
}
