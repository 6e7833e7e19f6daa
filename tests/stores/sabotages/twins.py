"""Stores whose twins do not share what they should. Read next: `test_contract_finds_faults.py`."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.stores.sabotages._kit import Sabotage, Sabotaged
from tests.stores.sqlite_helpers import open_fast
from trioflow.abc import ActivitiesCommitted, ReleaseTurn
from trioflow.errors import InstanceExists, LockLost
from trioflow.testing._store_contract import Examined

NUMBERS = itertools.count()


class Twin(Sabotaged):
    """A store on a SQLite file; subclasses break what it does."""

    def __init__(self, path: Any, clock: Any) -> None:
        self.path = path
        self.inner: Any = open_fast(path, clock)


class KeepsToItself(Twin):
    """Each twin has a database of its own."""

    breaks = (
        "check_twins_see_the_same",
        "check_threads_create_once",
        "check_messages_of_all_threads_arrive",
        "check_processes_create_once",
    )

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(":memory:", clock)
        self.path = path


class LeavesNothing(Twin):
    """Cleans up when it is closed."""

    breaks = ("check_what_was_written_outlives_the_twin",)

    async def __aexit__(self, *exc: Any) -> None:
        await super().__aexit__(*exc)
        for file in Path(self.path).parent.glob(f"{Path(self.path).name}*"):
            if file.is_file():
                file.unlink()


class GivesAllBack(Twin):
    """Releases what is locked when it is closed, whoever locked it."""

    breaks = ("check_closing_one_twin_leaves_the_others",)
    locked: dict[Any, list[Any]] = {}  # noqa: RUF012 - shared by all twins, as the mistake wants it

    async def lock_turns(self, request):
        answer = await self.inner.lock_turns(request)
        self.locked.setdefault(self.path, []).extend(turn.lock for turn in answer.turns)
        return answer

    async def __aexit__(self, *exc: Any) -> None:
        for lock in self.locked.get(self.path, ()):
            await self.inner.release_turn(ReleaseTurn(lock=lock))
        await super().__aexit__(*exc)


class LeasesNothing(Twin):
    """Writes leases that are over at once."""

    breaks = (
        "check_locks_hold_across_twins",
        "check_threads_do_everything_once",
    )

    async def lock_turns(self, request):
        return await self.inner.lock_turns(attrs.evolve(request, lease=0.0))


class AnswersEarly(Twin):
    """Says that an outcome is written, and never writes it."""

    breaks = ("check_processes_do_everything_once",)

    async def commit_activities(self, request):
        await trio.lowlevel.checkpoint()
        return ActivitiesCommitted(now=0.0, lost=())


class KnowsItsOwnLocks(Twin):
    """Takes a lock only from the twin that gave it."""

    breaks = ("check_a_twin_may_finish_the_work",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.given: list[Any] = []

    async def lock_turns(self, request):
        answer = await self.inner.lock_turns(request)
        self.given.extend(turn.lock for turn in answer.turns)
        return answer

    async def commit_turn(self, request):
        if request.lock not in self.given:
            raise LockLost("this twin never gave it")
        return await self.inner.commit_turn(request)


class KnowsItsOwnRequests(Twin):
    """Remembers requests by the connection that they came through."""

    breaks = ("check_repeats_are_known_across_twins",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.number = next(NUMBERS)

    async def post_message(self, request):
        await self.inner.post_message(attrs.evolve(request, request_id=f"{self.number}/{request.request_id}"))


class HearsItself(Twin):
    """Tells holders of cancellations that came through their own store."""

    breaks = ("check_a_mark_is_heard_across_twins",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.hurt: list[Any] = []

    async def commit_turn(self, request):
        answer = await self.inner.commit_turn(request)
        self.hurt.extend(answer.hurt)
        return answer

    async def renew_activities(self, request):
        answer = await self.inner.renew_activities(request)
        return attrs.evolve(answer, cancelled=tuple(lock for lock in answer.cancelled if lock in self.hurt))


class WritesInPairs(Twin):
    """Keeps a message back until the next one comes."""

    breaks = ("check_messages_of_all_twins_share_one_line",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.kept: list[Any] = []

    async def post_message(self, request):
        self.kept.append(request)
        while len(self.kept) > 1:
            await self.inner.post_message(self.kept.pop(0))


class KnowsItsOwnIds(Twin):
    """Refuses ids that were taken through this twin."""

    breaks = ("check_refusals_hold_across_twins",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.taken: list[str] = []

    async def start_instance(self, request):
        if request.instance in self.taken:
            raise InstanceExists("taken")
        self.taken.append(request.instance)
        return await self.inner.start_instance(attrs.evolve(request, if_exists="attach"))


class ClaimsApart(Twin):
    """Takes a worker that comes through another twin for another worker."""

    breaks = ("check_the_cap_holds_when_calls_meet",)

    def __init__(self, path: Any, clock: Any) -> None:
        super().__init__(path, clock)
        self.number = next(NUMBERS)

    async def lock_activities(self, request):
        return await self.inner.lock_activities(attrs.evolve(request, worker=f"{request.worker}/{self.number}"))


class ForgetsClaims(Twin):
    """Gives a session back as soon as an item of it is taken."""

    breaks = ("check_a_session_is_claimed_once",)

    async def lock_activities(self, request):
        answer = await self.inner.lock_activities(request)
        await self.inner.release_sessions(request.worker)
        return answer


def _on_files(cls: type[Twin]) -> Sabotage:
    return Sabotage(
        cls.__name__,
        cls.breaks,
        lambda _, folder: Examined(
            factory=lambda clock: cls(folder / f"{next(NUMBERS)}.db", clock),
            twins=lambda store: functools.partial(cls, store.path),
            processes=True,
        ),
    )


SABOTAGES: tuple[Sabotage, ...] = tuple(_on_files(cls) for cls in Twin.__subclasses__())
