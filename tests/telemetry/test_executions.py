"""The spans of an execution: its anchor, its turns, what was done to it, its end."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.telemetry.seeing import EPOCH, Seen, nanoseconds, started, subject, turn
from trioflow.abc import Administered
from trioflow.history import (
    CancelRequested,
    Category,
    Event,
    Failure,
    OrchestrationCancelled,
    OrchestrationCompleted,
    OrchestrationContinuedAsNew,
    OrchestrationFailed,
    OrchestrationTerminated,
    Parked,
    Resumed,
    Suspended,
)
from trioflow.telemetry import _attributes
from trioflow.telemetry._drawn import nanoseconds as exact

SECRET = "4111 1111 1111 1111"
FAILURE = Failure(type="builtins.ValueError", message=SECRET, category=Category.APPLICATION)


def administered(*events: Event, **changes: Any) -> Administered:
    """Something took a turn's place."""
    return Administered(subject=subject(**changes), worker="w1", at=EPOCH + 9, events=events)


def group(*members: Failure) -> Failure:
    """An exception group."""
    return Failure(type="builtins.ExceptionGroup", message=SECRET, members=members)


def test_the_anchor_is_a_moment_at_the_begin(seen: Seen) -> None:
    """It is visible as soon as the first turn is committed, and everything else can hang beneath it."""
    seen.instrument.saw(turn(started()))
    anchor = seen.only("order")
    assert anchor.start_time == anchor.end_time == nanoseconds(EPOCH)
    assert anchor.kind is SpanKind.INTERNAL
    assert dict(anchor.attributes or {}) == {
        "trioflow.instance": "order-1",
        "trioflow.execution": 1,
        "trioflow.name": "order",
        "trioflow.version": "1.0.0",
    }


def test_a_turn_says_what_it_cost(seen: Seen) -> None:
    """From when a worker set about it to when its commit was answered."""
    told = turn(Suspended(id=5, at=EPOCH + 1), cached=False, replayed=4, attempts=2)
    seen.instrument.saw(told)
    one = seen.only("turn")
    assert (one.start_time, one.end_time) == (nanoseconds(EPOCH + 1), nanoseconds(EPOCH + 1.75))
    assert dict(one.attributes or {}) == {
        "trioflow.instance": "order-1",
        "trioflow.execution": 1,
        "trioflow.name": "order",
        "trioflow.version": "1.0.0",
        "trioflow.worker": "w1",
        "trioflow.turn.cached": False,
        "trioflow.turn.replayed": 4,
        "trioflow.turn.attempts": 2,
        "trioflow.turn.events": 1,
        "trioflow.turn.commit": 0.5,
    }


@pytest.mark.parametrize(
    ("changes", "shown"),
    [({}, False), ({"replayed": 1, "cached": False}, True), ({"attempts": 2}, True)],
)
def test_a_turn_is_shown_that_has_more_to_say(*, changes: dict[str, Any], shown: bool) -> None:
    """It replayed a history, or was taken more than once; all others only where details are asked for."""
    for detail in (False, True):
        seen = Seen(detail=detail)
        seen.instrument.saw(turn(started(), **changes))
        assert [span.name for span in seen.all] == (["order", "turn"] if shown or detail else ["order"])


def test_a_turn_that_added_nothing_is_not_shown(seen: Seen) -> None:
    """It only took from the inbox what nobody waits for."""
    seen.instrument.saw(turn())
    assert not seen.all


@pytest.mark.parametrize(
    ("event", "how", "cancelled", "error"),
    [
        (OrchestrationCompleted(id=9, at=EPOCH + 9, payload=b'"x"'), "completed", False, None),
        (OrchestrationCancelled(id=9, at=EPOCH + 9, reason=SECRET), "cancelled", True, None),
        (OrchestrationTerminated(id=9, at=EPOCH + 9, reason=SECRET), "terminated", False, None),
        (OrchestrationContinuedAsNew(id=9, at=EPOCH + 9, payload=b"{}"), "continued as new", False, None),
        (OrchestrationFailed(id=9, at=EPOCH + 9, failure=FAILURE), "failed", False, "ValueError"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_the_end_has_the_whole_duration(
    seen: Seen, event: Event, how: str, cancelled: bool, error: str | None, whole: bool
) -> None:
    """Whoever ended it, a turn or an administrator; a cancellation is said, and is no error."""
    seen.instrument.saw(turn(started()))
    seen.instrument.saw(turn(event) if whole else administered(event))
    assert seen.tree() == ["order", f"  order: {how}"]
    end = seen.only(f"order: {how}")
    told = dict(end.attributes or {})
    assert (end.start_time, end.end_time) == (nanoseconds(EPOCH), nanoseconds(EPOCH + 9))
    assert told["trioflow.outcome"] == how
    assert told.get("trioflow.cancelled", False) is cancelled
    assert told.get("error.type") == error
    assert end.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert end.status.description == error


@pytest.mark.parametrize(
    ("failure", "error", "members"),
    [
        (group(FAILURE), "ValueError", None),
        (group(group(FAILURE)), "ValueError", None),
        (group(FAILURE, Failure(type="shop.Rejected", message="")), "ExceptionGroup", ("ValueError", "shop.Rejected")),
        (group(group(FAILURE, FAILURE), FAILURE), "ExceptionGroup", ("ValueError",)),
        (
            group(*(Failure(type=f"shop.E{number}", message="") for number in range(12))),
            "ExceptionGroup",
            tuple(f"shop.E{number}" for number in range(10)),
        ),
    ],
)
def test_groups_are_unwrapped(seen: Seen, failure: Failure, error: str, members: tuple[str, ...] | None) -> None:
    """A group of one is that one; of several the classes are told, ten at most."""
    seen.instrument.saw(turn(started(), OrchestrationFailed(id=2, at=EPOCH, failure=failure)))
    end = seen.only("order: failed")
    assert (end.attributes or {})["error.type"] == error
    assert (end.attributes or {}).get("trioflow.errors") == members


@pytest.mark.parametrize(
    ("event", "name", "error"),
    [
        (CancelRequested(id=3, at=EPOCH + 3, reason=SECRET), "cancel requested", None),
        (Suspended(id=3, at=EPOCH + 3, reason=SECRET), "suspended", None),
        (Resumed(id=3, at=EPOCH + 3), "resumed", None),
        (Parked(id=3, at=EPOCH + 3, failure=FAILURE), "parked", "ValueError"),
    ],
)
def test_what_is_done_to_it_is_a_moment(seen: Seen, event: Event, name: str, error: str | None) -> None:
    """A span of no duration, which stands in the picture where it happened."""
    seen.instrument.saw(turn(started()))
    seen.instrument.saw(administered(event))
    assert seen.tree() == ["order", f"  {name}"]
    moment = seen.only(name)
    assert moment.start_time == moment.end_time == nanoseconds(EPOCH + 3)
    assert (moment.attributes or {}).get("error.type") == error


@pytest.mark.parametrize(
    "event",
    [OrchestrationTerminated(id=1, at=EPOCH + 9), OrchestrationCancelled(id=1, at=EPOCH + 9), Suspended(id=1)],
)
def test_one_that_never_began_has_an_anchor(seen: Seen, event: Event) -> None:
    """What ends or holds an execution before its first turn is the first event of its history."""
    seen.instrument.saw(administered(event))
    assert len(seen.spans) == 2
    assert seen.tree()[0] == "order"


def test_one_that_cannot_be_read_has_no_trace(seen: Seen) -> None:
    """Nobody can say which trace it belongs to, so nothing is drawn anywhere."""
    seen.instrument.saw(administered(Parked(id=3, failure=FAILURE), headers={}, seed="", version=None))
    assert not seen.all


@pytest.mark.parametrize("messages", [True, False])
def test_messages_and_reasons_are_told_only_where_they_are_wanted(messages: bool) -> None:
    """They may hold anything that the program has at hand."""
    seen = Seen(messages=messages)
    seen.instrument.saw(turn(started(), CancelRequested(id=2, reason=SECRET)))
    seen.instrument.saw(turn(OrchestrationFailed(id=3, at=EPOCH + 3, failure=FAILURE)))
    assert (seen.only("cancel requested").attributes or {}).get("trioflow.reason") == (SECRET if messages else None)
    assert seen.only("order: failed").status.description == (f"ValueError: {SECRET}" if messages else "ValueError")
    assert (SECRET in "".join(span.to_json() for span in seen.all)) is messages


def test_a_version_that_is_not_known_is_not_told(seen: Seen) -> None:
    """As of one that was terminated before its first turn."""
    seen.instrument.saw(administered(OrchestrationTerminated(id=1, at=EPOCH), version=None))
    assert "trioflow.version" not in (seen.only("order").attributes or {})


@pytest.mark.parametrize("at", [0.0, 0.000001, 1_700_000_000.123456, 1_999_999_999.999999, 123.5])
def test_times_are_exact(at: float) -> None:
    """To the nanosecond that the float says; a product of floats would be off by some hundred."""
    assert exact(at) == round(Fraction(at) * 1_000_000_000)


def test_an_end_is_never_before_its_begin(seen: Seen) -> None:
    """Clocks of two workers may differ by a little."""
    seen.instrument.saw(turn(started(), replayed=1, began=EPOCH + 2, committing=EPOCH + 3, ended=EPOCH + 1))
    one = seen.only("turn")
    assert one.start_time == one.end_time
    assert (one.attributes or {})["trioflow.turn.commit"] == 0.0


def test_every_attribute_is_in_the_table() -> None:
    """Each name is a constant once, and the table tells what it means."""
    constants = [value for name, value in vars(_attributes).items() if name.isupper() and isinstance(value, str)]
    assert sorted(constants) == sorted(_attributes.ATTRIBUTES)
    prefixes = [name for name in constants if any(other.startswith(f"{name}.") for other in constants)]
    assert not prefixes, "some back ends cannot keep a value and what is beneath it"
