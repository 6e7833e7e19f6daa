"""Deleting and pruning in PostgreSQL while others work, and what may be asked for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.postgres_server import shared_url
from tests.stores.postgres_helpers import ask, empty_store, in_the_middle_of, until_somebody_waits_for
from trioflow.abc import (
    DeleteInstances,
    InstanceQuery,
    ListInstances,
    ListPlace,
    LockActivities,
    NextExecution,
    OutMessage,
    Parent,
    PostMessage,
    PruneExecutions,
    Signals,
    State,
    Store,
    activity_topic,
    instance_topic,
)
from trioflow.errors import InstanceNotFinished, LockLost, TrioflowError
from trioflow.stores import MemoryStore
from trioflow.stores._postgres import _requests as requests
from trioflow.testing._store_contract import Clock, Subject
from trioflow.testing._store_contract._subject import an_item, draft

TOKEN = "0" * 32
PARENT = Parent(instance="a", execution=1, event_id=1)
BELONGINGS = ("event", "message", "kv", "activity", "ready")


@pytest.fixture
async def s() -> AsyncIterator[Subject]:
    """An empty store."""
    clock = Clock()
    async with empty_store(clock) as store:
        yield Subject(store, clock)


def a_deletion(s: Subject, *instances: str, **fields: Any) -> DeleteInstances:
    """All that is named, ended or not."""
    return DeleteInstances(request_id=s.request_id(), instances=instances, **{"force": True, **fields})


def left_behind(s: Subject, *tables: str) -> list[tuple[str, int]]:
    """Rows that belong to no instance, in these tables or in any."""
    schema = s.store._schema  # type: ignore[attr-defined]
    counts = [
        (table, ask(shared_url(), f"SELECT count(*) FROM {schema}.{table} t WHERE NOT EXISTS "
                                  f"(SELECT FROM {schema}.instance i WHERE i.instance = t.instance)")[0][0])
        for table in tables or BELONGINGS
    ]  # fmt: skip
    return [(table, count) for table, count in counts if count]


async def meanwhile(
    s: Subject, verb: str, parameters: tuple[object, ...], then: Callable[[], Awaitable[Any]], *, waits: bool = True
) -> Any:
    """Do something while a verb is about to commit; it has to wait for that, or must not."""
    answers: list[Any] = []

    async def do() -> None:
        try:
            answers.append(await then())
        except TrioflowError as exc:
            answers.append(type(exc))

    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, verb, parameters) as first:
            if waits:
                nursery.start_soon(do)
                await until_somebody_waits_for(first)
            else:
                await do()
    return answers[0]


async def test_a_child_that_is_being_started_goes_with_its_parent(s: Subject) -> None:
    """A deletion waits for the turn that starts it, and then finds it."""
    await s.start()
    turn = await s.turn()
    commit = s.a_commit(turn, "Started", starts=(s.a_start("child", parent=PARENT),))
    deletion = a_deletion(s, "a")
    removed = await meanwhile(
        s, "commit_turn", requests.commit_turn(commit), lambda: s.store.delete_instances(deletion)
    )  # fmt: skip
    assert removed == 2
    assert await s.store.read_instance("child") is None
    assert left_behind(s, "event", "message", "kv", "activity") == []


async def test_a_child_is_not_started_by_one_that_is_being_deleted(s: Subject) -> None:
    """The turn that would start it waits, and is refused."""
    await s.start()
    turn = await s.turn()
    commit = s.a_commit(turn, "Started", starts=(s.a_start("child", parent=PARENT),))
    deletion = requests.delete_instances(a_deletion(s, "a"))
    assert await meanwhile(s, "delete_instances", deletion, lambda: s.store.commit_turn(commit)) is LockLost
    assert await s.store.read_instance("child") is None


async def test_a_grandchild_that_is_being_started_is_found_too(s: Subject) -> None:
    """Who waited for the turn of a child looks for its children again."""
    await s.start()
    await s.start("child", parent=PARENT)
    turns = {turn.lock.instance: turn for turn in (await s.lock_turns()).turns}
    of_child = Parent(instance="child", execution=1, event_id=1)
    commit = s.a_commit(turns["child"], "Started", starts=(s.a_start("grandchild", parent=of_child),))
    deletion = a_deletion(s, "a")
    removed = await meanwhile(
        s, "commit_turn", requests.commit_turn(commit), lambda: s.store.delete_instances(deletion)
    )  # fmt: skip
    assert removed == 3


async def test_a_turn_that_is_done_at_the_same_moment_makes_a_deletion_be_refused(s: Subject) -> None:
    """What a deletion is refused for is what is there when it is its turn: an instance continues as new meanwhile."""
    await s.ended()
    start = s.a_start("a", if_exists="replace_finished")
    deletion = a_deletion(s, "a", force=False)
    refused = await meanwhile(
        s, "start_instance", requests.start_instance(start), lambda: s.store.delete_instances(deletion)
    )  # fmt: skip
    assert refused is InstanceNotFinished
    assert (await s.record()).execution == 2
    assert await s.store.delete_instances(attrs.evolve(deletion, force=True)) == 1  # a refusal is not remembered


@pytest.mark.parametrize("if_exists", ["fail", "attach", "replace_finished"])
async def test_a_start_goes_on_from_the_number_of_a_deletion_at_the_same_moment(s: Subject, if_exists: Any) -> None:
    """Who would replace what is being deleted waits and starts where that stood; the others see what was there."""
    await s.ended()
    start = s.a_start("a", if_exists=if_exists)
    waits = if_exists == "replace_finished"
    deletion = requests.delete_instances(a_deletion(s, "a"))
    answer = await meanwhile(s, "delete_instances", deletion, lambda: s.store.start_instance(start), waits=waits)
    if waits:
        assert (answer.execution, answer.created) == (2, True)
        assert [message.draft.kind for message in (await s.turn()).messages] == ["Started"]
    else:
        assert await s.store.read_instance("a") is None
        assert (await s.start()).execution == 2


async def test_a_message_on_its_way_goes_with_its_instance(s: Subject) -> None:
    """It is not there for the next one of that id, nor left behind for ever."""
    await s.waiting()
    post = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft("Late")))
    deletion = a_deletion(s, "a")
    assert await meanwhile(
        s, "post_message", requests.post_message(post), lambda: s.store.delete_instances(deletion), waits=False
    )  # fmt: skip
    assert left_behind(s) == [("message", 1), ("ready", 1)]
    await s.start()
    assert [message.draft.kind for message in (await s.turn()).messages] == ["Started"]


async def test_a_message_on_its_way_is_swept_up(s: Subject) -> None:
    """Whoever looks for work takes away what was posted to an instance while that was deleted."""
    await s.waiting()
    post = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft("Late")))
    deletion = a_deletion(s, "a")
    await meanwhile(
        s, "post_message", requests.post_message(post), lambda: s.store.delete_instances(deletion), waits=False
    )  # fmt: skip
    await s.nothing_eligible("it was deleted")
    assert left_behind(s) == []


async def test_an_item_that_is_being_taken_goes_with_its_instance(s: Subject) -> None:
    """A deletion waits for whoever takes it, tells that holder, and its outcome is refused."""
    await s.scheduled(an_item())
    take = requests.lock_activities(LockActivities(worker="w", limit=1, lease=30.0), TOKEN)
    deletion = a_deletion(s, "a")
    heard: list[str] = []
    bump = Signals.bump

    def hear(signals: Signals, topic: str) -> None:
        heard.append(topic)
        bump(signals, topic)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signals, "bump", hear)
        assert await meanwhile(s, "lock_activities", take, lambda: s.store.delete_instances(deletion)) == 1
    assert instance_topic("a") in heard
    assert sum(topic.startswith(activity_topic("")) for topic in heard) == 1
    assert left_behind(s) == []


async def test_two_deletions_at_once(s: Subject) -> None:
    """Each instance is counted by one of them; the same request is carried out once."""
    await s.start()
    first, second = a_deletion(s, "a"), a_deletion(s, "a")
    parameters = requests.delete_instances(first)
    assert await meanwhile(s, "delete_instances", parameters, lambda: s.store.delete_instances(second)) == 0
    await s.start()
    third = a_deletion(s, "a")
    parameters = requests.delete_instances(third)
    assert await meanwhile(s, "delete_instances", parameters, lambda: s.store.delete_instances(third)) == 1


async def test_deletions_come_one_after_the_other(s: Subject) -> None:
    """Also those of different instances: what each finds while it waits for others would be locked in no order."""
    await s.start("a")
    await s.start("b")
    deletion = a_deletion(s, "b")
    parameters = requests.delete_instances(a_deletion(s, "a"))
    assert await meanwhile(s, "delete_instances", parameters, lambda: s.store.delete_instances(deletion)) == 1


async def test_a_deletion_that_waits_holds_off_no_letter(s: Subject) -> None:
    """While it waits for a parent's turn, that may write to a child which the deletion has locked already."""
    parent = Parent(instance="p", execution=1, event_id=1)
    await s.start("p")
    await s.start("c", parent=parent)
    turn = next(turn for turn in (await s.lock_turns()).turns if turn.lock.instance == "p")
    deletion = a_deletion(s, "p")
    async with trio.open_nursery() as nursery:
        with in_the_middle_of(s, "commit_turn", requests.commit_turn(s.a_commit(turn, "Started"))) as commit:
            nursery.start_soon(s.store.delete_instances, deletion)
            await until_somebody_waits_for(commit)
            child = f"SELECT FROM {s.store._schema}.instance WHERE instance = 'c' FOR KEY SHARE NOWAIT"  # type: ignore[attr-defined]
            commit.execute(child)  # type: ignore[arg-type]  # as a letter to that child does
    assert await s.store.delete_instances(deletion) == 2


async def test_pruning_and_deleting_at_once(s: Subject) -> None:
    """A deletion waits for whoever prunes, and another who prunes waits for the deletion and finds nothing."""
    await s.start()
    for _ in range(3):
        turn = await s.turn()
        await s.commit(turn, "Started", "Ended", next_execution=NextExecution(start=draft("Next")))
    deletion = a_deletion(s, "a")
    prune = PruneExecutions(instance="a", keep=3)
    assert await meanwhile(s, "prune_executions", (None, "a", 3, None), lambda: s.store.delete_instances(deletion)) == 1
    await s.start()
    deletion = a_deletion(s, "a")
    parameters = requests.delete_instances(deletion)
    assert await meanwhile(s, "delete_instances", parameters, lambda: s.store.prune_executions(prune)) == 0
    assert left_behind(s, "event") == []


ODD = ("\0", "\ud800", "", "%", "_", "a\\", 'a"', "[", "é", "e\u0301")


@pytest.mark.parametrize("make", [MemoryStore, empty_store], ids=["memory", "postgres"])
async def test_odd_text_is_looked_for_to_the_letter(make: Callable[[Clock], Store]) -> None:
    """Attributes of any text are found by exactly that; what cannot be a name, a version or a prefix finds nobody."""
    clock = Clock()
    async with make(clock) as store:
        s = Subject(store, clock)
        for number, text in enumerate(ODD):
            await s.start(f"i{number}", attributes={text: "value", "key": text})

        async def ids(**fields: Any) -> list[str]:
            page = await store.list_instances(ListInstances(query=InstanceQuery(**fields)))
            return sorted(found.instance for found in page.instances)

        for number, text in enumerate(ODD):
            assert await ids(attributes={text: "value"}) == [f"i{number}"]
            assert await ids(attributes={"key": text}) == [f"i{number}"]
            assert await ids(attributes={"key": text, text: "valu"}) == []
            assert (await s.record(f"i{number}")).attributes == {text: "value", "key": text}
            for field in ("name", "version", "parent"):
                assert await ids(**{field: text}) == []
            assert await ids(prefix=text) == ([] if text else sorted(f"i{n}" for n in range(len(ODD))))
        place = ListPlace(clock.now, "\0")
        assert (await store.list_instances(ListInstances(after=place))).instances == ()
        assert await store.prune_executions(PruneExecutions(instance="\0")) == 0
        assert await store.read_executions("\0") == ()
        assert await store.delete_instances(DeleteInstances(request_id="x", instances=("\0", "\ud800"))) == 0
        assert await store.delete_instances(DeleteInstances(request_id="y", instances=())) == 0


async def test_a_crowd_of_families_is_deleted_while_it_works(s: Subject) -> None:
    """Whatever comes together, nothing is left behind, no execution number comes twice, and nothing deadlocks."""
    rng, names, begun = random.Random(3), ("p", "q", "c", "d", "z"), list[tuple[str, int]]()
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = ask(shared_url(), deadlocks)

    async def begin(name: str) -> None:
        started = await s.start(name, if_exists="attach")
        if started.created:
            begun.append((name, started.execution))

    async def turns() -> None:
        for turn in (await s.lock_turns(limit=2)).turns:
            name, execution = turn.lock.instance, turn.lock.execution
            parent = Parent(instance=name, execution=execution, event_id=1)
            children = [s.a_start(f"{name}-{n}", parent=parent, if_exists="attach") for n in range(2) if len(name) < 6]
            messages = [OutMessage(instance=start.instance, child_of=parent, draft=draft()) for start in children]
            state = rng.choice((State.WAITING, State.COMPLETED))
            request = s.a_commit(
                turn, state=state, starts=tuple(children), messages=tuple(messages), kv_set={"k": b"v"},
                activities=(an_item(turn.revision + 1),), keep=rng.choice((None, 30.0)),
            )  # fmt: skip
            try:
                await s.store.commit_turn(attrs.evolve(request, events=()))
                await s.renew(turn)
            except LockLost:
                pass

    async def items() -> None:
        for item in (await s.lock_items(limit=3)).activities:
            await s.settle(item.lock)

    async def delete() -> None:
        await s.store.delete_instances(a_deletion(s, *rng.sample(names, 2)))

    async def work() -> None:
        for _ in range(60):
            step = rng.choice((turns, turns, items, delete, lambda: begin(rng.choice(names))))
            await step()

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(work)
    await s.lock_turns()
    assert left_behind(s) == []
    assert len(begun) == len(set(begun)) > 10
    assert ask(shared_url(), deadlocks) == before
