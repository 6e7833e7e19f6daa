"""Draws programs, and what happens to them.

Laws: what is drawn always ends (there are no loops but `Again`, which is counted), since worlds bring every event, and
in the end cancel and terminate. Smaller is simpler: Hypothesis shrinks towards sequences of quick activities.
Who calls it: the tests of this folder.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.generated.language import (
    Act,
    Again,
    Case,
    Catch,
    Child,
    Detach,
    Finally,
    Flag,
    Generate,
    Guarded,
    Happening,
    Many,
    Node,
    Nursery,
    OnCancel,
    Pipe,
    Saga,
    Say,
    Scope,
    Seq,
    Shield,
    Sleep,
    Spawn,
    Start,
    Take,
    Timeout,
)


@st.composite
def _choice(draw: st.DrawFn, *choices: st.SearchStrategy[Node]) -> Node:
    """One of them, each as likely as its neighbour: `one_of` would count the choices within a choice."""
    return draw(choices[draw(st.integers(0, len(choices) - 1))])


numbers = st.integers(0, 9)
seconds = st.sampled_from([1, 2, 3, 0, 4])

on_cancel: st.SearchStrategy[OnCancel] = st.sampled_from(["wait", "wait", "request", "abandon"])

acts = st.builds(
    Act,
    numbers,
    takes=st.sampled_from([2, 3, 5, 1, 0, 8]),
    fails=st.sampled_from([False, False, False, True]),
    on_cancel=on_cancel,
    stops=st.sampled_from([0, 1, 3, None]),
)
sayings = st.sampled_from(
    ["checkpoint", "random", "uuid4", "now", "status", "kv", "forget", "record", "explode", "log", "raise"]
)
leaves: st.SearchStrategy[Node] = _choice(
    acts,
    acts,
    acts,
    st.builds(Sleep, seconds, st.booleans()),
    st.builds(Say, sayings, numbers),
    _choice(st.builds(Take, st.sampled_from("ab")), st.builds(Flag, st.integers(0, 2), st.booleans())),
)


def _several(part: st.SearchStrategy[Node], most: int = 3) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(part, min_size=1, max_size=most).map(tuple)


def _grown(part: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    after = st.sampled_from([1, 2, 3, 0, None])
    change = st.sampled_from(["cancel", "cancel", "sooner", "later", "shield", "unshield"])
    timeouts = st.sampled_from(["move_on_after", "fail_after", "move_on_at", "fail_at"])
    both = st.sampled_from([True, True, False])
    guards = st.sampled_from(["lock", "fifo", "semaphore", "limiter", "condition"])
    return _choice(
        _choice(
            st.builds(Guarded, guards, part),
            st.builds(Guarded, st.just("condition"), part, st.booleans()),
            st.builds(Pipe, st.integers(0, 2), st.integers(1, 3), part),
        ),
        st.builds(Seq, _several(part)),
        _choice(
            st.builds(Nursery, _several(part), part),
            st.builds(Start, part, part, st.integers(0, 1), st.booleans()),
            st.builds(Spawn, part, st.integers(0, 2)),
        ),
        _choice(
            st.builds(Many, st.sampled_from(["gather", "race"]), _several(part)),
            st.builds(Many, st.just("map"), _several(part), st.sampled_from([None, 1, 2])),
        ),
        _choice(st.builds(Timeout, timeouts, seconds, part), st.builds(Scope, change, after, part)),
        _choice(st.builds(Shield, part), st.builds(Finally, part, part, both), st.builds(Saga, part, part)),
        st.builds(Catch, st.sampled_from(["Exception", "Cancelled", "BaseException"]), part, part, both),
        _choice(st.builds(Generate, _several(part), part, st.integers(1, 3)), st.builds(Child, part, on_cancel)),
    )


rare: st.SearchStrategy[Node] = _choice(st.just(Detach()), st.just(Again()))


def _level(depth: int) -> st.SearchStrategy[Node]:
    if depth == 0:
        return _choice(leaves, leaves, leaves, leaves, rare)
    below = _level(depth - 1)
    return _choice(below, _grown(below), _grown(below))


programs: st.SearchStrategy[Node] = st.builds(Seq, _several(_level(3)))

happenings = st.builds(Happening, st.sampled_from([1, 2, 3, 0, 5, 8]), st.sampled_from(["a", "b", "cancel"]))

cases = st.builds(Case, programs, st.lists(happenings, max_size=4).map(tuple))
"""Any program, with any things that happen to it."""


def _calm(part: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return _choice(
        st.builds(Seq, _several(part)),
        st.builds(Nursery, _several(part), part),
        st.builds(Many, st.just("gather"), _several(part)),
        st.builds(Many, st.just("map"), _several(part), st.sampled_from([None, 1, 2])),
        st.builds(Catch, st.just("Exception"), st.builds(Many, st.just("gather"), _several(part)), part),
        st.builds(Finally, part, part),
        st.builds(Shield, part),
        st.builds(Guarded, st.sampled_from(["lock", "fifo", "semaphore", "limiter"]), quick),
        st.builds(Pipe, st.integers(0, 2), st.integers(1, 2), part),
        st.builds(Generate, _several(part), part, st.integers(1, 3)),
        st.builds(Child, part),
    )


quick: st.SearchStrategy[Node] = st.builds(
    Act, numbers, takes=st.sampled_from([1, 2, 0]), fails=st.sampled_from([False, False, False, True])
)
_calm_leaves = _choice(
    quick,
    quick,
    st.builds(Sleep, seconds),
    st.builds(Say, st.sampled_from(["checkpoint", "status", "record", "log"]), numbers),
    st.builds(Timeout, st.just("move_on_after"), seconds, st.just(Take("never"))),
    st.just(Detach()),
)
_calm_programs = st.builds(Seq, _several(_choice(_calm(_calm(_calm_leaves)), _calm(_calm_leaves))))
calm = st.builds(
    Case, _choice(_calm_programs, _calm_programs, st.builds(lambda part: Seq((part, Again())), _calm_programs))
)
"""Programs whose result does not depend on how long anything takes, so a crash must not change it."""
