"""When a failed attempt is made again: a pure policy.

Laws: the policy is data (it travels with the item, so any worker can apply it); the decision is a function of the
policy and of what happened, the randomness of jitter included as an argument. Read next: `_options.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NoReturn

import attrs

from trioflow._util import FAR, MANY, is_count, is_seconds, is_time_limit, shown
from trioflow.errors import ConfigurationError


def _names(value: Iterable[type[BaseException] | str] | type[BaseException] | str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, type)) or not isinstance(value, Iterable):
        return (_name(value),)
    return tuple(map(_name, value))


def _name(item: object) -> str:
    if isinstance(item, str) and item:
        return item
    if isinstance(item, type) and issubclass(item, BaseException):
        return f"{item.__module__}.{item.__qualname__}"
    raise ConfigurationError(f"Retry(retry_on=, give_up_on=) take exception classes or their names, not {shown(item)}")


def _names_of(cls: type[BaseException]) -> tuple[str, ...]:
    """What a class may be called in a policy: in full, as in a record, or without its module."""
    return f"{cls.__module__}.{cls.__qualname__}", cls.__qualname__, cls.__name__


def _refuse(attribute: attrs.Attribute[Any], wanted: str, value: object) -> NoReturn:
    raise ConfigurationError(f"Retry({attribute.name}=...) must be {wanted}, not {shown(value)}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value):
        _refuse(attribute, f"a number of seconds, at least 0 and at most {FAR:g}", value)


def _longest(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != math.inf:
        _seconds(instance, attribute, value)


def _time_limit(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_time_limit(value):
        _refuse(attribute, f"a number of seconds above 0, at most {FAR:g}, or None", value)


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value < 1:
        _refuse(attribute, f"a number, at least 1 and at most {FAR:g}", value)


def _attempts(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not is_count(value):
        _refuse(attribute, f"a whole number, at least 1 and at most {MANY:,}, or None", value)


def _share(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value > 1:
        _refuse(attribute, "a share between 0 and 1", value)


def _usual_longest(retry: Retry) -> float:
    initial: object = retry.initial  # validators run later: it may still be nonsense
    return initial if isinstance(initial, int | float) and initial > 30.0 else 30.0


@attrs.frozen(kw_only=True)
class Retry:
    """How often and after which pauses a failed attempt of an activity is made again.

    A body that knows that no other attempt will help says so itself, whatever the policy:
    ``raise trioflow.ActivityFailed("the card is stolen", retryable=False)``.

    The pause after failed attempt k (from 1) is ``min(initial * factor ** (k - 1) + increment * (k - 1),
    max_interval)``, made longer or shorter by up to the share `jitter`. ``factor=1`` is a fixed pause; ``factor=1,
    increment=initial`` a linear one; ``initial=0`` none at all.

    Attributes:
        max_attempts: attempts in all, the first included; None is without limit.
        initial: seconds before the second attempt.
        factor: by which each pause is longer than the one before.
        increment: seconds by which each pause is longer than the one before.
        max_interval: no pause is longer, in seconds, before jitter. Not given, 30, or `initial` if that is longer.
        jitter: share of the pause that is random, 0 to 1.
        timeout: seconds for one attempt; an attempt that takes longer is cancelled and counts as failed, whatever it
            does then: a value that comes late is lost. A plain function in a thread that does not hear of its
            cancellation (`trio.from_thread.check_cancelled`) is left behind: the next attempt may begin while it still
            runs. An async function that shields itself cannot be left behind: it is waited for, and has timed out.
        total_timeout: seconds from the schedule to the end of the last attempt, pauses included; no attempt starts
            after it.
        retry_on: only these exceptions are tried again, and their subclasses; None is every `Exception`. Classes, or
            names: "ConnectionError" is any class of that name, "builtins.ConnectionError" that very class.
        give_up_on: these never are; wins over `retry_on`.
    """

    max_attempts: int | None = attrs.field(default=3, validator=_attempts)
    initial: float = attrs.field(default=0.1, validator=_seconds)
    factor: float = attrs.field(default=2.0, validator=_at_least_one)
    increment: float = attrs.field(default=0.0, validator=_seconds)
    max_interval: float = attrs.field(default=attrs.Factory(_usual_longest, takes_self=True), validator=_longest)
    jitter: float = attrs.field(default=0.0, validator=_share)
    timeout: float | None = attrs.field(default=None, validator=_time_limit)
    total_timeout: float | None = attrs.field(default=None, validator=_time_limit)
    retry_on: tuple[str, ...] | None = attrs.field(default=None, converter=_names)
    give_up_on: tuple[str, ...] | None = attrs.field(default=None, converter=_names)

    def pause(self, failures: int, *, chance: float = 0.5) -> float:
        """Seconds to wait after `failures` failed attempts. `chance` in [0, 1) places the jitter."""
        try:
            grown = self.initial * self.factor ** (failures - 1)
        except OverflowError:
            grown = math.inf if self.initial else 0.0
        grown += self.increment * (failures - 1)
        pause = min(grown, self.max_interval, FAR)
        return pause * (1 + self.jitter * (2 * chance - 1))

    def allows(self, exc: BaseException) -> bool:
        """Whether an exception of this class may be tried again at all."""
        names = [name for cls in type(exc).__mro__ for name in _names_of(cls)]
        if self.give_up_on is not None and any(name in names for name in self.give_up_on):
            return False
        return self.retry_on is None or any(name in names for name in self.retry_on)

    def next_attempt(
        self, exc: BaseException, *, failures: int, elapsed: float, retryable: bool = True, chance: float = 0.5
    ) -> float | None:
        """Seconds until the next attempt, or None if this was the last.

        Args:
            exc: what the attempt raised.
            failures: failed attempts so far, this one included.
            elapsed: seconds since the activity was scheduled.
            retryable: False if the failure itself says that trying again is useless.
            chance: random number in [0, 1), for jitter.
        """
        if not retryable or not self.allows(exc):
            return None
        if self.max_attempts is not None and failures >= self.max_attempts:
            return None
        pause = self.pause(failures, chance=chance)
        if self.total_timeout is not None and elapsed + pause >= self.total_timeout:
            return None
        return pause


NO_RETRY = Retry(max_attempts=1)
"""The policy of an activity that says nothing: one attempt."""
