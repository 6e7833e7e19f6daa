"""Requests to stores, thrown with dice: few names, few times, so that they meet each other often.

Laws: only what a runtime or a client may send; the same seed gives the same request. A seed is one number for
Hypothesis, however large the request: it would run out of choices otherwise, and try little programs only.

Who calls it: `state_machine.py`, which knows the locks.
"""

from __future__ import annotations

import random
from typing import Any, TypeVar

import attrs

from trioflow.abc import (
    BornLeased,
    Capabilities,
    DeleteInstances,
    Draft,
    InstanceQuery,
    ListInstances,
    ListPlace,
    LockActivities,
    LockTurns,
    NewActivity,
    NextExecution,
    OutMessage,
    Parent,
    PruneExecutions,
    RenewSessions,
    SessionClaim,
    StartInstance,
    State,
    TagFilter,
)

T = TypeVar("T")

IDS = ("a", "b", "c")
START = "OrchestrationStarted"  # the kind of message that an execution begins with
NEXT = NextExecution(start=Draft(START, b"n"), version="1")
CAN_RUN = (
    None,
    None,
    None,
    Capabilities(orchestrations=(("flow", "1"),)),
    Capabilities(orchestrations=(("flow", "2"), ("other", "1")), semantics=(1, 2)),
)


@attrs.frozen
class ReleaseSessions:
    """A worker gives all its sessions back."""

    worker: str


class Dice:
    """What is thrown for one step."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def one_of(self, *options: T) -> T:
        """One of these; what is named twice comes twice as often."""
        return self.rng.choice(options)

    def some(self, most: int) -> range:
        """For each of a few."""
        return range(self.rng.randint(0, most))

    def flip(self, chance: float = 0.5) -> bool:
        """Yes or no."""
        return self.rng.random() < chance

    def small_bytes(self) -> bytes:
        """Opaque."""
        return self.rng.randbytes(self.rng.randint(0, 3))

    # -- figures

    def lease(self) -> float:
        """Seconds of a lease."""
        return self.one_of(5.0, 30.0, 30.0)

    def delay(self) -> float:
        """Seconds before something may be taken."""
        return self.one_of(0.0, 0.0, 0.0, 0.5, 5.0, 40.0)

    def pick(self) -> int:
        """Which of the locks or requests so far, from the last one on."""
        return self.one_of(0, 0, 0, 0, 1, 1, 2, 3, 5, 8)

    def worker(self) -> str:
        """Who works on activities."""
        return self.one_of("w", "w", "v")

    # -- parts

    def draft(self) -> Draft:
        """What a message carries."""
        return Draft(self.one_of("A", "B", "CancelRequested"), self.small_bytes(), self.one_of(None, b"", b"payload"))

    def parent(self) -> Parent | None:
        """Who waits, or who is meant."""
        return self.one_of(None, None, Parent(instance="a", execution=1, event_id=1))

    def message(self) -> OutMessage:
        """A message to anybody."""
        return OutMessage(
            instance=self.one_of(*IDS),
            execution=self.one_of(None, None, None, 1, 2),
            child_of=self.parent(),
            draft=self.draft(),
            control=self.flip(0.3),
            mailbox=self.flip(),
        )

    def start(self, request_id: str, *if_exists: Any, replies: bool = False) -> StartInstance:
        """A start, from a client or out of a turn."""
        return StartInstance(
            request_id=request_id,
            instance=self.one_of(*IDS),
            name=self.one_of("flow", "flow", "other"),
            version=self.one_of(None, "1"),
            semantics=self.one_of(1, 1, 1, 2),
            start=Draft(self.one_of(START, START, "A"), self.small_bytes()),
            parent=self.parent(),
            attributes=self.one_of({}, {"key": "value"}),
            delay=self.delay(),
            if_exists=self.one_of(*if_exists),
            on_started=self.message() if replies and self.flip() else None,
            on_refused=self.message() if replies and self.flip() else None,
        )

    def activity(self, event_id: int, token: str) -> NewActivity:
        """An item, now and then born leased under a token."""
        within = self.one_of(None, None, 1.0, 10.0, 100.0)
        return NewActivity(
            event_id=event_id,
            name="work",
            tag=self.one_of(None, None, "gpu", "disk"),
            session=self.one_of(None, None, "s", "t", "u"),
            data=b"o",
            payload=b"p",
            born=BornLeased(worker=self.worker(), token=token, lease=self.lease()) if self.flip(0.3) else None,
            start_within=within,
            late=None if within is None else Draft("Late", self.small_bytes()),
        )

    # -- requests

    def turn_locks(self) -> LockTurns:
        """A worker asks for turns."""
        can_run = self.one_of(*CAN_RUN)
        return LockTurns(
            worker="w",
            limit=self.one_of(1, 2, 9),
            lease=self.lease(),
            can_run=can_run,
            others=can_run is not None and self.flip(0.3),
            overdue=self.one_of(0.0, 0.0, 0.0, 0.0, 5.0),
        )

    def item_locks(self) -> LockActivities:
        """A worker asks for activities."""
        tags = TagFilter(untagged=self.flip(0.7), tags=self.one_of(None, None, (), ("gpu",)))
        claim = self.one_of(None, SessionClaim(lease=self.lease(), limit=self.one_of(1, 1, 2, 9)))
        return LockActivities(
            worker=self.worker(), limit=self.one_of(1, 2, 3, 9), lease=self.lease(), tags=tags, sessions=claim
        )

    def session_renewal(self) -> RenewSessions:
        """A worker holds on to its sessions."""
        return RenewSessions(worker=self.worker(), lease=self.lease(), idle=self.one_of(0.25, 5.0, 30.0, 60.0))

    def outcome(self) -> dict[str, Any]:
        """How an attempt ended."""
        if self.flip():
            return {"message": self.draft()}
        return {"retry_in": self.delay(), "data": self.one_of(None, b"new")}

    def commit(self, now: float) -> dict[str, Any]:
        """The fields of a commit that need no lock."""
        state = self.one_of(*[State.WAITING] * 9, *State)
        next_execution = self.one_of(*[None] * 9, NEXT)
        return {
            "state": state if next_execution is None else State.PENDING,
            "next_execution": next_execution,
            "wake_at": self.one_of(None, None, now - 1.0, now, now + 10.0, now + 50.0),
            "version": self.one_of(None, None, "1"),
            "unread": self.rng.randint(0, 2),
            "unread_bytes": self.rng.randint(0, 9),
            "status": self.one_of(None, None, b"", b"status"),
            "kv_set": {self.one_of("k", "l"): self.small_bytes() for _ in self.some(2)},
            "kv_cleared": tuple(dict.fromkeys(self.one_of("k", "l") for _ in self.some(1))),
            "cancel_all_activities": self.flip(0.1),
            "messages": tuple(self.message() for _ in self.some(2)),
            "keep": self.one_of(None, None, 5.0, 30.0),
        }

    # -- administration

    def deletion(self, request_id: str) -> DeleteInstances:
        """A client deletes."""
        return DeleteInstances(
            request_id=request_id,
            instances=tuple(self.one_of(*IDS, "nobody", "\0") for _ in range(self.one_of(1, 1, 2))),
            executions={self.one_of(*IDS): self.one_of(1, 2, 3) for _ in self.some(1)},
            force=self.flip(0.3),
            messages=tuple(self.message() for _ in self.some(1)),
        )

    def pruning(self, request_id: str, now: float) -> PruneExecutions:
        """A client or a runtime prunes."""
        return PruneExecutions(
            request_id=self.one_of(request_id, None),
            instance=self.one_of(*IDS),
            keep=self.one_of(0, 1, 1, 2),
            ended_before=self.one_of(None, None, now, now - 5.0),
        )

    def listing(self, now: float, ids: tuple[ListPlace, ...]) -> ListInstances:
        """A client lists, mostly by little."""
        some: dict[str, Any] = {
            "states": (State.WAITING, self.one_of(*State)),
            "name": self.one_of("flow", "other"),
            "version": self.one_of("1", "2"),
            "prefix": self.one_of("a", "b", "ab", "\0"),
            "parent": self.one_of("a", "b"),
            "roots": True,
            "attributes": self.one_of({"key": "value"}, {"key": "other"}, {"key": "value", "other": ""}),
            "created_after": now - self.delay(),
            "created_before": now - self.delay(),
            "updated_after": now - self.delay(),
            "updated_before": self.one_of(now - 0.5, float("inf")),
            "ended_after": now - self.delay(),
            "ended_before": now - self.delay(),
        }
        names = [self.one_of(*some) for _ in self.some(2)]
        return ListInstances(
            query=InstanceQuery(**{name: some[name] for name in names}),
            limit=self.one_of(0, 1, 1, 2, 100),
            after=self.one_of(None, *ids),
        )
