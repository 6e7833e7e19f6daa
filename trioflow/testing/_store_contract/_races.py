"""Several tasks at once on one store: one of them wins, whole. Read next: `_twins.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from trioflow.abc import (
    Capabilities,
    CommitActivities,
    NextExecution,
    OutMessage,
    PostMessage,
    SettleActivity,
    State,
)
from trioflow.errors import InstanceFinished, LockLost, MailboxFull, TrioflowError
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import LEASE, Subject, an_event, an_item, draft, expect_equal, kinds


async def _at_once(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What each of several calls answers, or the error it raises, in the order of the calls."""
    answers: list[Any] = [None] * len(calls)

    async def call(number: int) -> None:
        try:
            answers[number] = await calls[number]()
        except TrioflowError as exc:
            answers[number] = exc

    async with trio.open_nursery() as nursery:
        for number in range(len(calls)):
            nursery.start_soon(call, number)
    return answers


def _refusals(answers: list[Any], cls: type[Exception]) -> int:
    return sum(isinstance(answer, cls) for answer in answers)


async def check_concurrent_commits_of_one_turn(s: Subject) -> None:
    """Of several different commits of one lock exactly one is written, and that whole."""
    await s.start()
    turn = await s.turn()
    commits = [s.a_commit(turn, events=(an_event(1, f"E{number}"),), status=b"%d" % number) for number in range(8)]
    answers = await _at_once(*((lambda commit=commit: s.store.commit_turn(commit)) for commit in commits))
    expect_equal(_refusals(answers, LockLost), 7, "commits that were refused")
    (winner,) = [number for number, answer in enumerate(answers) if not isinstance(answer, Exception)]
    record = await s.record()
    expect_equal((record.revision, record.history_length, record.status), (1, 1, b"%d" % winner), "the instance")
    expect_equal([row.kind for row in await s.store.read_history("a", 1)], [f"E{winner}"], "the history")


@belongs_to(Part.REPEATS)
async def check_concurrent_repeats_of_one_commit(s: Subject) -> None:
    """A commit that is sent several times at once is written once and answered alike."""
    await s.waiting("b")
    await s.start("a")
    commit = s.a_commit(await s.turn("a"), "One", messages=(OutMessage(instance="b", draft=draft()),))
    answers = await _at_once(*[lambda: s.store.commit_turn(commit)] * 6)
    expect_equal([answer.revision for answer in answers], [1] * 6, "the answers")
    expect_equal((await s.record("b")).queued, 1, "messages in the other inbox")


@belongs_to(Part.REPEATS)
async def check_concurrent_repeats_of_one_start(s: Subject) -> None:
    """A start that is sent several times at once creates one instance and is answered alike."""
    request = s.a_start("a")
    answers = await _at_once(*[lambda: s.store.start_instance(request)] * 6)
    expect_equal(answers, [answers[0]] * 6, "the answers")
    expect_equal((answers[0].created, (await s.record()).queued), (True, 1), "what was created")


@belongs_to(Part.REPEATS)
async def check_concurrent_repeats_of_one_post(s: Subject) -> None:
    """A message that is sent several times at once enters once."""
    await s.waiting()
    request = PostMessage(request_id=s.request_id(), message=OutMessage(instance="a", draft=draft()))
    await _at_once(*[lambda: s.store.post_message(request)] * 6)
    expect_equal((await s.record()).queued, 1, "messages in the inbox")


@belongs_to(Part.REPLACING)
async def check_concurrent_replacements(s: Subject) -> None:
    """Of several replacements of one instance that has ended exactly one begins."""
    await s.ended()
    answers = await _at_once(*[lambda: s.start("a", if_exists="replace_finished")] * 6)
    expect_equal(_refusals(answers, TrioflowError), 5, "refusals")
    expect_equal((await s.record()).execution, 2, "the execution")


@belongs_to(Part.REPLACING)
async def check_concurrent_attaches_create_once(s: Subject) -> None:
    """Of several attaches to a free id one creates the instance and the others find it."""
    answers = await _at_once(*[lambda: s.start("a", if_exists="attach")] * 6)
    expect_equal(sorted(answer.created for answer in answers), [False] * 5 + [True], "who created it")
    expect_equal((await s.record()).queued, 1, "messages in the inbox")


@belongs_to(Part.CANCELLING)
async def check_concurrent_settlements_of_one_item(s: Subject) -> None:
    """An item that is settled and cancelled at once has exactly one outcome."""
    await s.scheduled(an_item(1))
    item = await s.item()
    await s.post("a")
    turn = await s.turn()
    settle = CommitActivities(settle=(SettleActivity(lock=item.lock, message=draft("Done")),))
    await _at_once(
        lambda: s.store.commit_activities(settle),
        lambda: s.commit(turn, cancel_activities=(1,)),
        lambda: s.store.commit_activities(settle),
    )
    s.advance(LEASE)
    expect_equal(kinds((await s.turn()).messages), ["Done"], "the inbox")


@belongs_to(Part.MAILBOXES)
async def check_a_mailbox_is_never_overfull(s: Subject) -> None:
    """Many senders at once do not get more events into a mailbox than it may hold."""
    await s.waiting("a", unread=1)
    answers = await _at_once(*[lambda: s.post("a", mailbox=True, mailbox_limit=4)] * 8)
    expect_equal(_refusals(answers, MailboxFull), 5, "refusals")
    expect_equal((await s.record()).queued, 3, "messages in the inbox")


@belongs_to(Part.REFUSALS)
async def check_a_message_enters_or_is_refused(s: Subject) -> None:
    """Messages that race with the end of their instance are refused, or gone with it; none is left over."""
    await s.start()
    turn = await s.turn()
    answers = await _at_once(
        *[lambda: s.post("a")] * 3,
        lambda: s.commit(turn, "Ended", state=State.COMPLETED),
        *[lambda: s.post("a")] * 3,
    )
    refused = _refusals(answers, InstanceFinished)
    expect_equal(_refusals(answers, Exception), refused, "errors of another kind")
    expect_equal((await s.record()).queued, 0, "messages in the inbox")
    await s.nothing_eligible("it has ended")


@belongs_to(Part.EXECUTIONS)
async def check_a_message_races_with_continuing(s: Subject) -> None:
    """Events that race with continue-as-new are all in the next execution, behind its start."""
    await s.start()
    turn = await s.turn()
    following = NextExecution(start=draft("Again"))
    await _at_once(
        *[lambda: s.post("a", "Event")] * 3,
        lambda: s.commit(turn, next_execution=following),
        *[lambda: s.post("a", "Event")] * 3,
    )
    expect_equal(kinds((await s.turn()).messages), ["Again"] + ["Event"] * 6, "the inbox")


@belongs_to(Part.CAPABILITIES)
async def check_concurrent_workers_with_different_capabilities(s: Subject) -> None:
    """Workers of several kinds at once get each instance once, and only what they can run."""
    for number in range(20):
        await s.start(f"i{number}", name="even" if number % 2 == 0 else "odd")

    def lock(name: str) -> Callable[[], Awaitable[Any]]:
        return lambda: s.lock_turns(limit=4, can_run=Capabilities(orchestrations=((name, "1"),)))

    answers = await _at_once(*[lock("even"), lock("odd")] * 4)
    taken = [(turn.name, turn.lock.instance) for answer in answers for turn in answer.turns]
    wanted = [("even" if number % 2 == 0 else "odd", f"i{number}") for number in range(20)]
    expect_equal(sorted(taken), sorted(wanted), "who was taken")


@belongs_to(Part.CHILDREN)
async def check_turns_of_many_instances_at_once(s: Subject) -> None:
    """Commits of different instances that write to each other at the same time are all carried out."""
    names = [f"i{number}" for number in range(8)]
    for name in names:
        await s.start(name)
    turns = (await s.lock_turns()).turns

    def commit(turn: Any) -> Callable[[], Awaitable[Any]]:
        out = tuple(OutMessage(instance=name, draft=draft(turn.lock.instance)) for name in names)
        return lambda: s.commit(turn, "E", messages=out)

    answers = await _at_once(*map(commit, turns))
    expect_equal(_refusals(answers, Exception), 0, "refusals")
    for turn in (await s.lock_turns()).turns:
        expect_equal(sorted(kinds(turn.messages)), names, f"the inbox of {turn.lock.instance}")


async def check_a_lock_is_renewed_or_taken(s: Subject) -> None:
    """A renewal that comes late and a worker that looks at the same time: one of them holds the lock, not both."""
    await s.start()
    turn = await s.turn()
    s.advance(LEASE)
    for _ in range(4):
        renewal, answer = await _at_once(lambda: s.renew(turn), s.lock_turns)
        if answer.turns:
            expect_equal(renewal.lost, (turn.lock,), "locks lost, since somebody took it")
            return
        expect_equal(renewal.lost, (), "locks lost, though nobody took it")
        s.advance(LEASE)
