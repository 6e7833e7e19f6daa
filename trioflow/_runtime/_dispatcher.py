"""One loop for both kinds of leased work: look for some while there is room, then sleep until something may have
changed.

Laws: it looks when a hint says so, when the store said something falls due, when what was leased since may fall free,
and every poll interval in case a hint was lost; what it took is started before it looks again.
Who calls it: `_worker.py`, once for turns and once for activities.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from trioflow._runtime._slots import Slots
from trioflow.abc import Signals


@attrs.frozen
class Fetched:
    """How much was taken and started, and in how many seconds more falls due by time alone (None: never)."""

    count: int
    due_in: float | None


@attrs.frozen
class Leases:
    """A hint that somebody has leased something, for so many seconds: there is nothing to look for yet."""

    topic: str
    seconds: float


async def dispatch(
    signals: Signals,
    topic: str,
    slots: Slots,
    poll_interval: float,
    fetch: Callable[[int], Awaitable[Fetched]],
    leases: Leases | None = None,
) -> None:
    """Keep the slots busy, for ever.

    Args:
        signals: hints of the store.
        topic: the hint to wait for.
        slots: how much room there is.
        poll_interval: seconds after which to look unasked.
        fetch: takes and starts up to so many.
        leases: the hint after which to look once, when that may have become eligible.
    """
    topics = (topic,) if leases is None else (topic, leases.topic)
    with signals.watch(*topics) as watch:
        while True:
            await slots.wait_free()
            seen, seen_of_topic, room = watch.seen, watch.seen_of(topic), slots.free
            looked = trio.current_time()
            fetched = await fetch(room)
            if fetched.count >= room:
                continue
            patience = poll_interval if fetched.due_in is None else min(max(fetched.due_in, 0.0), poll_interval)
            with trio.move_on_after(patience) as pause:
                while watch.seen_of(topic) == seen_of_topic:
                    await watch.wait_beyond(seen)
                    seen = watch.seen
                    if leases is not None:
                        pause.deadline = min(pause.deadline, looked + leases.seconds)
