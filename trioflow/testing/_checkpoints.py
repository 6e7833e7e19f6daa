"""Whether a piece of an orchestration waits, or could have: for tests inside `run_durable`.

Law: a checkpoint is both a place where other tasks may run and a place where cancellation is noticed. Code that is only
one of the two satisfies neither assertion.

Who calls it: tests. Read next: `_sequencer.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from trioflow._kernel import checkpoint_counts


def assert_checkpoints() -> AbstractContextManager[None]:
    """Check that the block raises, or executes a checkpoint in the calling task.

    Raises:
        AssertionError: it executed none.
    """
    return _checking(expected=True)


def assert_no_checkpoints() -> AbstractContextManager[None]:
    """Check that the block executes no checkpoint in the calling task, not even half of one.

    Raises:
        AssertionError: it executed one, even if it raised, too.
    """
    return _checking(expected=False)


@contextmanager
def _checking(*, expected: bool) -> Iterator[None]:
    __tracebackhide__ = True
    cancels, schedules = checkpoint_counts()
    try:
        yield
        now = checkpoint_counts()
        if expected and (now[0] == cancels or now[1] == schedules):
            raise AssertionError("assert_checkpoints block did not yield!")
    finally:
        if not expected and checkpoint_counts() != (cancels, schedules):
            raise AssertionError("assert_no_checkpoints block yielded!")
