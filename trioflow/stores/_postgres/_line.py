"""The line before the connections: who may use one, who waits, and who goes along with another.

Laws: places are given in the order in which they were asked for; whoever waits can be cancelled until it is taken
along, which happens at the moment of sending; whoever is taken along is always told how it went.

Must never know: connections. Who calls it: `_pool.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import attrs
import outcome
import psycopg
import trio

from trioflow.stores._postgres._asking import Question

Row = tuple[Any, ...]
MOST_TOGETHER = 32  # in one transaction: more would hold up those whose rows they lock


@attrs.define(eq=False)
class Call:
    """A statement on its way.

    Attributes:
        questions: itself last, after what has to be said before it on the same connection.
        reads: it changes nothing.
        key: whose rows alone it locks; None: it does not go along with others.
        rows: the answer, if it went along.
        failure: what happened instead; without an answer and a failure it has to go alone.
    """

    questions: Sequence[Question]
    reads: bool
    key: str | None
    rows: list[Row] | None = None
    failure: psycopg.Error | None = None
    task: trio.lowlevel.Task | None = None


class Line:
    """So many places, and those who wait for one."""

    def __init__(self, places: int) -> None:
        self.free = places
        self._waiting: dict[Call, None] = {}

    async def take_place(self, call: Call) -> bool:
        """Wait for a place, which has to be given back; False if the call went along with another instead.

        Cancellable until then. A checkpoint if it has to wait.
        """
        if self.free:
            self.free -= 1
            return True

        def give_up(_: object) -> trio.lowlevel.Abort:
            if call not in self._waiting:
                return trio.lowlevel.Abort.FAILED  # it was sent
            del self._waiting[call]
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting[call] = None
        call.task = trio.lowlevel.current_task()
        has_place: bool = await trio.lowlevel.wait_task_rescheduled(give_up)
        return has_place

    def give_back(self) -> None:
        """To whoever has waited longest."""
        if not self._waiting:
            self.free += 1
            return
        call = next(iter(self._waiting))
        del self._waiting[call]
        _wake(call, has_place=True)

    def take_along(self, leader: Call, fits: Callable[[Question], bool]) -> list[Call]:
        """The call, and those who wait and may go with it, in the order of their keys: so that transactions which lock
        the same rows lock them in the same order. Each but the leader has to be told by `tell`.
        """
        if leader.key is None or not self._waiting or not all(map(fits, leader.questions)):
            return [leader]
        fitting = (call for call in self._waiting if call.key is not None and all(map(fits, call.questions)))
        fellows = list(islice(fitting, MOST_TOGETHER - 1))
        for call in fellows:
            del self._waiting[call]
        return sorted((leader, *fellows), key=lambda call: str(call.key))

    def tell(self, call: Call) -> None:
        """Wake one who went along."""
        _wake(call, has_place=False)


def _wake(call: Call, *, has_place: bool) -> None:
    assert call.task is not None
    trio.lowlevel.reschedule(call.task, outcome.Value(has_place))
