"""What a transaction has yet to write: seen by whoever asks, taken back with its member, never written twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import outcome
import pytest

from tests.stores.sqlite_helpers import Faults
from trioflow.abc import (
    ActivityLock,
    BornLeased,
    CommitActivities,
    CommitTurn,
    DeleteInstances,
    Draft,
    Env,
    EventRow,
    LockTurns,
    NewActivity,
    OutMessage,
    PostMessage,
    RenewActivities,
    SettleActivity,
    StartInstance,
    State,
)
from trioflow.errors import InstanceExists, LockLost, StoreFull, StoreUnavailable
from trioflow.stores import _rules as rules
from trioflow.stores._rules import Work
from trioflow.stores._sqlite._bulk import SIZES, portions
from trioflow.stores._sqlite._database import Database, Member
from trioflow.stores._sqlite._opening import Settings

NAMES = ("a", "b", "c")


@attrs.define(eq=False)
class Bench:
    """A database and short ways to have things done in one transaction."""

    database: Database
    faults: Faults

    def do(self, *pairs: tuple[Any, Any]) -> list[Any]:
        """Carry out rules together; what each was answered, or the error."""
        self.faults.seen.clear()
        members = [Member(rule, request) for rule, request in pairs]
        self.database.execute(members)
        answers = []
        for member in members:
            assert member.answer is not None
            answers.append(member.answer.error if isinstance(member.answer, outcome.Error) else member.answer.value)
        return answers

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """What is in the file by now."""
        assert self.database._db is not None
        return self.database._db.execute(text, values).fetchall()

    def count(self, contains: str) -> int:
        """How many statements of the last transaction had this text in them."""
        return sum(contains in text for text in self.faults.seen)

    def begin(self, *names: str, width: int = 2) -> dict[str, CommitTurn]:
        """Instances that each hold so many leased activities; a commit that settles those."""
        self.do(*[(rules.start_instance, start(name)) for name in names])
        (locked,) = self.do((rules.lock_turns, LockTurns(worker="w", limit=len(names), lease=60.0)))
        commits, following = [], {}
        for turn in locked.turns:
            name = turn.lock.instance
            items = tuple(item(name, 2 + number) for number in range(width))
            events = tuple(event(number) for number in range(1, width + 2))
            commits.append(
                CommitTurn(
                    request_id=f"first of {name}", lock=turn.lock, revision=0, events=events, consumed=(1,),
                    state=State.WAITING, activities=items, keep=60.0,
                )
            )  # fmt: skip
            following[name] = CommitTurn(
                request_id=f"second of {name}", lock=turn.lock, revision=1, events=(event(width + 2),),
                state=State.WAITING, keep=60.0,
                settle=tuple(SettleActivity(lock=lock(name, 2 + number)) for number in range(width)),
            )  # fmt: skip
        self.do(*[(rules.commit_turn, commit) for commit in commits])
        return following


def start(instance: str, **more: Any) -> StartInstance:
    """A start."""
    told = {"request_id": f"start of {instance}", "name": "flow", "start": Draft("OrchestrationStarted", b""), **more}
    return StartInstance(instance=instance, **told)


def post(name: str) -> PostMessage:
    """A message from a client."""
    message = OutMessage(instance=name, draft=Draft("x", b""))
    return PostMessage(request_id=f"to {name}", message=message, mailbox_limit=9, mailbox_bytes=9)


def event(number: int) -> EventRow:
    """An event."""
    return EventRow(number, 0.0, "Happened", b"")


def item(name: str, number: int) -> NewActivity:
    """An activity that is leased from its birth."""
    born = BornLeased(worker="w", token=f"{name} {number}", lease=60.0)
    return NewActivity(event_id=number, name="act", data=b"", payload=b"large", born=born)


def lock(name: str, number: int) -> ActivityLock:
    """The lock on such an activity."""
    return ActivityLock(name, 1, number, f"{name} {number}")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A new database."""
    faults = Faults()
    settings = Settings(
        path=str(tmp_path / "x.db"), durability="fast", clock=time.time, env=Env(), patience=5.0, connect=faults.connect
    )
    database = Database(settings)
    database.open()
    yield Bench(database, faults)
    database.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 65, 200])
def test_portions_are_all_of_it(count: int) -> None:
    """Rows come in portions of few sizes, in their order, none left out."""
    rows = list(range(count))
    found = list(portions(rows))
    assert [row for some in found for row in some] == rows
    assert all(len(some) in SIZES for some in found)
    assert len(found) <= count // 64 + 6


def test_a_new_instance_is_written_once(bench: Bench) -> None:
    """A start puts a message into the inbox of a row that is not written yet: one insertion, with the last figures."""
    bench.do((rules.start_instance, start("a")))
    assert bench.count("INTO instance") == 1
    assert bench.count("UPDATE instance") == 0
    assert bench.ask("SELECT queued, next_seq FROM instance") == [(1, 2)]


def test_settling_many_reads_and_removes_together(bench: Bench) -> None:
    """What several commits settle is read in one statement and removed in as few."""
    following = bench.begin(*NAMES, "d", width=4)
    bench.do(*[(rules.commit_turn, commit) for commit in following.values()])
    assert bench.count("activity") == 2
    assert bench.ask("SELECT count(*) FROM activity") == [(0,)]
    assert bench.ask("SELECT count(*), min(revision), max(revision) FROM instance") == [(4, 2, 2)]


def test_a_refused_member_leaves_nothing_and_its_batch_is_kept(bench: Bench) -> None:
    """A commit that finds its second lease gone is undone with all it had settled; nobody runs twice."""
    following = bench.begin(*NAMES)
    stale = SettleActivity(lock=attrs.evolve(lock("b", 3), token="another's"))
    following["b"] = attrs.evolve(following["b"], settle=(following["b"].settle[0], stale))
    a, b, c = bench.do(*[(rules.commit_turn, following[name]) for name in NAMES])
    assert isinstance(b, LockLost)
    assert (a.revision, c.revision) == (2, 2)
    assert bench.count("BEGIN") == 1
    assert bench.ask("SELECT instance, event_id FROM activity ORDER BY 1, 2") == [("b", 2), ("b", 3)]
    assert bench.ask("SELECT revision FROM instance ORDER BY instance") == [(2,), (1,), (2,)]


def refuse_after(act: Callable[[Work], object]) -> Callable[[Work, str], None]:
    """A rule that does something and then refuses."""

    def rule(work: Work, request: str) -> None:
        act(work)
        raise InstanceExists("no")

    return rule


def test_what_is_taken_back_is_not_seen_by_the_next(bench: Bench) -> None:
    """Those behind a refused member see what those before it have added, and nothing of its own."""

    def act(work: Work) -> None:
        row = work.instance("a")
        assert row is not None
        row.state = State.COMPLETED
        work.touch(row)
        work.finish()
        work.tables.remember("start of b", 0.0, rules.Remembered("delete", "x", 1, created=False))
        items = [work.tables.activity("z", 1, number) for number in (2, 3)]
        assert items[0] is None  # the one before has settled it
        work.tables.remove_activities(items[1:])

    again = start("a", request_id="again", if_exists="attach")
    bench.begin("z")
    answers = bench.do(
        (rules.start_instance, start("a")),
        (rules.commit_activities, CommitActivities(settle=(SettleActivity(lock=lock("z", 2)),))),
        (refuse_after(act), ""),
        (rules.start_instance, again),
        (rules.start_instance, start("a")),
        (rules.start_instance, start("b")),
        (rules.renew_activities, RenewActivities(locks=(lock("z", 2), lock("z", 3)), lease=60.0)),
    )
    first, settled, refused, attached, repeated, other, renewed = answers
    assert bench.count("BEGIN") == 1
    assert isinstance(refused, InstanceExists)
    assert settled.lost == ()
    assert attached.created is False
    assert repeated == first
    assert other.created is True
    assert renewed.lost == (lock("z", 2),)


def test_a_refusal_after_a_write_voids_the_batch(bench: Bench) -> None:
    """A member that has written something cannot be undone alone: the others run again and lose nothing."""
    answers = bench.do(
        (rules.start_instance, start("a")),
        (refuse_after(lambda work: work.tables.set_status("a", b"half")), ""),
        (rules.start_instance, start("b")),
    )
    assert [type(answer).__name__ for answer in answers] == ["Started", "InstanceExists", "Started"]
    assert bench.count("BEGIN") == 4
    assert bench.ask("SELECT count(*) FROM status") == [(0,)]
    assert bench.ask("SELECT instance FROM instance ORDER BY 1") == [("a",), ("b",)]


def test_a_refusal_after_its_rows_were_looked_for_voids_the_batch(bench: Bench) -> None:
    """Rows that were written because somebody looked for them count as written."""

    def act(work: Work) -> None:
        work.tables.put_message("a", rules.StoredMessage(9, 0.0, None, False, False, Draft("x", b"")))
        assert len(work.tables.inboxes(["a"])["a"]) == 2

    answers = bench.do((rules.start_instance, start("a")), (refuse_after(act), ""), (rules.start_instance, start("b")))
    assert [type(answer).__name__ for answer in answers] == ["Started", "InstanceExists", "Started"]
    assert bench.count("BEGIN") == 4
    assert bench.ask("SELECT instance, seq FROM message ORDER BY 1") == [("a", 1), ("b", 1)]


def test_writing_for_others_is_no_write_of_ones_own(bench: Bench) -> None:
    """A member that only has the rows of others written, and then refuses, costs them nothing."""
    answers = bench.do((rules.start_instance, start("a")), (refuse_after(lambda work: work.tables.inboxes(["a"])), ""))
    assert isinstance(answers[1], InstanceExists)
    assert bench.count("BEGIN") == 1
    assert bench.ask("SELECT instance FROM instance") == [("a",)]


def test_a_write_for_others_that_fails_is_not_held_against_the_member(bench: Bench) -> None:
    """If rows of others cannot be written when a member looks for some, it is they who are told."""
    for _ in range(2):
        bench.faults.fail("INTO message", "SQLITE_FULL")
    answers = bench.do(
        (rules.start_instance, start("a")), (rules.lock_turns, LockTurns(worker="w", limit=5, lease=60.0))
    )
    assert isinstance(answers[0], StoreFull)
    assert answers[1].turns == ()


def test_what_the_driver_does_not_take_costs_only_whoever_brings_it(bench: Bench) -> None:
    """A text that is no text is found when all is written; then each runs alone, and the file goes on being used."""
    odd = start("b", start=Draft("\ud800", b""))
    answers = bench.do(*[(rules.start_instance, request) for request in (start("a"), odd, start("c"))])
    assert [type(answer).__name__ for answer in answers] == ["Started", "UnicodeEncodeError", "Started"]
    assert bench.ask("SELECT instance FROM instance ORDER BY 1") == [("a",), ("c",)]
    (again,) = bench.do((rules.start_instance, start("d")))
    assert again.created


def test_an_item_is_found_as_the_batch_has_left_it(bench: Bench) -> None:
    """Two who settle one item in one batch: the second is told what it would be told later."""
    bench.begin("a")
    settle = CommitActivities(settle=(SettleActivity(lock=lock("a", 2), message=Draft("Done", b"")),))
    late = CommitActivities(settle=(SettleActivity(lock=attrs.evolve(lock("a", 2), token="x")),))
    first, second, other = bench.do(*[(rules.commit_activities, request) for request in (settle, settle, late)])
    assert (first.lost, second.lost) == ((), ())
    assert len(other.lost) == 1
    assert bench.ask("SELECT kind FROM message") == [("Done",)]


def test_an_item_is_changed_as_the_batch_has_left_it(bench: Bench) -> None:
    """Whoever renews without a heartbeat keeps the one that came with the renewal before, in the same transaction."""
    bench.begin("a")
    renew = RenewActivities(locks=(lock("a", 2),), lease=60.0)
    bench.do(
        (rules.renew_activities, attrs.evolve(renew, heartbeats={"a 2": b"beat"})), (rules.renew_activities, renew)
    )
    assert bench.ask("SELECT heartbeat FROM activity WHERE event_id = 2") == [(b"beat",)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_change_keeps_what_never_changes(bench: Bench, count: int) -> None:
    """Renewing one item or several keeps name, times and payload, which are not written again."""
    bench.begin("a")
    before = bench.ask("SELECT * FROM activity ORDER BY event_id")
    locks = (lock("a", 2), lock("a", 3))[:count]
    bench.do((rules.renew_activities, RenewActivities(locks=locks, lease=900.0, heartbeats={"a 2": b"beat"})))
    after = bench.ask("SELECT * FROM activity ORDER BY event_id")
    names = [row[1] for row in bench.ask("PRAGMA table_info(activity)")]
    columns = range(len(names))
    changed = {names[i] for old, new in zip(before, after, strict=True) for i in columns if old[i] != new[i]}
    assert changed == {"due_at", "heartbeat"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_changed_instance_keeps_what_was_said_at_its_start(bench: Bench, count: int) -> None:
    """A message to one instance or several changes figures, and no name, parent, attribute or time of the start."""
    names = NAMES[:count]
    bench.do(*[(rules.start_instance, start(name, attributes={"of": name})) for name in names])
    fixed = "SELECT instance, name, first_execution, created_at, parent, attributes FROM instance ORDER BY 1"
    before = bench.ask(fixed)
    bench.do(*[(rules.post_message, post(name)) for name in names])
    assert bench.ask(fixed) == before
    assert bench.ask("SELECT queued FROM instance") == [(2,)] * count


def test_an_instance_is_replaced_after_the_changes_of_the_old_one(bench: Bench) -> None:
    """An end and the start that takes its place may share a transaction."""
    following = bench.begin("a")
    end = attrs.evolve(following["a"], state=State.COMPLETED, keep=None)
    replace = start("a", request_id="again", name="other", if_exists="replace_finished")
    _, started = bench.do((rules.commit_turn, end), (rules.start_instance, replace))
    assert started.execution == 2
    assert bench.ask("SELECT name, execution, state, revision FROM instance") == [("other", 2, "pending", 2)]


def test_messages_that_are_not_there_are_not_counted(bench: Bench) -> None:
    """A commit that consumes what is not there is found out, whoever shares its transaction, and its inbox is right."""
    following = bench.begin("a", "b")
    bench.do(*[(rules.post_message, post(name)) for name in ("a", "b")])
    wrong = attrs.evolve(following["a"], consumed=(77,))
    right = attrs.evolve(following["b"], consumed=(2, 2))
    answers = bench.do((rules.commit_turn, wrong), (rules.commit_turn, right))
    assert [answer.revision for answer in answers] == [2, 2]
    assert [len(answer.messages) for answer in answers] == [1, 0]
    assert bench.ask("SELECT instance, queued FROM instance ORDER BY 1") == [("a", 1), ("b", 0)]
    assert bench.ask("SELECT instance, seq FROM message") == [("a", 2)]


def test_an_inbox_is_emptied_before_the_next_life_begins(bench: Bench) -> None:
    """An end that leaves messages, and the start that takes its place, may share a transaction: its message stays."""
    following = bench.begin("a")
    end = attrs.evolve(following["a"], state=State.COMPLETED, keep=None)
    replace = start("a", request_id="again", if_exists="replace_finished")
    bench.do((rules.post_message, post("a")), (rules.commit_turn, end), (rules.start_instance, replace))
    assert bench.count("BEGIN") == 1
    assert bench.ask("SELECT kind FROM message") == [("OrchestrationStarted",)]
    assert bench.ask("SELECT queued, state FROM instance") == [(1, "pending")]


def test_times_are_looked_up_once_and_again_when_items_change(bench: Bench) -> None:
    """Who looks for work asks once when the first cancelled or late items are due, and believes no old answer."""
    following = bench.begin("a")
    late = attrs.evolve(item("a", 9), born=None, start_within=5.0, late=Draft("Late", b""))
    commit = attrs.evolve(following["a"], settle=(), activities=(late,), cancel_activities=(2,))
    look = (rules.lock_turns, LockTurns(worker="w", limit=5, lease=60.0))
    before, _, after = bench.do(look, (rules.commit_turn, commit), look)
    assert bench.count("start_by >=") == 2
    assert before.next_due is None
    assert after.now < after.next_due <= after.now + 5


def test_a_deleted_instance_is_not_remembered(bench: Bench) -> None:
    """What was read ahead is not believed after a deletion in the same transaction."""
    following = bench.begin("a", "b")
    end = attrs.evolve(following["a"], state=State.COMPLETED, keep=None)
    bench.do((rules.commit_turn, end), (rules.start_instance, start("c")))
    deleted, started, _ = bench.do(
        (rules.delete_instances, DeleteInstances(request_id="delete", instances=("a",))),
        (rules.start_instance, start("a", request_id="anew")),
        (rules.start_instance, start("d")),
    )
    assert deleted == 1
    assert (started.execution, started.created) == (2, True)


def test_a_deletion_takes_what_was_not_written_yet(bench: Bench) -> None:
    """A message that was posted in the same transaction goes with its instance."""
    bench.do((rules.start_instance, start("a")))
    bench.do(
        (rules.post_message, post("a")),
        (rules.delete_instances, DeleteInstances(request_id="delete", instances=("a",), force=True)),
    )
    assert bench.count("BEGIN") == 1
    assert bench.ask("SELECT count(*) FROM message") == [(0,)]


def test_messages_of_many_go_together_whatever_was_before(bench: Bench) -> None:
    """Commits that share a transaction remove what they consumed in few statements, also after one that was alone."""
    following = bench.begin(*NAMES)
    bench.do(*[(rules.post_message, post(name)) for name in NAMES])
    bench.do((rules.start_instance, start("z")))
    bench.do(*[(rules.commit_turn, attrs.evolve(commit, consumed=(2,))) for commit in following.values()])
    assert bench.count("DELETE FROM message") == 2
    assert bench.ask("SELECT instance FROM message") == [("z",)]


def test_whoever_writes_nothing_is_not_taken_for_the_one_before(bench: Bench) -> None:
    """If COMMIT fails for somebody who only looked, after one who wrote, it is not in doubt what was written."""
    bench.do((rules.start_instance, start("a")))
    bench.do((rules.lock_turns, LockTurns(worker="w", limit=5, lease=60.0)))
    bench.faults.fail("COMMIT", "SQLITE_IOERR")
    (answer,) = bench.do((rules.lock_turns, LockTurns(worker="w", limit=5, lease=60.0)))
    assert type(answer) is StoreUnavailable


def test_nothing_is_kept_when_a_transaction_has_ended(bench: Bench) -> None:
    """Other processes write the file, too; and rows may be large."""
    following = bench.begin(*NAMES)
    bench.do(*[(rules.commit_turn, commit) for commit in following.values()])
    assert bench.database._tables is not None
    pending = bench.database._tables.pending
    assert not any((pending.instances, pending.items, pending.requests, pending.tombstones, pending.begun))
    assert not any(pile.rows for pile in pending._piles)


def test_ids_that_cannot_be_asked_for_spoil_nothing(bench: Bench) -> None:
    """A lock with an id that SQLite does not take is lost, and whoever shares its transaction hears nothing of it."""
    odd = CommitActivities(settle=(SettleActivity(lock=ActivityLock("\ud800", 1, 2, "x")),))
    first, second = bench.do((rules.commit_activities, odd), (rules.start_instance, start("a")))
    assert isinstance(first, Exception)
    assert second.created
