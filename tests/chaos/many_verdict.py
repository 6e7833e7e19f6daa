"""What has to hold after a run of many processes: read from the ledger and from the store, and from nothing else.

Laws: every start that was acknowledged ended with the right result; every activity that was scheduled has exactly one
outcome; every run but the last one is explained, by the death or the stop of its process, by a retry that was declared,
or by a lease that its process could not renew in time and said so; nothing is leased or waits at the end; what a dead
worker ran is run again within a lease and a second.

Who calls it: `many.py`.
"""

from __future__ import annotations

import collections
import itertools
import math

import attrs
import trio

import trioflow
from tests.chaos import crowd
from trioflow.abc import LockActivities, LockTurns, TagFilter
from trioflow.history import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    ChildScheduled,
    Event,
)

AT_ONCE = 20  # histories that are read at once
SHOWN = 50  # violations that are told in full


@attrs.frozen
class Run:
    """One run of a body."""

    at: float  # seconds, on the clock of the ledger
    life: str
    attempt: int


@attrs.define
class Summary:
    """What came of it; times are in seconds."""

    instances: int = 0  # that were started, as far as clients were told
    lost: int = 0  # of those, without the right result
    activities: int = 0  # that were scheduled
    runs: int = 0
    retries: int = 0  # runs that a declared retry explains
    extra_runs: int = 0  # runs that a death or a stop explains
    lost_leases: int = 0  # runs that a lease explains which could not be renewed in time
    kills: int = 0
    kills_at_facts: int = 0  # of those, at a named moment
    stops: int = 0
    recoveries: int = 0  # runs that were begun again after a death
    recovery_p50: float = 0.0
    recovery_p99: float = 0.0
    recovery_max: float = 0.0
    seconds: float = 0.0
    violations: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Notes:
    """What the ledger says."""

    runs: dict[str, list[Run]] = attrs.field(factory=lambda: collections.defaultdict(list))  # by idempotency key
    failed: set[tuple[str, int]] = attrs.field(factory=set)  # key and attempt
    lost: dict[tuple[str, str, str], float] = attrs.field(factory=dict)  # life, instance, event id or "all"; when last
    started: dict[int, None] = attrs.field(factory=dict)
    right: set[int] = attrs.field(factory=set)
    wrong: list[str] = attrs.field(factory=list)
    ready: dict[str, float] = attrs.field(factory=dict)  # by life: since when it works
    ends: dict[str, float] = attrs.field(factory=dict)  # by life: when it was killed
    stops: list[tuple[float, str]] = attrs.field(factory=list)
    facts: int = 0

    def somebody_worked(self, begin: float, end: float) -> bool:
        """Whether a process was ready before a stretch of time and alive after it."""
        return any(at <= begin and self.ends.get(life, math.inf) >= end for life, at in self.ready.items())

    def lost_it(self, run: Run, key: str) -> bool:
        """Whether a process has said that it lost what it ran, or the turn that was to take its outcome."""
        instance, _, event_id = key.rsplit("/", 2)
        return any(self.lost.get((run.life, instance, what), -math.inf) >= run.at for what in (event_id, "all"))

    def add(self, words: list[str]) -> None:
        """One line."""
        at, what, *rest = words
        match what, rest:
            case "run", [life, key, attempt]:
                self.runs[key].append(Run(float(at), life, int(attempt)))
            case "failed", [_, key, attempt]:
                self.failed.add((key, int(attempt)))
            case "lost", [life, instance, event_id]:
                self.lost[life, instance, event_id] = float(at)
            case "started", [number]:
                self.started[int(number)] = None
            case "right", [number]:
                self.right.add(int(number))
            case "wrong", [number, *result]:
                self.wrong.append(f"{crowd.id_of(int(number))} returned {' '.join(result)}")
            case "ready", [life]:
                self.ready[life] = float(at)
            case (("killed" | "died"), [life, *_]):
                self.ends.setdefault(life, float(at))
                self.facts += what == "died"
            case "stopped", [life, *_]:
                self.stops.append((float(at), life))


async def judge(store: str, lines: list[list[str]], lease: float, troubles: list[str], seconds: float) -> Summary:
    """See the module."""
    notes = Notes()
    for words in lines:
        notes.add(words)
    summary = Summary(
        instances=len(notes.started),
        lost=len([number for number in notes.started if number not in notes.right]),
        runs=sum(map(len, notes.runs.values())),
        kills=len(notes.ends),
        kills_at_facts=notes.facts,
        stops=len(notes.stops),
        seconds=round(seconds, 1),
    )
    violations = [*troubles, *notes.wrong]
    violations += [f"{crowd.id_of(number)} was lost" for number in notes.started if number not in notes.right]
    violations += explain(notes, summary)
    violations += recoveries(notes, summary, lease)
    async with trioflow.connect(store, crowd.app) as client:
        violations += await _histories(client, notes, summary)
        violations += await _nothing_left(client)
    hidden = len(violations) - SHOWN
    summary.violations = violations[:SHOWN] + ([f"and {hidden} more"] if hidden > 0 else [])
    return summary


def explain(notes: Notes, summary: Summary) -> list[str]:
    """Every run but the last has a reason to have been followed by another."""
    found = []
    stopped = {life for _, life in notes.stops}
    for key, runs in notes.runs.items():
        for run in sorted(runs, key=lambda run: run.attempt)[:-1]:
            if (key, run.attempt) in notes.failed:
                summary.retries += 1
            elif run.life in notes.ends or run.life in stopped:
                summary.extra_runs += 1
            elif notes.lost_it(run, key):
                summary.lost_leases += 1
            else:
                found.append(f"{key}: attempt {run.attempt} by {run.life} was followed by another without reason")
        attempts = [run.attempt for run in runs]
        if len(set(attempts)) != len(attempts):
            found.append(f"{key}: one attempt was run twice: {attempts}")
    return found


def recoveries(notes: Notes, summary: Summary, lease: float) -> list[str]:
    """What ran first in a process that died was run again within a lease and a second, if anybody worked all the time
    that could take it; unless the next to take it died, too, or somebody was stopped meanwhile, perhaps with the store
    in hand.
    """
    times, found = [], []
    for key, runs in notes.runs.items():
        for run, following in itertools.pairwise(sorted(runs, key=lambda run: run.attempt)):
            died = notes.ends.get(run.life, math.inf)
            if (key, run.attempt) in notes.failed or died > following.at:
                continue
            took = following.at - died
            times.append(took)
            disturbed = any(at - 0.1 <= following.at and at + 2 * lease >= died for at, _ in notes.stops)
            next_in_line = (run.attempt, following.attempt) == (1, 2)  # no other has died with it before it could run
            if (
                took > lease + 1.0
                and next_in_line
                and not disturbed
                and notes.somebody_worked(died, died + lease + 1.0)
            ):
                found.append(f"{key}: {run.life} died and it was run again only {took:.2f} s later")
    times.sort()
    summary.recoveries = len(times)
    if times:
        summary.recovery_p50 = round(times[len(times) // 2], 3)
        summary.recovery_p99 = round(times[len(times) * 99 // 100], 3)
        summary.recovery_max = round(times[-1], 3)
    return found


async def _histories(client: trioflow.Client, notes: Notes, summary: Summary) -> list[str]:
    """Every activity that was scheduled has one outcome, and one that ended was run."""
    found: list[str] = []
    room = trio.CapacityLimiter(AT_ONCE)

    async def look(instance: str) -> None:
        async with room:
            record = await client.store.read_instance(instance)
            if record is None:
                found.append(f"{instance} is not there")
                return
            histories = [await client.history(instance, number) for number in range(1, record.execution + 1)]
        for number, history in enumerate(histories, 1):
            found.extend(_outcomes(f"{instance}/{number}", history, notes, summary))
            for event in history:
                if isinstance(event, ChildScheduled):
                    nursery.start_soon(look, event.instance)
        cleaned = crowd.CLEANED_UP.get(instance.partition("-")[0], 0)
        if _completed(histories[-1], "clean_up") != cleaned:
            found.append(f"{instance} was not cleaned up")

    async with trio.open_nursery() as nursery:
        for number in notes.started:
            nursery.start_soon(look, crowd.id_of(number))
    return found


def _completed(history: list[Event], name: str) -> int:
    scheduled = {event.id for event in history if isinstance(event, ActivityScheduled) and event.name == name}
    return sum(isinstance(event, ActivityCompleted) and event.answers in scheduled for event in history)


def _outcomes(place: str, history: list[Event], notes: Notes, summary: Summary) -> list[str]:
    found = []
    ends = collections.Counter(
        event.answers for event in history if isinstance(event, ActivityCompleted | ActivityFailed | ActivityCancelled)
    )
    ran = {event.answers for event in history if isinstance(event, ActivityCompleted | ActivityFailed)}
    scheduled = [event.id for event in history if isinstance(event, ActivityScheduled)]
    summary.activities += len(scheduled)
    for event_id in scheduled:
        if ends.pop(event_id, 0) != 1:
            found.append(f"{place}/{event_id} has not exactly one outcome")
        if event_id in ran and f"{place}/{event_id}" not in notes.runs:
            found.append(f"{place}/{event_id} has ended and was never run")
    if ends:
        found.append(f"{place}: outcomes of what was never scheduled: {dict(ends)}")
    return found


async def _nothing_left(client: trioflow.Client) -> list[str]:
    """Nothing is leased, nothing waits, nothing will fall due."""
    turns = await client.store.lock_turns(LockTurns(worker="judge", limit=1, lease=1.0))
    items = await client.store.lock_activities(
        LockActivities(worker="judge", limit=1, lease=1.0, tags=TagFilter(tags=None))
    )
    left = [turn.lock.instance for turn in turns.turns] + [item.lock.instance for item in items.activities]
    if left or turns.next_due is not None or items.next_due is not None:
        return [f"something is left: {left}, turns due {turns.next_due}, activities due {items.next_due}"]
    return []
