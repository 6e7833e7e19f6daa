"""Walking from a coroutine to what it waits for: for messages that name the line.

Laws: it looks and changes nothing; whether code is ours or the user's is told by its module. Async generators hide
behind what `asend` returns; only the collector's view of an object shows them.
Must never know: tasks. Who calls it: `_task.py`, `_operations.py`, `_foreign.py`, `_tree.py`. Read next: `_task.py`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Ends of names that say nothing: what is called inside says more.
SILENT = (".__aenter__", "<locals>.run")


def await_frames(awaitable: Any) -> Iterator[tuple[FrameType, int]]:
    """The frames that an awaitable is suspended in, outermost first, each with its line number."""
    while awaitable is not None:
        if hasattr(awaitable, "cr_frame"):
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        elif hasattr(awaitable, "gi_frame"):
            frame, awaitable = awaitable.gi_frame, awaitable.gi_yieldfrom
        elif hasattr(awaitable, "ag_frame"):
            frame, awaitable = awaitable.ag_frame, awaitable.ag_await
        else:
            awaitable = next((held for held in gc.get_referents(awaitable) if hasattr(held, "ag_frame")), None)
            continue
        if frame is not None:
            yield frame, frame.f_lineno


def standing(awaitable: Any) -> tuple[str | None, str | None]:
    """Where user code stands, as ``file:line in function``, and the verb of ours that it waits in, such as
    ``Event.wait``; None for what is not there.
    """
    where = verb = None
    for frame, line in await_frames(awaitable):
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname
        if module == "contextlib":
            continue  # it is in nobody's name: the code around it and the code within it are somebody's
        if not module.startswith("trioflow."):
            where, verb = f"{frame.f_code.co_filename}:{line} in {name}", None
        elif verb is None and not module.startswith("trioflow._kernel.") and not name.endswith(SILENT):
            verb = _shown(frame)
    return where, verb


def _shown(frame: FrameType) -> str:
    """A function's name; a method's with the class that the object is of, wherever that has it from."""
    name = frame.f_code.co_qualname
    if "." not in name or "self" not in frame.f_locals:
        return name
    return f"{type(frame.f_locals['self']).__name__}.{name.partition('.')[2]}"
