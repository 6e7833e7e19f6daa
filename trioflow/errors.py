"""Every error trioflow raises, in one tree.

Laws: a message says what happened, where, and what to do about it; an error class carries its facts as attributes, so a
program never has to read a message; nothing here holds a payload. Floor 0: imports nothing above it.
"""

from __future__ import annotations

from typing import Any

from trioflow._util import TooSlowError

__all__ = (
    "ActivityFailed",
    "ActivityPoisoned",
    "ActivityTimedOut",
    "ChildCancelled",
    "ChildFailed",
    "ChildTerminated",
    "ConfigurationError",
    "DecodeError",
    "DuplicateRequestError",
    "EncodeError",
    "EventTypeError",
    "ForeignAwaitError",
    "HistoryError",
    "InstanceExists",
    "InstanceFinished",
    "InstanceNotFinished",
    "InstanceNotFound",
    "InstanceParked",
    "LimitExceeded",
    "LockLost",
    "MailboxFull",
    "NondeterminismError",
    "NotInOrchestration",
    "OperationFailed",
    "OrchestrationCancelled",
    "OrchestrationFailed",
    "OrchestrationTerminated",
    "OutcomeUnknown",
    "PayloadError",
    "SpinError",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreSchemaNewer",
    "StoreUnavailable",
    "TrioflowError",
    "UnknownEventKind",
    "UnregisteredError",
)


class TrioflowError(Exception):
    """The root of all errors that trioflow raises on purpose."""


# -- the program is not where it has to be, or awaits what it must not ------------------------------------------------


class NotInOrchestration(TrioflowError, RuntimeError):
    """A durable verb or an orchestration was called where no orchestration runs."""


class ForeignAwaitError(TrioflowError, RuntimeError, TypeError):
    """An orchestration used trio, asyncio or another library's awaitable instead of `trioflow.durable`."""


class SpinError(TrioflowError, RuntimeError):
    """An orchestration ran too many steps without waiting for anything."""


class ConfigurationError(TrioflowError):
    """The application is put together wrongly: a name twice, an option out of range, an app not included."""


class UnregisteredError(ConfigurationError, LookupError):
    """A name (and version) that the application does not have.

    Attributes:
        kind: "activity" or "orchestration".
        name: the name looked for.
        version: the version looked for, if one was given.
    """

    def __init__(self, message: str, *, kind: str, name: str, version: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name
        self.version = version


# -- payloads and histories -------------------------------------------------------------------------------------------


class PayloadError(TrioflowError):
    """A value could not cross the durable border."""


class EncodeError(PayloadError, TypeError):
    """A value cannot be serialized; the message says which part of it, and of what type."""


class DecodeError(PayloadError, ValueError):
    """Recorded bytes do not fit the declared type; the message says where."""


class LimitExceeded(PayloadError, ValueError):
    """A value is beyond a limit.

    Attributes:
        limit: the limit's name, such as "payload_size" or "depth".
        allowed: the largest value allowed.
        actual: what was found, where it could be measured.
    """

    def __init__(self, message: str, *, limit: str, allowed: float, actual: float | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.actual = actual


class HistoryError(TrioflowError):
    """A recorded history cannot be read or continued."""


class UnknownEventKind(HistoryError):
    """The history holds an event of a kind (or schema version) that this release does not know."""

    def __init__(self, message: str, *, kind: str, schema: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.schema = schema


class NondeterminismError(HistoryError):
    """The code no longer asks for what the history says it asked for.

    Attributes:
        place: the branch and step, such as ``0.1#2``.
        expected: what the history holds, one line, or None if it holds nothing there.
        actual: what the code asked for, one line, or None if it asked for nothing there.
    """

    def __init__(self, message: str, *, place: str, expected: str | None, actual: str | None) -> None:
        super().__init__(message)
        self.place = place
        self.expected = expected
        self.actual = actual


class EventTypeError(TrioflowError, TypeError):
    """An event was taken that does not fit the type its waiter declared; the event is consumed.

    Attributes:
        name: the event's name.
        value: the raw JSON value.
    """

    def __init__(self, message: str, *, name: str, value: Any) -> None:
        super().__init__(message)
        self.name = name
        self.value = value


# -- what an operation of an orchestration may end with ---------------------------------------------------------------


class OperationFailed(TrioflowError):
    """An activity or a child orchestration did not succeed.

    Attributes:
        type: the qualified name of the exception's class.
        message: what the exception said.
        category: "application", "configuration", "infrastructure" or "poison".
        retryable: whether another try might help.
        attempts: how many attempts were made.
        remote_traceback: the traceback as text where it was kept, else None.
    """

    def __init__(
        self,
        text: str,
        *,
        type: str = "",
        message: str = "",
        category: str = "application",
        retryable: bool = True,
        attempts: int = 1,
        remote_traceback: str | None = None,
    ) -> None:
        super().__init__(text)
        self.type = type
        self.message = message
        self.category = category
        self.retryable = retryable
        self.attempts = attempts
        self.remote_traceback = remote_traceback


class ActivityFailed(OperationFailed):
    """An activity failed with an exception that cannot come back as its own class."""


class ActivityTimedOut(ActivityFailed, TooSlowError):
    """An activity did not finish in its `timeout`, its policy's `total_timeout`, or was not taken in time."""


class ActivityPoisoned(ActivityFailed):
    """An activity was started many times and never ended: its workers died under it."""


class ChildFailed(OperationFailed):
    """A child orchestration failed with an exception that cannot come back as its own class."""


class ChildCancelled(OperationFailed):
    """A child orchestration ended cancelled although its parent had not asked for it."""


class ChildTerminated(OperationFailed):
    """A child orchestration was terminated."""


# -- what a client may meet -------------------------------------------------------------------------------------------


class OrchestrationFailed(OperationFailed):
    """The orchestration failed; `__cause__` is the exception it raised, as its own class where that is registered."""


class OrchestrationCancelled(TrioflowError):
    """The orchestration was cancelled and has unwound.

    Attributes:
        reason: what the canceller said, if anything.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class OrchestrationTerminated(TrioflowError):
    """The orchestration was terminated without unwinding.

    Attributes:
        reason: what the terminator said, if anything.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class InstanceParked(TrioflowError):
    """The instance cannot go on until somebody acts: its code and history disagree, or its history cannot be read."""


class InstanceNotFound(TrioflowError, LookupError):
    """No instance has this id."""


class InstanceExists(TrioflowError):
    """An instance with this id exists already; `if_exists=` says what else to do."""


class InstanceFinished(TrioflowError):
    """The instance has ended and takes no more messages."""


class InstanceNotFinished(TrioflowError):
    """The instance, or a descendant, has not ended, so it is not deleted or begun again; `force=True` would."""


class MailboxFull(TrioflowError):
    """The instance holds as many unread events as it may; the event was not accepted."""


# -- stores -----------------------------------------------------------------------------------------------------------


class StoreError(TrioflowError):
    """The store could not do what was asked; nothing of it was written."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or is busy; trying again may help."""


class StoreClosed(StoreError):
    """The store has ended and answers no more; open it again."""


class StoreCorrupt(StoreError):
    """The store's file or rows are damaged or are not ours.

    Attributes:
        instance: the only instance that is damaged, as far as is known, or None.
    """

    def __init__(self, message: str, *, instance: str | None = None) -> None:
        super().__init__(message)
        self.instance = instance


def history_cut_short(instance: str, found: int, written: int) -> StoreCorrupt:
    """A history has fewer events than the instance's own row says."""
    return StoreCorrupt(
        f"the store has only {found} of the {written} events of instance {instance!r}: rows of its history are lost or "
        "damaged. Restore it from a backup, or terminate the instance.",
        instance=instance,
    )


class StoreFull(StoreError):
    """There is no room left for the write."""


class StoreReadOnly(StoreError):
    """The store's place cannot be written."""


class StoreSchemaNewer(StoreError):
    """The store was written by a newer release of trioflow."""


class OutcomeUnknown(StoreError):
    """A write was sent and its answer was lost: it may or may not have happened. Repeating it by its request id is
    safe.
    """


class DuplicateRequestError(StoreError):
    """A request id was used twice for different requests."""


class LockLost(StoreError):
    """The lease ran out and somebody else may hold the lock; nothing was written."""
