"""`Retry`: when a failed attempt is made again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trioflow.app import NO_RETRY, Retry
from trioflow.errors import ConfigurationError


class Refused(ConnectionError):
    """A subclass of a builtin."""


class Mine:
    """Holds a class with a qualified name."""

    class Broken(Exception):
        """Nested."""


def pauses(retry: Retry, count: int = 5) -> list[float]:
    """The first pauses, without jitter."""
    return [retry.pause(failures) for failures in range(1, count + 1)]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(), [0.1, 0.2, 0.4, 0.8, 1.6]),
        (Retry(initial=2, factor=1), [2, 2, 2, 2, 2]),
        (Retry(initial=2, factor=1, increment=2), [2, 4, 6, 8, 10]),
        (Retry(initial=1, factor=2, max_interval=5), [1, 2, 4, 5, 5]),
        (Retry(initial=3600), [3600, 3600, 3600, 3600, 3600]),
        (Retry(initial=1, factor=2, increment=1), [1, 3, 6, 11, 20]),
        (Retry(initial=0), [0, 0, 0, 0, 0]),
        (Retry(initial=1, factor=10, max_interval=math.inf), [1, 10, 100, 1000, 10000]),
    ],
)
def test_pauses_follow_the_formula(retry: Retry, expected: list[float]) -> None:
    """Exponential, fixed, linear, none, and mixtures, up to the longest."""
    assert pauses(retry) == pytest.approx(expected)


def test_pauses_beyond_all_numbers_are_the_longest_and_nothing_grown_is_nothing() -> None:
    """After thousands of failures the formula still has an answer."""
    assert Retry(max_attempts=None, initial=1).pause(5_000) == 30
    assert Retry(max_attempts=None, initial=0).pause(5_000) == 0
    assert Retry(max_attempts=None, initial=0, increment=0.001).pause(5_000) == pytest.approx(4.999)


def test_jitter_moves_a_pause_by_at_most_its_share() -> None:
    """Half of the chance is the middle."""
    retry = Retry(initial=10, jitter=0.2)
    assert retry.pause(1, chance=0.0) == pytest.approx(8)
    assert retry.pause(1, chance=0.5) == pytest.approx(10)
    assert retry.pause(1, chance=0.999999) == pytest.approx(12, abs=1e-3)
    assert Retry(initial=10, jitter=1).pause(1, chance=0.0) == 0


def test_attempts_run_out() -> None:
    """`max_attempts` counts the first one; None is without limit; nothing said is one attempt."""
    three = Retry(max_attempts=3)
    answers = [three.next_attempt(ValueError(), failures=failures, elapsed=0) is None for failures in (1, 2, 3, 4)]
    assert answers == [False, False, True, True]
    assert Retry(max_attempts=None).next_attempt(ValueError(), failures=10_000, elapsed=0) == 30
    assert NO_RETRY.next_attempt(ValueError(), failures=1, elapsed=0) is None


def test_no_attempt_begins_after_the_total_time() -> None:
    """Pauses count, too."""
    retry = Retry(max_attempts=None, initial=2, factor=1, total_timeout=10)
    assert retry.next_attempt(ValueError(), failures=1, elapsed=7.9) == 2
    assert retry.next_attempt(ValueError(), failures=1, elapsed=8) is None


def test_a_failure_that_says_so_is_final() -> None:
    """Whatever the policy."""
    assert Retry().next_attempt(ValueError(), failures=1, elapsed=0, retryable=False) is None
    assert Retry(give_up_on=ValueError).next_attempt(ValueError(), failures=1, elapsed=0) is None


@pytest.mark.parametrize(
    "name",
    [
        ConnectionError,
        "ConnectionError",
        "builtins.ConnectionError",
        OSError,
        "OSError",
        Refused,
        "Refused",
        f"{Refused.__module__}.Refused",
    ],
)
@pytest.mark.parametrize("form", [lambda name: name, lambda name: (name,), lambda name: [KeyError, name]])
def test_exceptions_are_known_by_class_subclass_and_name(name: Any, form: Any) -> None:
    """A class or its name, in full as recorded or bare, alone or among several; a subclass is one of its bases."""
    assert Retry(retry_on=form(name)).allows(Refused())
    assert not Retry(give_up_on=form(name)).allows(Refused())
    assert not Retry(retry_on=form(name)).allows(ValueError())
    assert Retry(give_up_on=form(name)).allows(ValueError())


def test_a_class_means_that_very_class() -> None:
    """Another one that only has the same name is not meant; a bare name means both."""
    twin = type("ConnectionError", (Exception,), {"__module__": "elsewhere"})
    assert not Retry(retry_on=ConnectionError).allows(twin())
    assert not Retry(retry_on="builtins.ConnectionError").allows(twin())
    assert Retry(retry_on="ConnectionError").allows(twin())
    assert Retry(retry_on="elsewhere.ConnectionError").allows(twin())


def test_a_nested_class_is_known_by_either_name() -> None:
    """With and without the class it is defined in."""
    for name in (Mine.Broken, "Mine.Broken", "Broken"):
        assert Retry(retry_on=name).allows(Mine.Broken())


def test_giving_up_wins() -> None:
    """Over trying again."""
    retry = Retry(retry_on=OSError, give_up_on=Refused)
    assert retry.allows(ConnectionError())
    assert not retry.allows(Refused())


@pytest.mark.parametrize(
    "settings",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"max_attempts": True},
        {"initial": -1},
        {"initial": None},
        {"initial": math.nan},
        {"initial": math.inf},
        {"initial": "1"},
        {"initial": True},
        {"factor": 0.5},
        {"factor": math.inf},
        {"factor": math.nan},
        {"factor": None},
        {"increment": -1},
        {"max_interval": -1},
        {"max_interval": None},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": math.nan},
        {"jitter": "much"},
        {"timeout": 0},
        {"timeout": math.nan},
        {"total_timeout": -1},
        {"total_timeout": "long"},
        {"retry_on": (5,)},
        {"retry_on": int},
        {"give_up_on": ""},
    ],
)
def test_nonsense_is_refused_where_it_is_written(settings: dict[str, Any]) -> None:
    """The error names the setting and shows the value."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=f"{name}"):
        Retry(**settings)
