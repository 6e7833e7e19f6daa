"""What durable execution has to write at the least, as a list of transactions for each orchestration.

Laws: pure; the rows are those that trioflow writes for the same workload (an instance, its start, its lease, two events
for each activity, an item that comes and goes), in as many transactions: one to start, one to take it, one for the
first turn, then one for each step or for each batch of activities that end together. Called by `floor.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BATCH = 64
"""Activities that run at once, and end together: as many as a runtime has slots by default."""

DATA = b'{"at":1700000000.0,"name":"echo","place":"0#1","headers":{},"attempt":1}'
PAYLOAD = b'{"value":1}'

STARTED, COMPLETED = "OrchestrationStarted", "OrchestrationCompleted"
SCHEDULED, DONE = "ActivityScheduled", "ActivityCompleted"


class Commit(NamedTuple):
    """What one transaction writes for one instance.

    `begins`: its row, its start message, the request's id; `takes`: its lease. Else it is a turn: `reads`: the start
    message goes; `events`: ids and kinds; `asks`, `settles`: ids of activities that come and go; `ends`: it is over.
    """

    instance: str
    begins: bool = False
    takes: bool = False
    reads: bool = False
    events: tuple[tuple[int, str], ...] = ()
    asks: tuple[int, ...] = ()
    settles: tuple[int, ...] = ()
    ends: bool = False


def beginning(instance: str, width: int) -> Iterator[Commit]:
    """From the start to the first turn, which asks for `width` activities; they have the events 2 to `width` + 1."""
    yield Commit(instance, begins=True)
    yield Commit(instance, takes=True)
    asks = tuple(range(2, width + 2))
    yield Commit(instance, reads=True, events=((1, STARTED), *((ask, SCHEDULED) for ask in asks)), asks=asks)


def chain(instance: str, steps: int) -> Iterator[Commit]:
    """Activities one after another: each step is the end of one and the begin of the next."""
    yield from beginning(instance, 1)
    for last in range(2, 2 * steps, 2):
        ask = last + 2
        yield Commit(instance, events=((last + 1, DONE), (ask, SCHEDULED)), asks=(ask,), settles=(last,))
    last = 2 * steps
    yield Commit(instance, events=((last + 1, DONE), (last + 2, COMPLETED)), settles=(last,), ends=True)


def fan(instance: str, width: int) -> Iterator[Commit]:
    """Activities all at once, which end in batches."""
    yield from beginning(instance, width)
    for first in range(2, width + 2, BATCH):
        settles = tuple(range(first, min(first + BATCH, width + 2)))
        events = tuple((width + settled, DONE) for settled in settles)
        ends = settles[-1] == width + 1
        if ends:
            events += ((2 * width + 2, COMPLETED),)
        yield Commit(instance, events=events, settles=settles, ends=ends)
