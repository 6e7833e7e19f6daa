"""What the body of an activity has left open in its task: nurseries, as an async generator that yields in one leaves.

Laws: trio refuses the end of a task that has an open nursery, whatever became of the error, and so ends the nursery
that the task is in, with everybody else in it. So what a body has left open is cancelled, waited for and taken out of
its task. The body itself fails: its cancel scope finds the scope of that nursery within itself and says so. A task of
its own for each body would need none of this, and would cost each activity a fifth of its time.

Who calls it: `_body.py`. Read next: nothing; this is the end.
"""

from __future__ import annotations

from typing import Final

import trio

LOOK_AGAIN: Final = 0.01
"""Seconds between two looks at tasks that have been cancelled and have not ended."""


async def end_nurseries(task: trio.lowlevel.Task, first: int) -> None:
    """Cancel the nurseries that are open in a task, from the `first` on, and wait for what runs in them."""
    nurseries = task.child_nurseries[first:]
    del task._child_nurseries[first:]  # noqa: SLF001 - trio has no other way for a task to outlive its nursery
    for nursery in nurseries:
        nursery.cancel_scope.cancel("the activity that opened this nursery has ended without closing it")
    with trio.CancelScope(shield=True):
        while any(nursery.child_tasks for nursery in nurseries):  # noqa: ASYNC110 - nobody tells of their end
            await trio.sleep(LOOK_AGAIN)
