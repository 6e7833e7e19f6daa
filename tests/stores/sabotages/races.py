"""Stores that look first and write later, and twins that do not share: what many at once bring to light.

Read next: `test_contract_finds_faults.py`.
"""

from __future__ import annotations

import attrs
import trio

from tests.stores.sabotages._kit import Sabotage, Sabotaged, disguised
from trioflow.abc import ReleaseTurn
from trioflow.errors import InstanceExists, StoreClosed
from trioflow.stores import _rules


class Careless(Sabotaged):
    """Subclasses do in several steps what has to be one."""


async def _think() -> None:
    """Long enough for others to come in between."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()


class LooksThenStarts(Careless):
    """Asks whether the id is free, and believes the answer."""

    breaks = (
        "check_concurrent_starts_of_one_id",
        "check_concurrent_replacements",
        "check_concurrent_attaches_create_once",
    )

    async def start_instance(self, request):
        there = await self.inner.read_instance(request.instance)
        known = self.inner._tables.remembered(request.request_id)
        await _think()
        if known is None:
            self.inner._tables._remembered.pop(request.request_id, None)
        if known is None and there is None and self.inner._tables.instance(request.instance) is not None:
            self.inner._tables._instances.pop(request.instance)
        elif known is None and there is not None and there.state.ended:
            row = self.inner._tables._instances[request.instance].copy()
            row.state = there.state
            self.inner._tables._instances[request.instance] = row
        return self.inner.apply(_rules.start_instance, request)


class LooksThenPosts(Careless):
    """Asks whether there is room, and believes the answer."""

    breaks = (
        "check_concurrent_repeats_of_one_post",
        "check_a_mailbox_is_never_overfull",
    )

    async def post_message(self, request):
        tables = self.inner._tables
        known = tables.remembered(request.request_id)
        there = tables.instance(request.message.instance)
        await _think()
        if known is None:
            tables._remembered.pop(request.request_id, None)
        if there is not None and there.unread + there.mail < request.mailbox_limit:
            request = attrs.evolve(request, mailbox_limit=10_000)
        self.inner.apply(_rules.post_message, request)


class PostsToWhatWasThere(Careless):
    """Asks whether the instance runs, and puts the message into its inbox later."""

    breaks = ("check_a_message_enters_or_is_refused",)

    async def post_message(self, request):
        tables = self.inner._tables
        there = tables.instance(request.message.instance)
        await _think()
        now = tables._instances.get(request.message.instance)
        if there is None or now is None or not now.state.ended or there.state.ended:
            self.inner.apply(_rules.post_message, request)
            return
        row = now.copy()
        row.queued += 1
        tables.update_instance(row)


class PostsToTheOldExecution(Careless):
    """Asks which execution is current, and posts to that one later."""

    breaks = (
        "check_message_for_another_execution_is_dropped",
        "check_a_message_for_a_replaced_execution_is_dropped",
    )

    async def post_message(self, request):
        there = await self.inner.read_instance(request.message.instance)
        await _think()
        message = attrs.evolve(request.message, execution=there.execution if there else None)
        self.inner.apply(_rules.post_message, attrs.evolve(request, message=message))


class LooksThenCommits(Careless):
    """Asks whether the lock holds, and believes the answer."""

    breaks = (
        "check_concurrent_commits_of_one_turn",
        "check_concurrent_repeats_of_one_commit",
    )

    async def commit_turn(self, request):
        tables = self.inner._tables
        there = tables.instance(request.lock.instance)
        await _think()
        if there is not None and there.lock_token == request.lock.token:
            row = tables._instances[request.lock.instance].copy()
            row.lock_token, row.revision, row.last_commit = there.lock_token, there.revision, there.last_commit
            row.history_length = there.history_length
            tables._instances[request.lock.instance] = row
        return self.inner.apply(_rules.commit_turn, request)


class LooksThenLocks(Careless):
    """Asks what is eligible, and leases that later."""

    breaks = (
        "check_concurrent_lockers_share",
        "check_concurrent_workers_with_different_capabilities",
    )

    async def lock_turns(self, request):
        tables = self.inner._tables
        found = tables.due_instances(self.inner._steady(), request.limit, request.can_run)
        await _think()
        for old in found:
            row = tables._instances[old.instance].copy()
            row.lock_token, row.lock_until = old.lock_token, old.lock_until
            self.inner.apply(lambda work, row: work.touch(row), row)
        return self.inner.apply(_rules.lock_turns, request)


class LooksThenLeases(Careless):
    """Asks what items there are, and leases those later."""

    breaks = ("check_concurrent_lockers_share_items",)

    async def lock_activities(self, request):
        tables = self.inner._tables
        found = tables.due_activities(self.inner._steady(), request.limit, request.tags)
        await _think()
        tables.update_activities([old for old in found if tables.activity(*old.key) is not None])
        return self.inner.apply(_rules.lock_activities, request)


class LooksThenSettles(Careless):
    """Asks who holds the items, and settles them later."""

    breaks = ("check_concurrent_settlements_of_one_item",)

    async def commit_activities(self, request):
        tables = self.inner._tables
        found = [tables.activity(s.lock.instance, s.lock.execution, s.lock.event_id) for s in request.settle]
        await _think()
        held = [row for row, s in zip(found, request.settle, strict=True) if row and row.lock_token == s.lock.token]
        tables.insert_activities(held)
        return self.inner.apply(_rules.commit_activities, request)


class RenewsWhatItSaw(Careless):
    """Asks who holds the locks, and renews them later, whoever holds them then."""

    breaks = (
        "check_other_verbs_know_the_execution_too",
        "check_a_lock_is_renewed_or_taken",
    )

    async def renew_turns(self, request):
        tables = self.inner._tables
        mine = [
            lock for lock in request.locks if (row := tables.instance(lock.instance)) and row.lock_token == lock.token
        ]
        await _think()
        answer = self.inner.apply(_rules.renew_turns, request)
        return attrs.evolve(answer, lost=tuple(lock for lock in answer.lost if lock not in mine))


class FailsTogether(Careless):
    """Carries out what comes together in one transaction, and refuses all of it where one is refused."""

    breaks = ("check_one_failure_hurts_nobody_else",)
    failing = 0

    async def start_instance(self, request):
        if await self.inner.read_instance(request.instance) is not None:
            self.failing += 1
        await _think()
        if self.failing:
            raise InstanceExists("the batch was refused")
        return self.inner.apply(_rules.start_instance, request)


class DropsUnderLoad(Careless):
    """Answers before it has written, and loses what comes while it writes."""

    breaks = (
        "check_concurrent_posts_all_arrive",
        "check_a_message_races_with_continuing",
    )
    busy = False

    async def post_message(self, request):
        if self.busy:
            await trio.lowlevel.checkpoint()
            return
        self.busy = True
        await _think()
        self.busy = False
        self.inner.apply(_rules.post_message, request)


class SendsLater(Careless):
    """Commits, and sends the messages of a turn in a transaction of its own, from which those of others are missing."""

    breaks = ("check_turns_of_many_instances_at_once",)
    busy = False

    async def commit_turn(self, request):
        alone = not self.busy
        self.busy = True
        await _think()
        self.busy = False
        return self.inner.apply(_rules.commit_turn, request if alone else attrs.evolve(request, messages=()))


class WritesTwice(Careless):
    """Writes a commit in two transactions; whoever is cancelled in between has written half."""

    breaks = ("check_a_commit_cancelled_midway_is_whole",)

    async def commit_turn(self, request):
        await trio.lowlevel.checkpoint()
        for start in request.starts:
            self.inner.apply(lambda work, start: _rules._starts.begin(work, start), start)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return self.inner.apply(_rules.commit_turn, attrs.evolve(request, starts=()))


class ClosesWithTheFirst(Careless):
    """Is closed as soon as one of those who have it open leaves."""

    breaks = ("check_the_last_to_leave_closes",)
    closed = False

    async def __aexit__(self, *exc):
        self.closed = True
        await super().__aexit__(*exc)

    async def read_instance(self, instance):
        if self.closed:
            raise StoreClosed("closed")
        return await self.inner.read_instance(instance)


class GivesBackAtGoodbye(Careless):
    """Releases what a worker holds when it says goodbye."""

    breaks = ("check_leases_of_a_stopped_worker_run_out",)

    def __init__(self, clock):
        super().__init__(clock)
        self.locks = []

    async def lock_turns(self, request):
        answer = await self.inner.lock_turns(request)
        self.locks += [turn.lock for turn in answer.turns]
        return answer

    async def unregister_worker(self, worker):
        for lock in self.locks:
            await self.inner.release_turn(ReleaseTurn(lock=lock))


class SortsByItsClock(Careless):
    """Believes a clock that is set back, and sorts messages by it."""

    breaks = ("check_a_clock_set_back_reorders_nothing",)

    def __init__(self, clock):
        super().__init__(clock)
        self.inner._steady = clock

    async def lock_turns(self, request):
        answer = await self.inner.lock_turns(request)
        turns = [
            attrs.evolve(one, messages=tuple(sorted(one.messages, key=lambda row: row.at))) for one in answer.turns
        ]
        return attrs.evolve(answer, turns=tuple(turns))


SABOTAGES: tuple[Sabotage, ...] = tuple(disguised(cls) for cls in Careless.__subclasses__())
