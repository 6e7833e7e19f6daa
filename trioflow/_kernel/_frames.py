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


def await_frames(awaitable: Any) -> Iterator[tuple[FrameType, int]]:
    """The frames that an awaitable is suspended in, outermost first, each with its line number."""
    return ((frame, frame.f_lineno) for frame in _frames(awaitable))


def _frames(awaitable: Any) -> Iterator[FrameType]:
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
            yield frame


def stands_in_user_code(awaitable: Any) -> bool:
    """Whether any of its frames is neither ours nor in nobody's name; `standing` says where."""
    for frame in _frames(awaitable):
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("trioflow.") and module != "contextlib":
            return True
    return False


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
        elif verb is None and not module.startswith("trioflow._kernel.") and "<locals>" not in name:
            owner = frame.f_locals.get("self")  # tells a lock from a semaphore where they share code
            verb = name if owner is None else f"{type(owner).__name__}.{frame.f_code.co_name}"
            verb = verb.replace(".__aenter__", ".acquire")
    return where, verb
