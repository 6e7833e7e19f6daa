"""The contract has teeth: stores that break one law each are found, by the checks that are about that law."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

from trioflow.abc import Parent, Signals
from trioflow.stores import MemoryStore
from trioflow.stores._memory_tables import MemoryTables
from trioflow.testing._check_store import check_store, run_check
from trioflow.testing._store_contract import CHECKS

BY_NAME = {check.__name__: check for check in CHECKS}
FRESH = (f"fresh-{number}" for number in itertools.count())


class Sabotaged:
    """A memory store in disguise; subclasses break one verb."""

    breaks: tuple[str, ...] = ()

    def __init__(self, clock: Any) -> None:
        self.inner = MemoryStore(clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Any:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.inner.__aexit__(*exc)


class ForgetsStarts(Sabotaged):
    breaks = ("check_a_repeated_start_happens_once", "check_a_request_id_belongs_to_one_request")

    async def start_instance(self, request):
        return await self.inner.start_instance(attrs.evolve(request, request_id=next(FRESH)))


class ForgetsPosts(Sabotaged):
    breaks = ("check_a_repeated_post_happens_once", "check_a_repeated_post_to_an_ended_instance_succeeds")

    async def post_message(self, request):
        return await self.inner.post_message(attrs.evolve(request, request_id=next(FRESH)))


class ForgetsCommits(Sabotaged):
    breaks = (
        "check_a_repeated_commit_happens_once",
        "check_a_repeated_keep_answers_again",
        "check_a_repeated_cancel_names_the_same",
    )

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, request_id=next(FRESH)))


class IgnoresRevisions(Sabotaged):
    breaks = ("check_a_wrong_revision_is_refused",)

    async def commit_turn(self, request):
        record = await self.inner.read_instance(request.lock.instance)
        return await self.inner.commit_turn(attrs.evolve(request, revision=record.revision if record else 0))


class LosesSilently(Sabotaged):
    breaks = ("check_a_stale_settlement_is_lost", "check_outcomes_are_settled_each_for_itself")

    async def commit_activities(self, request):
        return attrs.evolve(await self.inner.commit_activities(request), lost=())


class LeasesForEver(Sabotaged):
    breaks = (
        "check_an_expired_lease_is_given_again",
        "check_lease_starts_when_taken",
        "check_a_stale_commit_is_refused",
    )

    async def lock_turns(self, request):
        return await self.inner.lock_turns(attrs.evolve(request, lease=1e9))


class LeasesNothing(Sabotaged):
    breaks = ("check_a_taken_item_is_taken", "check_concurrent_lockers_share_items")

    async def lock_activities(self, request):
        return await self.inner.lock_activities(attrs.evolve(request, lease=0.0))


class RunsAnything(Sabotaged):
    breaks = (
        "check_capabilities_by_name_and_version",
        "check_capabilities_by_semantics",
        "check_no_capabilities_take_nothing",
        "check_foreign_instances_do_not_starve",
    )

    async def lock_turns(self, request):
        return await self.inner.lock_turns(attrs.evolve(request, can_run=None))


class IgnoresTags(Sabotaged):
    breaks = ("check_tags_choose_workers", "check_other_tags_do_not_starve")

    async def lock_activities(self, request):
        return await self.inner.lock_activities(attrs.evolve(request, tags=attrs.evolve(request.tags, tags=None)))


class ConsumesEverything(Sabotaged):
    breaks = (
        "check_messages_during_a_turn_wait",
        "check_commit_removes_exactly_what_was_consumed",
        "check_what_arrived_is_answered",
    )

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, consumed=tuple(range(1, 1000))))


class NeverClears(Sabotaged):
    breaks = ("check_values_are_set_and_cleared",)

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, kv_cleared=()))


class NeverReleases(Sabotaged):
    breaks = ("check_a_clean_release_does_not_count", "check_an_unclean_release_counts", "check_a_release_may_delay")

    async def release_turn(self, request):
        return None


class NeverKeeps(Sabotaged):
    breaks = ("check_a_kept_lock_is_held", "check_the_lock_may_be_kept_over_it", "check_a_long_chain_of_fused_steps")

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, keep=None))


class NeverDelays(Sabotaged):
    breaks = ("check_delayed_start_waits", "check_delayed_start_is_announced")

    async def start_instance(self, request):
        return await self.inner.start_instance(attrs.evolve(request, delay=0.0))


class NeverCancels(Sabotaged):
    breaks = (
        "check_a_free_item_is_removed",
        "check_a_leased_item_is_marked",
        "check_an_expired_item_is_lost",
        "check_a_marked_item_is_not_retried",
        "check_the_holder_hears_of_it",
    )

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, cancel_activities=()))


class ReadsEverything(Sabotaged):
    breaks = ("check_histories_are_read_in_parts",)

    async def read_history(self, instance, execution, *, after=0, limit=None):
        return await self.inner.read_history(instance, execution)


class KeepsTimeToItself(Sabotaged):
    breaks = (
        "check_next_due_tells_of_leases",
        "check_wake_at_makes_eligible",
        "check_the_earliest_time_is_announced",
        "check_a_marked_item_that_expires_is_lost",
    )

    async def lock_turns(self, request):
        return attrs.evolve(await self.inner.lock_turns(request), next_due=None)


class SaysNothing(Sabotaged):
    breaks = (
        "check_starts_and_posts_wake_dispatchers",
        "check_items_wake_dispatchers",
        "check_watchers_of_an_instance_are_woken",
        "check_an_outcome_wakes_dispatchers",
        "check_new_times_wake_dispatchers",
    )
    signals = Signals()


class NeverRests(Sabotaged):
    breaks = ("check_verbs_are_checkpoints",)

    async def post_message(self, request):
        from trioflow.stores import _rules

        self.inner.apply(_rules.post_message, request)


class DropsHeartbeats(Sabotaged):
    breaks = ("check_heartbeats_reach_the_next_attempt",)

    async def renew_activities(self, request):
        return await self.inner.renew_activities(attrs.evolve(request, heartbeats={}))


class SabotagedTables(Sabotaged):
    tables: type[MemoryTables]

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.inner._tables = self.tables()


class NeverUndoes(SabotagedTables):
    breaks = ("check_a_fused_step_is_all_or_nothing",)

    class tables(MemoryTables):
        """Broken."""

        def rollback(self):
            self.commit()


class TurnsBackwards(SabotagedTables):
    breaks = ("check_messages_keep_their_order", "check_the_start_message_is_first", "check_start_message_is_first")

    class tables(MemoryTables):
        """Broken."""

        def messages(self, instance):
            return super().messages(instance)[::-1]


class StartsCountingAgain(SabotagedTables):
    breaks = ("check_replace_goes_on_counting", "check_an_outcome_for_an_old_execution_is_dropped")

    class tables(MemoryTables):
        """Broken."""

        def put_new_instance(self, row, parent, attributes):
            row.execution = 1
            super().put_new_instance(row, parent, attributes)


class PlaysFavourites(SabotagedTables):
    breaks = ("check_the_longest_waiting_comes_first", "check_a_busy_instance_starves_nobody")

    class tables(MemoryTables):
        """Broken."""

        def due_instances(self, now, limit, can_run):
            rows = super().due_instances(now, 1000, can_run)
            return sorted(rows, key=lambda row: row.instance)[:limit]


class KnowsNoParents(SabotagedTables):
    breaks = ("check_a_message_to_a_child_reaches_no_other_instance",)

    class tables(MemoryTables):
        """Broken."""

        def instance_details(self, instance):
            return Parent(instance="a", execution=1, event_id=1), {}


class HandsOutTheCancelled(SabotagedTables):
    breaks = ("check_the_activity_dispatcher_finds_it_too", "check_a_marked_item_that_expires_is_lost")

    class tables(MemoryTables):
        """Broken."""

        def due_cancelled(self, now, limit):
            return []


STORES = [
    store for base in (Sabotaged, SabotagedTables) for store in base.__subclasses__() if store is not SabotagedTables
]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.__name__)
async def test_a_broken_law_is_found(store: type[Sabotaged], autojump_clock: Any) -> None:
    """Each check that is about the broken law fails."""
    assert store.breaks
    passed = []
    for name in store.breaks:
        try:
            await run_check(BY_NAME[name], store)
        except Exception:
            continue
        passed.append(name)
    assert passed == []


async def test_check_store_reports_all_that_it_found(autojump_clock: Any) -> None:
    """The public entry goes on after a failure and names each check that failed."""
    with pytest.raises(ExceptionGroup) as caught:
        await check_store(ConsumesEverything)
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    for name in ConsumesEverything.breaks:
        assert any(f"found by {name}:" in note for note in notes)
