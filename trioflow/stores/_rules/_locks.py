"""The lock of an instance, and what its holder gets to see.

Law: taking it counts an attempt. Who calls it: `_starts.py`, `_turns.py`. Read next: `_turns.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioflow.abc import LockedTurn
from trioflow.stores._rules._rows import InstanceRow, StoredMessage
from trioflow.stores._rules._work import Work


def lock_instance(work: Work, row: InstanceRow, worker: str, token: str, lease: float) -> None:
    """Lease an instance to a worker, for so many seconds."""
    row.lock_token, row.lock_worker = token, worker
    row.lock_until = work.now + lease
    row.attempts += 1
    work.touch(row, news=False)


def locked_turn(row: InstanceRow, inbox: Sequence[StoredMessage]) -> LockedTurn:
    """What the holder of its lock is told."""
    return LockedTurn(
        lock=row.lock,
        name=row.name,
        version=row.version,
        state=row.state,
        revision=row.revision,
        history_length=row.history_length,
        history_bytes=row.history_bytes,
        attempts=row.attempts,
        wake_at=row.wake_at,
        messages=tuple(message.row for message in inbox),
    )


def inbox_of(work: Work, row: InstanceRow) -> Sequence[StoredMessage]:
    """All that is in its inbox."""
    return work.tables.inboxes([row.instance]).get(row.instance, ()) if row.queued else ()
