"""The verbs of clients, turns, activities and sessions: each sends its statement, reads the answer, and tells whom it
concerns.

Laws: as `_reads.py`; a hint is given after the commit that it is about.

Who calls it: runtimes and clients, through `_store.py`. Read next: `_requests.py`, `schema/0004_turns.sql`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from trioflow.abc import (
    ACTIVITIES,
    LEASED,
    TURNS,
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurns,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionsRenewed,
    StartInstance,
    Started,
    TurnCommitted,
    TurnsRenewed,
    activity_topic,
    end_topic,
    instance_topic,
)
from trioflow.stores._postgres import _answers as answers, _requests as requests
from trioflow.stores._postgres._reads import PostgresReads
from trioflow.stores._rules import check_commit, check_message, check_start

L = TypeVar("L")


class PostgresVerbs(PostgresReads):
    """See `trioflow.abc.Store`, where each verb's promise is written."""

    # Whether items of sessions were leased here. Settling one locks the session's row, which is no instance's: from
    # then on nobody settles in a transaction with others, or two of those would lock sessions in different orders.
    _has_sessions = False

    @abstractmethod
    def _random_token(self) -> str:
        """What tokens are made of."""

    @abstractmethod
    async def _tidy(self) -> None:
        """Now and then: forget what was answered an hour ago."""

    def _only_instance(self, request: CommitTurn) -> str | None:
        """The instance of a turn, if it locks nothing of others."""
        others = request.starts or any(message.child_of is not None for message in request.messages)
        return None if others or (request.settle and self._has_sessions) else request.lock.instance

    # -- clients

    async def start_instance(self, request: StartInstance) -> Started:
        """See `Store`."""
        check_start(request)
        (row,) = await self._call("start_instance", *requests.start_instance(request), key=request.instance)
        answer = answers.started(request, row)
        if answer.created:
            self._tell((TURNS if answer.turn is None else LEASED, instance_topic(request.instance)))
        return answer

    async def post_message(self, request: PostMessage) -> None:
        """See `Store`."""
        check_message(request.message)
        instance = request.message.instance
        (row,) = await self._call("post_message", *requests.post_message(request), key=instance)
        answers.check_posted(request, row)
        self._tell((TURNS, instance_topic(instance)))

    # -- turns

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """See `Store`."""
        await self._tidy()
        rows = await self._call("lock_turns", *requests.lock_turns(request, self._random_token()))
        self._tell_reached(rows[0][2])  # others, too: it may be theirs to run
        return answers.locked_turns(rows)

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """See `Store`."""
        check_commit(request)
        self._has_sessions |= any(new.session is not None for new in request.activities)
        (row,) = await self._call("commit_turn", *requests.commit_turn(request), key=self._only_instance(request))
        answer = answers.committed(request, row)
        reached, turns = row[8], row[9]
        topics = dict.fromkeys(instance_topic(instance) for instance in (request.lock.instance, *(reached or ())))
        topics |= dict.fromkeys(activity_topic(lock.token) for lock in answer.hurt)
        topics |= dict.fromkeys(instance_topic(start.instance) for start in request.starts)
        if request.state.ended or request.state.held:
            topics[end_topic(request.lock.instance)] = None
        if turns or answer.hurt:
            topics[TURNS] = None
        if any(new.born is None for new in request.activities) or any(
            settle.retry_in is not None for settle in request.settle
        ):
            topics[ACTIVITIES] = None
        elif request.activities:
            topics[LEASED] = None
        self._tell(topics)
        return answer

    async def release_turn(self, request: ReleaseTurn) -> None:
        """See `Store`."""
        ((eligible,),) = await self._call("release_turn", *requests.release_turn(request))
        if eligible:
            self._tell((TURNS,))

    async def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        """See `Store`."""
        ((lost,),) = await self._call("renew_turns", *requests.renew_turns(request))
        return TurnsRenewed(lost=_chosen(request.locks, lost))

    # -- activities

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """See `Store`."""
        rows = await self._call("lock_activities", *requests.lock_activities(request, self._random_token()))
        self._tell_reached(rows[0][2])
        answer = answers.locked_activities(rows)
        self._has_sessions |= any(activity.session is not None for activity in answer.activities)
        return answer

    async def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        """See `Store`."""
        instances = dict.fromkeys(settle.lock.instance for settle in request.settle)
        ((now, lost, reached, retried),) = await self._call(
            "commit_activities",
            *requests.commit_activities(request.settle),
            key=next(iter(instances)) if len(instances) == 1 and not self._has_sessions else None,
        )
        self._tell_reached(reached)
        if retried:
            self._tell((ACTIVITIES,))
        return ActivitiesCommitted(now=now, lost=_chosen([settle.lock for settle in request.settle], lost))

    async def release_activity(self, request: ReleaseActivity) -> None:
        """See `Store`."""
        ((reached, freed),) = await self._call("release_activity", *requests.release_activity(request))
        self._tell_reached(reached)
        if freed:
            self._tell((ACTIVITIES,))

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """See `Store`."""
        ((lost, cancelled),) = await self._call("renew_activities", *requests.renew_activities(request))
        return ActivitiesRenewed(lost=_chosen(request.locks, lost), cancelled=_chosen(request.locks, cancelled))

    # -- sessions

    async def renew_sessions(self, request: RenewSessions) -> SessionsRenewed:
        """See `Store`."""
        ((held, freed),) = await self._call("renew_sessions", *requests.renew_sessions(request))
        if freed:
            self._tell((ACTIVITIES,))
        return SessionsRenewed(held=tuple(held))

    async def release_sessions(self, worker: str) -> None:
        """See `Store`."""
        ((freed,),) = await self._call("release_sessions", worker)
        if freed:
            self._tell((ACTIVITIES,))


def _chosen(locks: Sequence[L], places: Sequence[int]) -> tuple[L, ...]:
    return tuple(locks[place] for place in places)
