"""A machine that sends the same requests to several stores and to the model, and compares all that they say.

Laws: the machine thinks in the names of `subjects.py` and looks into the model only to make requests that matter; what
one of them answers all have to answer, after every step; what can be read of the instances named is compared after
every step, everything and what is left to do at the end. Nothing is repeated that is older than the hour for which
stores promise to remember.

Who calls it: `test_state_machine.py`. Read next: `requests.py`, `model.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.stores.model_administration import WholeModel
from tests.stores.requests import IDS, Dice, ReleaseSessions
from tests.stores.sides import TrioLoop, keep_open
from tests.stores.subjects import KINDS, Kind, Subject
from trioflow.abc import (
    ActivityLock,
    CommitActivities,
    CommitTurn,
    Draft,
    EventRow,
    InstancePage,
    ListPlace,
    LockActivities,
    LockTurns,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewSessions,
    RenewTurns,
    SessionClaim,
    SettleActivity,
    State,
    TagFilter,
    TurnCommitted,
    TurnLock,
)
from trioflow.testing._store_contract import Clock

HOUR = 3600.0
SEEDS = st.integers(0, 2**32 - 1)  # of the dice of one step
PAUSES = (0.25, 5.0, 29.75, 30.0, 31.0, 4000.0)
MARGINS = (0.0, 0.0, 0.25, -0.25)
UNREPEATED = (LockTurns, LockActivities, RenewSessions)


@attrs.define
class HeldTurn:
    """A turn lock as its holder sees it."""

    lock: TurnLock
    messages: int  # how many it has seen


class StoresAgree(RuleBasedStateMachine):
    """See the module. `kinds` are compared with the model."""

    kinds: list[Kind] = KINDS

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.clock, self.folder = TrioLoop(), Clock(), Path(tempfile.mkdtemp())
        self.model = WholeModel(self.clock.now)
        self.subjects = [Subject("model", [self.model])]
        self.turns: list[HeldTurn] = []
        self.items: list[ActivityLock] = []
        self.places: tuple[ListPlace, ...] = ()  # of the last list
        self.sent_at: list[float] = []  # when the id of each request was used first
        self.used_at: dict[str, float] = {}  # by request id
        self.settled_at: dict[str, float] = {}  # by token
        self.side = self.count = 0
        self.fine = True
        self.loop.call(self.open)

    # -- the stores

    async def open(self) -> None:
        for kind in self.kinds:
            folder = self.folder / kind.name
            folder.mkdir()
            sides = [await self.loop.nursery.start(keep_open, kind.make(folder, self.clock))]
            if kind.further is not None:
                other = kind.further(sides[0].store)(self.clock)
                sides.append(await self.loop.nursery.start(keep_open, other))
            self.subjects.append(Subject(kind.name, sides))

    async def close(self) -> None:
        for subject in self.subjects[1:]:
            for side in subject.sides:
                await side.close()

    @rule()
    def reopen(self) -> None:
        """One of the ways into each store is closed and opened again."""
        self.loop.call(self._reopen)

    async def _reopen(self) -> None:
        for subject, kind in zip(self.subjects[1:], self.kinds, strict=True):
            number = self.side % len(subject.sides)
            before = subject.sides[number]
            await before.close()
            store = before.store if kind.further is None else kind.further(before.store)(self.clock)
            subject.sides[number] = await self.loop.nursery.start(keep_open, store)

    @rule()
    def change_sides(self) -> None:
        """Go on through the other way in."""
        self.side += 1

    # -- asking all of them

    def compare(self, what: Any, ask: Callable[[Subject], Awaitable[Any]]) -> Any:
        """Ask all; they have to say the same."""

        async def ask_all() -> list[Any]:
            return [await ask(subject) for subject in self.subjects]

        self.fine = False
        model, *others = self.loop.call(ask_all)
        for subject, other in zip(self.subjects[1:], others, strict=True):
            before = "\n".join(str(request) for request, _ in self.subjects[0].sent[-20:])
            assert other == model, f"{what}\n{subject.name}: {other}\n\nmodel: {model}\n\nthe last requests:\n{before}"
        self.fine = True
        return model

    def send(self, request: Any, *touched: str) -> Any:
        """Send a request to all, and look at the instances that it names."""
        self.model.now = self.clock.now
        request_id = getattr(request, "request_id", f"the {len(self.sent_at)}th without an id")
        self.sent_at.append(self.used_at.setdefault(request_id, self.clock.now))

        async def ask(subject: Subject) -> Any:
            return await subject.send(request, self.side), await self.seen(subject, *touched)

        return self.compare(request, ask)[0]

    async def seen(self, subject: Subject, *instances: str) -> list[Any]:
        """All that can be read of some instances."""
        return [await subject.look(instance, self.side) for instance in dict.fromkeys(instances)]

    def fresh(self) -> str:
        self.count += 1
        return f"request-{self.count}"

    # -- clients

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        """There is always somebody to talk to."""
        dice = Dice(seed)
        for instance in IDS[:2]:
            self.send(attrs.evolve(dice.start(self.fresh(), "fail"), instance=instance, delay=0.0), instance)

    @rule(seed=SEEDS)
    def start(self, seed: int) -> None:
        """A client starts."""
        start = Dice(seed).start(self.fresh(), "fail", "attach", "replace_finished", "replace_finished")
        self.send(start, start.instance)

    @rule(seed=SEEDS)
    def post(self, seed: int) -> None:
        """A client posts, now and then with an id that was used before."""
        dice = Dice(seed)
        message, limit = dice.message(), dice.rng.randint(1, 4)
        used = f"request-{self.count}"
        again = dice.flip(0.05) and self.clock.now - self.used_at.get(used, self.clock.now) <= HOUR
        request_id = used if again else self.fresh()
        post = PostMessage(
            request_id=request_id, message=message, mailbox_limit=limit, mailbox_bytes=dice.rng.randint(8, 40)
        )
        self.send(post, message.instance)

    @rule(seed=SEEDS)
    def repeat(self, seed: int) -> None:
        """A request whose answer was lost is sent again, unchanged."""
        sent = self.subjects[0].sent
        numbers = [
            number
            for number, (request, _) in enumerate(sent[-12:], max(0, len(sent) - 12))
            if self.clock.now - self.sent_at[number] <= HOUR and not isinstance(request, UNREPEATED)
        ]
        if numbers:
            self._repeat(Dice(seed).one_of(*numbers, *numbers[-1:] * 6))

    def _repeat(self, number: int) -> None:
        request = self.subjects[0].sent[number][0]
        self.model.now = self.clock.now

        async def ask(subject: Subject) -> Any:
            return await subject.repeat(number, self.side), await self.seen(subject, *IDS)

        answer, _ = self.compare(f"again: {request}", ask)
        if isinstance(request, CommitTurn):
            self._note_commit(request, answer)

    # -- turns

    @rule(seed=SEEDS)
    def lock_turns(self, seed: int) -> None:
        """A worker takes turns."""
        self._lock_turns(Dice(seed).turn_locks())

    def _lock_turns(self, request: LockTurns) -> int:
        answer = self.send(request)
        self.turns += [HeldTurn(turn.lock, len(turn.messages)) for turn in answer.turns]
        return len(answer.turns)

    @rule(seed=SEEDS)
    def work(self, seed: int) -> None:
        """A worker takes turns and commits the last of them at once."""
        if self._lock_turns(LockTurns(worker="w", limit=9, lease=30.0)):
            self._commit(Dice(seed), self.turns[-1])

    @precondition(lambda self: self.turns)
    @rule(seed=SEEDS)
    def commit(self, seed: int) -> None:
        """A worker commits."""
        dice = Dice(seed)
        self._commit(dice, self.turns[-1 - dice.pick() % len(self.turns)])

    def _commit(self, dice: Dice, turn: HeldTurn) -> None:
        """Now and then with a mistake."""
        now, there = self.clock.now, self.model.instances.get(turn.lock.instance)
        revision = 0 if there is None else there.revision
        fault = dice.one_of(*[None] * 12, "past", "gap", "stale")
        length = len(self.model.histories.get((turn.lock.instance, turn.lock.execution), [])) + (fault == "gap")
        count = dice.one_of(1, 2, 3, 3, 0)
        fields = dice.commit(now)
        request = CommitTurn(
            request_id=self.fresh(),
            lock=turn.lock,
            revision=revision - (fault == "past"),
            events=tuple(EventRow(length + n, now, "E", b"d", b"p") for n in range(1, count + 1)),
            consumed=tuple(range(turn.messages))[: dice.one_of(0, 1, 9, 9, 9)],
            activities=tuple(
                dice.activity(length + n, f"born {self.fresh()}") for n in range(1, count + 1) if dice.flip(0.7)
            ),
            settle=self._fused(dice, turn.lock, fault),
            cancel_activities=() if fields["cancel_all_activities"] else self._cancels(dice, turn.lock, length + count),
            starts=tuple(dice.start(self.fresh(), "fail", "attach", replies=True) for _ in dice.some(2)),
            **fields,
        )
        others = [start.instance for start in request.starts] + [message.instance for message in request.messages]
        self._note_commit(request, self.send(request, turn.lock.instance, *others))

    def _cancels(self, dice: Dice, lock: TurnLock, length: int) -> tuple[int, ...]:
        """Event ids, mostly of items that are there."""
        there = [item.new.event_id for item in self.model.items if item.instance == lock.instance]
        return tuple(dict.fromkeys(dice.one_of(*there, 1, length) for _ in dice.some(2)))

    def _fused(self, dice: Dice, lock: TurnLock, fault: str | None) -> tuple[SettleActivity, ...]:
        """The settlement of one of the instance's own activities, or, as a mistake, of one that is no longer held."""
        own = self.subjects[0].names.own_lock
        for item in reversed(self.items):
            if item.instance == lock.instance and (self.model.item_of(own(item)) is None) == (fault == "stale"):
                outcome = dice.one_of({}, dice.outcome())
                return () if fault == "gap" or dice.flip() else (SettleActivity(lock=item, **outcome),)
        return ()

    def _note_commit(self, request: CommitTurn, answer: Any) -> None:
        """Hold on to what a commit has left in our hands."""
        if not isinstance(answer, TurnCommitted):
            return
        for turn in self.turns:
            if turn.lock == request.lock and answer.kept:
                turn.lock = attrs.evolve(turn.lock, execution=answer.execution)
                seen = 0 if answer.execution != request.lock.execution else turn.messages
                turn.messages = max([seen, *(message.seq + 1 for message in answer.messages)])
        for new in request.activities:
            if new.born is not None:
                lock = ActivityLock(request.lock.instance, request.lock.execution, new.event_id, new.born.token)
                if lock not in self.items:
                    self.items.append(lock)

    @precondition(lambda self: self.turns)
    @rule(seed=SEEDS)
    def release_turn(self, seed: int) -> None:
        """A worker gives a turn back."""
        dice = Dice(seed)
        lock = self.turns[-1 - dice.pick() % len(self.turns)].lock
        self.send(ReleaseTurn(lock=lock, delay=dice.delay(), clean=dice.flip()), lock.instance)

    @precondition(lambda self: self.turns)
    @rule(seed=SEEDS)
    def renew_turns(self, seed: int) -> None:
        """A worker holds on to turns."""
        dice = Dice(seed)
        locks = dict.fromkeys(self.turns[-1 - dice.pick() % len(self.turns)].lock for _ in range(2))
        self.send(RenewTurns(locks=tuple(locks), lease=dice.lease()))

    # -- activities

    @rule(seed=SEEDS)
    def lock_items(self, seed: int) -> None:
        """A worker takes activities."""
        answer = self.send(Dice(seed).item_locks())
        self.items += [item.lock for item in answer.activities]

    def some_items(self, dice: Dice, most: int) -> list[ActivityLock]:
        """Locks that are remembered for sure, each once."""
        locks = dict.fromkeys(self.items[-1 - dice.pick() % len(self.items)] for _ in range(most))
        return [lock for lock in locks if self.clock.now - self.settled_at.get(lock.token, self.clock.now) <= HOUR]

    @precondition(lambda self: self.items)
    @rule(seed=SEEDS)
    def settle(self, seed: int) -> None:
        """A worker tells how attempts ended."""
        dice = Dice(seed)
        locks = self.some_items(dice, 2)
        settle = tuple(SettleActivity(lock=lock, **dice.outcome()) for lock in locks)
        self.send(CommitActivities(settle=settle), *(lock.instance for lock in locks))
        for lock in locks:
            self.settled_at.setdefault(lock.token, self.clock.now)

    @precondition(lambda self: self.items)
    @rule(seed=SEEDS)
    def release_item(self, seed: int) -> None:
        """A worker gives an activity back."""
        dice = Dice(seed)
        for lock in self.some_items(dice, 1):
            request = ReleaseActivity(lock=lock, delay=dice.delay(), clean=dice.flip(), leave=dice.flip(0.3))
            self.send(request, lock.instance)

    @precondition(lambda self: self.items)
    @rule(seed=SEEDS)
    def renew_items(self, seed: int) -> None:
        """A worker holds on to activities."""
        dice = Dice(seed)
        locks = self.some_items(dice, 2)
        beats = {lock.token: dice.small_bytes() for lock in locks if dice.flip()}
        self.send(RenewActivities(locks=tuple(locks), lease=dice.lease(), heartbeats=beats))

    # -- sessions

    @rule(seed=SEEDS)
    def renew_sessions(self, seed: int) -> None:
        """A worker holds on to its sessions, or, if one ran out so long ago that it may be forgotten, lets all go."""
        dice = Dice(seed)
        request, sessions = dice.session_renewal(), list(self.model.sessions.values())
        if sessions and dice.flip(0.8):
            request = attrs.evolve(request, worker=dice.one_of(*sessions).worker)
        own = [session for session in sessions if session.worker == request.worker]
        if all(self.clock.now - session.until <= HOUR for session in own):
            self.send(request)
        else:
            self.send(ReleaseSessions(request.worker))

    @rule(seed=SEEDS)
    def release_sessions(self, seed: int) -> None:
        """A worker gives its sessions back."""
        self.send(ReleaseSessions(Dice(seed).worker()))

    # -- administration

    @rule(seed=SEEDS)
    def delete(self, seed: int) -> None:
        """A client deletes instances."""
        self.send(Dice(seed).deletion(self.fresh()), *IDS)

    @rule(seed=SEEDS)
    def prune(self, seed: int) -> None:
        """A client prunes histories."""
        self.send(Dice(seed).pruning(self.fresh(), self.clock.now), *IDS)

    @rule(seed=SEEDS)
    def list_some(self, seed: int) -> None:
        """A client lists instances, now and then from a place that it was told."""
        page = self.send(Dice(seed).listing(self.clock.now, self.places))
        assert isinstance(page, InstancePage)
        self.places = tuple(ListPlace(found.created_at, found.instance) for found in page.instances)

    @rule()
    def count_all(self) -> None:
        """A client counts."""
        self.model.now = self.clock.now
        self.compare("the numbers", lambda subject: subject.count(self.side))

    # -- time

    @rule(seconds=st.sampled_from(PAUSES))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @rule(before=st.sampled_from(MARGINS))
    def pass_until_due(self, before: float) -> None:
        """Time passes until just before, at, or just after the next moment at which something falls due."""
        times = [instance.eligible_at() for instance in self.model.instances.values()]
        times += [at for item in self.model.items for at in (item.due, item.late_at)]
        times += [session.until for session in self.model.sessions.values()]
        later = [at for at in times if at is not None and at > self.clock.now]
        if later:
            self.clock.now = max(self.clock.now, min(later) - before)

    # -- all at once

    @rule(seed=SEEDS, count=st.integers(1, 40))
    def mixture(self, seed: int, count: int) -> None:
        """Any of all those steps: Hypothesis makes programs of a few of the rules, rarely of many steps."""
        dice = Dice(seed)
        for _ in range(count):
            able = [*self.ALWAYS, *(self.WITH_TURNS if self.turns else ()), *(self.WITH_ITEMS if self.items else ())]
            dice.one_of(*able)(self, dice.rng.getrandbits(32))

    def _pass(self, seed: int) -> None:
        dice = Dice(seed)
        if dice.flip():
            self.pass_time(dice.one_of(*PAUSES))
        else:
            self.pass_until_due(dice.one_of(*MARGINS))

    def _other_way(self, seed: int) -> None:
        self.change_sides()
        if Dice(seed).flip(0.2):
            self.reopen()

    def _administer(self, seed: int) -> None:
        dice = Dice(seed)
        if dice.flip(0.2):
            self.count_all()
        else:
            dice.one_of(StoresAgree.delete, StoresAgree.prune, *[StoresAgree.list_some] * 2)(self, seed)

    def _keep_sessions(self, seed: int) -> None:
        if Dice(seed).flip(0.1):
            self.release_sessions(seed)
        else:
            self.renew_sessions(seed)

    ALWAYS = (
        *(start, post, post, repeat, lock_turns, work, work, work, lock_items, lock_items, _pass, _pass, _other_way),
        *(_administer, _keep_sessions),
    )
    WITH_TURNS = (commit, commit, release_turn, renew_turns)
    WITH_ITEMS = (settle, release_item, renew_items)

    # -- the end

    def teardown(self) -> None:
        """Compare all that can be read, and all that is left to be done."""
        try:
            if self.fine:
                self.compare("all there is", lambda subject: self.seen(subject, *IDS))
                self.count_all()
                for _ in range(3):
                    self._work_off()
        finally:
            self.loop.call(self.close)
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _work_off(self) -> None:
        self.clock.now += 4000.0
        first = self.send(LockTurns(worker="w", limit=9, lease=30.0))
        claim = SessionClaim(lease=30.0, limit=9)
        items = self.send(LockActivities(worker="w", limit=99, lease=30.0, tags=TagFilter(tags=None), sessions=claim))
        settle = tuple(SettleActivity(lock=item.lock, message=Draft("S", b"")) for item in items.activities)
        self.send(CommitActivities(settle=settle))
        for turn in first.turns:
            self.send(
                CommitTurn(
                    request_id=self.fresh(),
                    lock=turn.lock,
                    revision=turn.revision,
                    events=(),
                    consumed=tuple(range(len(turn.messages))),
                    state=State.WAITING,
                )
            )


def play(machine: type[StoresAgree], seed: int, count: int) -> None:
    """Let a machine do so many steps of the dice's choice, without Hypothesis."""
    stores = machine()
    try:
        stores.begin(seed)
        stores.mixture(seed, count)
    finally:
        stores.teardown()
