"""Keeping leases alive: one task renews whatever is due, many locks in one call.

Laws: a lease counts from before the request that took or renewed it was sent, so it never ends here later than in the
store; it is renewed at the time that the options say; a failure to renew is retried, not taken for a loss, until the
lease itself is about to run out; what is lost is told at once.

Must never know: turns, activities. Who calls it: `_worker.py` has one keeper for each of them. Read next:
`_attempts.py`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import attrs
import trio

from trioflow._runtime._options import safe_until
from trioflow._runtime._troubles import PASSING, log, pause, told
from trioflow.abc import Env


class Leased(Protocol):
    """Something that runs under a lease."""

    @property
    def token(self) -> str:
        """The lock's."""
        ...

    def extended(self, until: float) -> None:
        """The lease is safe until then, on `Env.monotonic`."""
        ...

    def lost(self) -> None:
        """The lock is somebody else's: stop."""
        ...

    def cancel_asked(self) -> None:
        """The orchestration asked for the end of it."""
        ...


L = TypeVar("L", bound=Leased)


@attrs.frozen
class Renewed:
    """The answer to a renewal: tokens."""

    lost: tuple[str, ...]
    cancelled: tuple[str, ...] = ()


@attrs.define(eq=False)
class LeaseKeeper(Generic[L]):
    """Renews the leases of one kind of thing.

    Args:
        lease: seconds of a lease.
        renew_after: seconds after which one is renewed.
    """

    _env: Env
    lease: float
    _renew_after: float
    # token -> the thing and since when its lease counts; the oldest first, if `_ordered`
    _kept: dict[str, tuple[L, float]] = attrs.field(factory=dict)
    _newest: float = -math.inf  # since when the newest lease has counted
    _ordered: bool = True
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _some: trio.Event = attrs.field(factory=trio.Event)  # set once something is kept while the task waits for that
    _end: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _hasty: dict[str, None] = attrs.field(factory=dict)  # tokens of what is to be renewed at once
    _hurry: trio.Event = attrs.field(factory=trio.Event)  # set once there is such a token while the task sleeps
    _sooner: trio.Event = attrs.field(factory=trio.Event)  # set once something is kept that runs out first

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, thing: L, since: float) -> None:
        """Keep it from now on; its lease was taken or renewed by a request sent at `since`."""
        token = thing.token
        self._kept.pop(token, None)
        self._kept[token] = (thing, since)
        thing.extended(since + safe_until(self.lease))
        self._some.set()
        if since >= self._newest:
            self._newest = since
        else:  # the answer to a request came after that to a later one
            self._ordered = False
            _, first = next(iter(self._kept.values()))
            if since <= first:
                self._hurry.set()
                self._sooner.set()

    def drop(self, thing: L) -> None:
        """Its lease ends by itself, or has been given back."""
        self._kept.pop(thing.token, None)

    def hasten(self, thing: L) -> None:
        """Renew it at once: the answer says what was asked of it meanwhile."""
        self._hasty[thing.token] = None
        self._hurry.set()

    def find(self, token: str) -> L | None:
        """What is kept under that token."""
        kept = self._kept.get(token)
        return None if kept is None else kept[0]

    def kept(self) -> Iterator[tuple[L, float]]:
        """All that is kept, and since when each lease counts."""
        return iter(self._kept.values())

    def stop(self) -> None:
        """Renew nothing more, and end nothing."""
        self._scope.cancel()
        self._end.cancel()

    async def run(self, renew: Callable[[Sequence[L]], Awaitable[Renewed]]) -> None:
        """Renew until `stop`; a cancellation from outside is not heard, since work may still be ending."""
        with self._scope:
            while True:
                first = await self.oldest() + self._renew_after
                now = self._env.monotonic()
                if first > now and not self._hasty:
                    self._hurry = trio.Event()
                    with trio.move_on_after(first - now):
                        await self._hurry.wait()
                else:
                    await self._renew_due(renew, now - self._renew_after * 0.95)

    async def end_overdue(self, end: Callable[[L], None]) -> None:
        """Until `stop`, end what could not be renewed, shortly before its lease runs out; it is then kept no more."""
        with self._end:
            while True:
                left = await self.oldest() + safe_until(self.lease) - self._env.monotonic()
                if left > 0:
                    self._sooner = trio.Event()
                    with trio.move_on_after(left):
                        await self._sooner.wait()
                else:
                    thing, _ = next(iter(self._kept.values()))
                    self.drop(thing)
                    end(thing)

    async def oldest(self) -> float:
        """Since when the oldest lease counts; waits until something is kept. Not a checkpoint if something is."""
        while not self._kept:
            if self._some.is_set():
                self._some = trio.Event()
            await self._some.wait()
        if not self._ordered:
            self._kept = dict(sorted(self._kept.items(), key=lambda kept: kept[1][1]))
            self._ordered = True
        return next(iter(self._kept.values()))[1]

    async def _renew_due(self, renew: Callable[[Sequence[L]], Awaitable[Renewed]], until: float) -> None:
        """Renew all leases that count since `until` or longer; on a failure wait a little and leave them due."""
        hasty, self._hasty = self._hasty, {}
        due = [self._kept[token][0] for token in hasty if token in self._kept]
        for thing, since in self._kept.values():
            if since > until:
                break
            if thing.token not in hasty:
                due.append(thing)
        failures = 0
        while due:
            sent = self._env.monotonic()
            try:
                answer = await renew(due)
            except PASSING as exc:
                failures += 1
                log.warning("%d leases could not be renewed (%s); trying again", len(due), told(exc))
                await trio.sleep(pause(failures))
                due = [thing for thing in due if thing.token in self._kept]
            else:
                self._account(due, answer, sent)
                return

    def _account(self, renewed: Iterable[L], answer: Renewed, sent: float) -> None:
        for thing in renewed:
            if thing.token not in self._kept:
                continue  # ended meanwhile
            if thing.token in answer.lost:
                self.drop(thing)
                thing.lost()
                continue
            self.keep(thing, sent)
            if thing.token in answer.cancelled:
                thing.cancel_asked()
