"""Generated programs on the real runtime, which crashes at any moment: the same results, and every history is sound."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, note, settings, strategies as st

from tests.generated import invariants
from tests.generated.language import Case
from tests.generated.playing import staged
from tests.generated.runtime import ROOT, Plan, Ran, evaluated_again, in_virtual_time, run_case
from tests.generated.strategies import calm, cases
from tests.generated.world import play_out
from trioflow.history import Event, OrchestrationCompleted
from trioflow.testing import check_replay, run_durable

short = settings(max_examples=25, deadline=None, derandomize=True, database=None)
long = settings(max_examples=500, deadline=None, derandomize=False, database=None)

plans = st.builds(
    Plan,
    st.lists(st.integers(1, 30), max_size=3).map(tuple),
    fuse=st.booleans(),
    born_leased=st.booleans(),
    cached=st.sampled_from([0, 1, 2_000]),
)


def check_sound(ran: Ran) -> None:
    """What holds of every history; and the engine makes the same of the same deliveries."""
    assert not ran.stage.complaints
    for history in ran.histories.values():
        invariants.check(history)
        check_replay(ran.stage.app, history)
        assert without_unread(evaluated_again(ran.stage.app, history)) == without_unread(history)
    for instance in dict.fromkeys(instance for instance, _ in ran.histories):
        invariants.check_mail([history for (owner, _), history in ran.histories.items() if owner == instance])


def without_unread(history: list[Event]) -> list[Event]:
    """What came too late to be delivered is listed in the last event, and stands nowhere else."""
    return [attrs.evolve(event, unread=()) if hasattr(event, "unread") else event for event in history]  # type: ignore[call-arg]


def ending(histories: dict[tuple[str, int], list[Event]]) -> tuple[str, bytes | None]:
    """How the root has ended."""
    last = max(execution for instance, execution in histories if instance == ROOT)
    event = histories[ROOT, last][-1]
    return type(event).__name__, event.payload if isinstance(event, OrchestrationCompleted) else None


def check_calm(case: Case, plan: Plan) -> None:
    """A result that does not depend on times is the same in every world."""
    note(repr(case))
    plain = play_out(case)
    ran = run_case(case, plan)
    check_sound(ran)
    assert ending(ran.histories) == ending(plain.histories)


@given(cases, plans)
@short
def test_histories_are_sound_whatever_crashes(case: Case, plan: Plan) -> None:
    """Any program, crashes at any moment, fused or not, cached or not."""
    note(repr(case))
    check_sound(run_case(case, plan))


@given(calm, plans)
@short
def test_crashes_do_not_change_results(case: Case, plan: Plan) -> None:
    """The runtime gets to what the engine alone gets to."""
    check_calm(case, plan)


@given(calm)
@short
def test_run_durable_gives_the_same_result(case: Case) -> None:
    """And so does the harness for tests."""
    note(repr(case))
    name, payload = ending(play_out(case).histories)
    stage = staged(case)

    async def main() -> object:
        try:
            return await run_durable(stage.whole, None, 1)
        except Exception:
            return None

    result = in_virtual_time(main)
    assert (result is None) == (payload is None), name
    assert payload is None or stage.app.codec.decode(payload) == result


@pytest.mark.slow
@given(cases, plans)
@long
def test_thousands_of_crashes(case: Case, plan: Plan) -> None:
    """The same with many more programs."""
    note(repr(case))
    check_sound(run_case(case, plan))


@pytest.mark.slow
@given(calm, plans)
@long
def test_thousands_of_results(case: Case, plan: Plan) -> None:
    """The same with many more programs."""
    check_calm(case, plan)
