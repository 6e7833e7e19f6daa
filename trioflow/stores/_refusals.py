"""What a store says when it refuses: the same words, whichever store it is.

Laws: a refusal says what was asked, what was found and what to do; nothing was written.

Who calls it: the rules, and stores that decide in a database of their own.
"""

from __future__ import annotations

from trioflow._util import FAR, is_seconds, shown
from trioflow.abc import ActivityLock, CommitTurn, StartInstance, State, TurnLock
from trioflow.errors import (
    ConfigurationError,
    DuplicateRequestError,
    InstanceExists,
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    LockLost,
    MailboxFull,
    StoreError,
)


def instance_gone(lock: TurnLock) -> LockLost:
    """The instance of a turn is not there any more."""
    return LockLost(f"Instance {lock.instance!r} is gone; its turn was not committed. Drop the live copy.")


def lock_lost(lock: TurnLock) -> LockLost:
    """Somebody else may hold the instance."""
    return LockLost(
        f"The lock on instance {lock.instance!r}, execution {lock.execution}, is no longer this holder's; its turn "
        "was not committed. Drop the live copy: somebody else goes on with it."
    )


def wrong_revision(request: CommitTurn, found: int) -> LockLost:
    """A turn was computed from an old state."""
    return LockLost(
        f"Instance {request.lock.instance!r} is at revision {found}, the turn was computed from {request.revision}; "
        "it was not committed. Read the history again."
    )


def not_following(request: CommitTurn, found: int) -> StoreError:
    """A turn's events leave a gap, or repeat what is there."""
    ids = [event.id for event in request.events]
    place = next((place for place, number in enumerate(ids) if number != found + 1 + place), 0)
    return StoreError(
        f"Instance {request.lock.instance!r} has {found} events; the turn brought {len(ids)}, of which one has id "
        f"{ids[place]} where {found + 1 + place} follows. Nothing was written."
    )


def settled_by_others(lock: ActivityLock) -> LockLost:
    """A turn settles an item that is not its own any more."""
    return LockLost(
        f"Activity {lock.event_id} of instance {lock.instance!r}, which this turn settles, is no longer leased to its "
        "holder; the turn was not committed."
    )


def id_taken(request: StartInstance, state: State, execution: int) -> InstanceExists:
    """An id is in use."""
    text = f"Instance {request.instance!r} exists already ({state}, execution {execution})."
    if request.if_exists == "fail":
        return InstanceExists(text + ' Choose another id, or pass if_exists="attach" or "replace_finished".')
    return InstanceExists(text + " It has not ended, so it cannot be replaced.")


def another_orchestration(request: StartInstance, found: str) -> InstanceExists:
    """An id is in use by something else than what was to be attached to."""
    return InstanceExists(
        f"Instance {request.instance!r} runs orchestration {found!r}, not {request.name!r}: nothing to attach to. "
        "Choose another id."
    )


def no_such_instance(instance: str) -> InstanceNotFound:
    """A message for nobody."""
    return InstanceNotFound(f"No instance has the id {instance!r}; the message was not posted.")


def already_ended(instance: str, state: State) -> InstanceFinished:
    """A message that comes too late."""
    return InstanceFinished(f"Instance {instance!r} has ended ({state}); it takes no more messages.")


def not_ended(instance: str, state: State) -> InstanceNotFinished:
    """Somebody would delete what still goes on."""
    return InstanceNotFinished(
        f"Instance {instance!r} has not ended ({state}); nothing was deleted. Wait for it, terminate it, or pass "
        "force=True."
    )


def mailbox_full(instance: str, held: int, limit: int) -> MailboxFull:
    """More events than an instance may hold unread."""
    return MailboxFull(
        f"Instance {instance!r} holds {held} unread events and may hold {limit}. Let it take some, or raise the limit."
    )


def mailbox_too_large(instance: str, held: int, size: int, limit: int) -> MailboxFull:
    """More in unread events than an instance may hold."""
    return MailboxFull(
        f"Instance {instance!r} holds unread events of {held:,} bytes and may hold {limit:,}; this one has {size:,}. "
        "Let it take some, or raise the limit 'mailbox_bytes'."
    )


def request_id_reused(request_id: str, before: tuple[str, str], now: tuple[str, str]) -> DuplicateRequestError:
    """A request id that was another's; the pairs are verb and instance."""
    return DuplicateRequestError(
        f"Request id {request_id} was used to {before[0]} {before[1]!r} and now to {now[0]} {now[1]!r}. "
        "A request id belongs to one request."
    )


def worker_in_use(worker: str) -> ConfigurationError:
    """Two runtimes of one name would have each other's sessions."""
    return ConfigurationError(
        f"Worker id {worker!r} is in use by a runtime that is alive. Give each runtime an id of its own."
    )


def check_seconds(option: str, value: object) -> None:
    """Refuse what is no duration, where a store is made. Raises ConfigurationError."""
    if not is_seconds(value):
        raise ConfigurationError(f"{option}= must be a number of seconds from 0 to {FAR:g}, not {shown(value)}")
