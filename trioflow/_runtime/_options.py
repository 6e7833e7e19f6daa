"""The options of a runtime: every figure with its unit, checked when it is given.

Law: the defaults are meant to be kept; an option that makes no sense is refused with what would.
Who calls it: users. Read next: `_worker.py`.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, NoReturn

import attrs

from trioflow._ambient import ANY_WORKER
from trioflow._util import FAR, MANY, is_count, is_seconds, shown
from trioflow.abc import TagFilter
from trioflow.errors import ConfigurationError, PayloadError
from trioflow.history import Limits

SHORTEST_LEASE: Final = 0.1
"""Seconds: a lease that ran out before its turn could be committed would be taken again and again, for ever."""

SHORTEST_PAUSE: Final = 0.01
"""Seconds between two rounds of what looks unasked: fewer would only keep the thread busy."""


def _refuse(attribute: attrs.Attribute[Any], wanted: str, value: object) -> NoReturn:
    raise ConfigurationError(f"RuntimeOptions({attribute.name}=...) must be {wanted}, not {shown(value)}")


def _whole(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_count(value):
        _refuse(attribute, f"a whole number from 1 to {MANY:,}", value)


def _whole_or_zero(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_count(value, 0):
        _refuse(attribute, f"a whole number from 0 to {MANY:,}", value)


def _bytes(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(attribute, "a whole number of bytes from 0 on", value)


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value == 0:
        _refuse(attribute, f"a number of seconds above 0 and up to {FAR:g}", value)


def _lease(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value < SHORTEST_LEASE:
        _refuse(attribute, f"a number of seconds from {SHORTEST_LEASE:g} to {FAR:g}", value)


def _pause_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not is_seconds(value) or value < SHORTEST_PAUSE):
        _refuse(attribute, f"None or a number of seconds from {SHORTEST_PAUSE:g} to {FAR:g}", value)


def _seconds_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _seconds(instance, attribute, value)


def _patience(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != math.inf:
        _pause_or_none(instance, attribute, value)


def _grace(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value):
        _refuse(attribute, f"a number of seconds from 0 to {FAR:g}", value)


def _whole_or_none(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _whole(instance, attribute, value)


def _policy(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ("park", "fail"):
        _refuse(attribute, "'park' or 'fail'", value)


def _name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    try:
        Limits().check_id("it", value)
    except PayloadError as exc:
        raise ConfigurationError(f"RuntimeOptions({attribute.name}=...) cannot have {shown(value)}: {exc}") from None


def _switch(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        _refuse(attribute, "True or False", value)


def _tags(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not isinstance(value, tuple) or not all(isinstance(tag, str) for tag in value)):
        _refuse(attribute, "a tuple of texts, or None for every tag", value)
    for tag in value or ():
        _name(instance, attribute, tag)


POLL_INTERVAL: Final = 5.0
"""Seconds between two looks at a store that others write to."""


SESSION_IDLE: Final = 300.0
"""Seconds for which a session may be unused."""


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """How a runtime works.

    Attributes:
        worker: this runtime's name, unlike any other's; made up if not given.
        turn_concurrency: turns evaluated or committed at once.
        activity_concurrency: activities running at once.
        thread_concurrency: of those, plain functions running in threads at once.
        tags: take activities with these tags; None takes every tag.
        untagged: take activities without a tag.
        turn_lease: seconds for which a turn is ours unless renewed, at least 0.1, as for all leases.
        activity_lease: seconds for which an activity is ours unless renewed.
        lease_margin: seconds before its end at which a lease is renewed; a lease below 15 s is renewed at half.
        max_attempts: times that an instance or an activity may be taken without getting anywhere before it counts as
        poison.
        sessions: sessions that this runtime may have at once; 0 leaves activities with a session to others.
        session_lease: seconds for which a session is ours unless renewed.
        session_idle: seconds without any use after which a session is given back; None is 300 s, or more where an
            activity's lease, whose renewal notes the use, is longer than that.
        unclaimed_after: seconds for which an instance may be due without any worker that has its orchestration, before
            it is parked (or, if it was cancelled before it began, ends); None lets it wait for ever.
        retention: seconds after its end at which an instance is deleted, with its descendants; None keeps it.
        keep_executions: histories of an instance that are kept as it continues as new, the current one counted; None
            keeps all.
        poll_interval: seconds after which a dispatcher looks again although nobody woke it, `math.inf` for never; None
            is never for a store in memory, which wakes everybody by itself, and 5 s for others.
        grace: seconds that running activities get to end when the runtime stops.
        cache_executions: live orchestrations kept in memory while they wait.
        cache_bytes: bytes of history, about, that these may stand for together.
        on_nondeterminism: "park" an instance whose code and history disagree, or "fail" it.
        step_limit: kernel steps in one turn without waiting after which it is stopped.
        slow_turn: seconds, in real time, after which orchestration code that has not let go of the thread is reported
            with the stack it is stuck in; None never reports.
        unknown_backoff: seconds before an activity that nobody here knows may be taken again; doubled each time.
        unknown_backoff_max: seconds that this grows to.
        record_tracebacks: keep tracebacks with the failures of activities.
        log_exception_messages: let messages and tracebacks of exceptions into the log, which may hold anything that
            the program has at hand; otherwise it tells their class and the line that raised them.
        fuse: commit an activity's end, the turn that follows and the next activities in one transaction where possible.
        born_leased: start an activity at once where a slot is free, without a trip through the queue.
    """

    worker: str | None = attrs.field(default=None, validator=_name)
    turn_concurrency: int = attrs.field(default=64, validator=_whole)
    activity_concurrency: int = attrs.field(default=256, validator=_whole)
    thread_concurrency: int = attrs.field(default=32, validator=_whole)
    tags: tuple[str, ...] | None = attrs.field(default=(), validator=_tags)
    untagged: bool = attrs.field(default=True, validator=_switch)
    turn_lease: float = attrs.field(default=30.0, validator=_lease)
    activity_lease: float = attrs.field(default=30.0, validator=_lease)
    lease_margin: float = attrs.field(default=5.0, validator=_seconds)
    max_attempts: int = attrs.field(default=10, validator=_whole)
    sessions: int = attrs.field(default=10, validator=_whole_or_zero)
    session_lease: float = attrs.field(default=30.0, validator=_lease)
    session_idle: float | None = attrs.field(default=None, validator=_seconds_or_none)
    unclaimed_after: float | None = attrs.field(default=300.0, validator=_pause_or_none)
    retention: float | None = attrs.field(default=None, validator=_seconds_or_none)
    keep_executions: int | None = attrs.field(default=None, validator=_whole_or_none)
    poll_interval: float | None = attrs.field(default=None, validator=_patience)
    grace: float = attrs.field(default=10.0, validator=_grace)
    cache_executions: int = attrs.field(default=2_000, validator=_whole_or_zero)
    cache_bytes: int = attrs.field(default=128 * 1024 * 1024, validator=_bytes)
    on_nondeterminism: Literal["park", "fail"] = attrs.field(default="park", validator=_policy)
    step_limit: int = attrs.field(default=1_000_000, validator=_whole)
    slow_turn: float | None = attrs.field(default=2.0, validator=_pause_or_none)
    unknown_backoff: float = attrs.field(default=1.0, validator=_seconds)
    unknown_backoff_max: float = attrs.field(default=60.0, validator=_seconds)
    record_tracebacks: bool = attrs.field(default=False, validator=_switch)
    log_exception_messages: bool = attrs.field(default=False, validator=_switch)
    fuse: bool = attrs.field(default=True, validator=_switch)
    born_leased: bool = attrs.field(default=True, validator=_switch)

    def __attrs_post_init__(self) -> None:
        between = self.renew_after(self.activity_lease)
        if self.session_idle is not None and self.session_idle <= between:
            raise ConfigurationError(
                f"RuntimeOptions(session_idle={self.session_idle!r}) would give back sessions in which an activity "
                f"runs: its use is noted every {between:g} s only; choose more than that"
            )

    @property
    def idle(self) -> float:
        """Seconds after which an unused session is given back."""
        return max(SESSION_IDLE, 2 * self.activity_lease) if self.session_idle is None else self.session_idle

    @property
    def poll(self) -> float:
        """Seconds between two looks unasked."""
        return POLL_INTERVAL if self.poll_interval is None else self.poll_interval

    @property
    def tag_filter(self) -> TagFilter:
        """What the store is asked for: with trioflow's own, which any worker runs."""
        return TagFilter(untagged=self.untagged, tags=None if self.tags is None else (*self.tags, ANY_WORKER))

    def takes(self, tag: str | None) -> bool:
        """Whether this runtime runs activities with that tag."""
        return self.untagged if tag is None else self.tags is None or tag == ANY_WORKER or tag in self.tags

    def renew_after(self, lease: float) -> float:
        """Seconds after which a lease of that length is renewed."""
        return lease / 2 if lease < 15 else max(lease - self.lease_margin, lease / 2)

    def unknown_pause(self, fetches: int) -> float:
        """Seconds before an activity whose name is not known here may be taken again."""
        return float(min(self.unknown_backoff * 2.0 ** min(fetches - 1, 60), self.unknown_backoff_max))


def safe_until(lease: float) -> float:
    """Seconds after which work under an unrenewed lease is ended: a little before the lease itself runs out."""
    return lease - min(1.0, lease / 10)
