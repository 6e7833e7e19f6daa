"""What to say to code that awaits, or calls, another library's primitives inside an orchestration.

Laws: a text names the call, the line it is on, and what to write instead. What has a durable twin of the same name is
said to; what does real I/O belongs into an activity. Texts are found by looking at frames, so nothing has to be
patched.
Who calls it: the scheduler for foreign yields, `_guard.py` for calls that need trio's runner. Read next: `_guard.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Any

import trio

from trioflow._kernel._frames import await_frames
from trioflow.errors import ForeignAwaitError

# trio's names that `trioflow.durable` has too, with the same meaning.
TWINS = (
    "CancelScope",
    "CapacityLimiter",
    "Condition",
    "Event",
    "Lock",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "Nursery",
    "Semaphore",
    "StrictFIFOLock",
    "as_safe_channel",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "move_on_after",
    "move_on_at",
    "open_memory_channel",
    "open_nursery",
    "sleep",
    "sleep_forever",
    "sleep_until",
)
LOWLEVEL_TWINS = (
    "ParkingLot",
    "add_parking_lot_breaker",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_task",
    "remove_parking_lot_breaker",
    "reschedule",
    "wait_task_rescheduled",
)
# What trio calls these classes inside.
INSIDE_NAMES = {"NurseryManager": "open_nursery", "_run_process": "run_process"}
# Classes whose code several others share: the object tells which it is.
SHARED = ("AsyncContextManagerMixin", "ReceiveChannel", "_LockImpl")

# What asyncio and its relatives call what `trioflow.durable` has.
OTHER_TWINS = {
    "sleep": "sleep",
    "Event": "Event",
    "Lock": "Lock",
    "Semaphore": "Semaphore",
    "Condition": "Condition",
    "gather": "gather",
    "wait_for": "fail_after",
    "timeout": "fail_after",
    "Timeout": "fail_after",
    "TaskGroup": "open_nursery",
    "create_task": "open_nursery",
    "move_on_after": "move_on_after",
    "fail_after": "fail_after",
}

# Where what has no twin is to be found; `trio.testing` is not loaded for its names' sake.
HOMES: Mapping[str, Callable[[str], bool]] = {
    "trio": partial(hasattr, trio),
    "trio.lowlevel": partial(hasattr, trio.lowlevel),
    "trio.testing": ("wait_all_tasks_blocked",).__contains__,
}

# What trio says of calls that do not find it where they look for it. Its other errors are about something else, and
# what its own tests raise is theirs.
MISPLACED = (
    "must be called from async context",
    "Cannot be used outside of a run context",
    "Attempted to call run() from inside a run()",
)

OTHER_LIBRARIES = ("asyncio", "anyio", "curio", "tornado", "twisted")


def foreign_yield(coro: Any, message: object) -> ForeignAwaitError:
    """The error for a coroutine that yielded something that is not ours."""
    frames = [frame for frame, _ in await_frames(coro)]
    what = "an asyncio future" if hasattr(message, "_asyncio_future_blocking") else repr(message)
    return ForeignAwaitError(_text(frames, what))


def foreign_call(what: str) -> ForeignAwaitError:
    """The error for a call that looked for trio's runner, found by walking up from here."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (not frames or _package(frames[-1]) in ("trio", "contextlib")):
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return ForeignAwaitError(_text(frames, f"trio's runner ({what})"))


def explain(exc: BaseException) -> None:
    """Add a hint to an error that left a task: deep recursion, or a library's own error for a call outside of it. In a
    group, to each of them that has none yet.
    """
    left = [exc]
    while left:  # a loop, not recursion: groups may be nested deeper than Python likes to call
        exc = left.pop()
        if isinstance(exc, BaseExceptionGroup):
            left += exc.exceptions
        elif (hint := _hint(exc)) is not None and hint not in getattr(exc, "__notes__", ()):
            exc.add_note(hint)
    del exc  # this frame is in its traceback


def _hint(exc: BaseException) -> str | None:
    if isinstance(exc, RecursionError):
        return (
            "In an orchestration, every step goes through all the functions that await it. Use a loop instead of "
            "recursion, or `durable.continue_as_new` for an orchestration that goes on for ever."
        )
    if type(exc) is RuntimeError and exc.__traceback__ is not None:
        frames = [frame for frame, _ in walk_tb(exc.__traceback__)]
        package = _package(frames[-1])
        if package in OTHER_LIBRARIES or (package == "trio" and str(exc) in MISPLACED):
            return _text(frames, "another library")
    return None


def _text(frames: list[FrameType], fallback: str) -> str:
    """Say which foreign call it was, where, and what to do; `fallback` is for when no foreign frame is found."""
    index = next((i for i, frame in enumerate(frames) if _package(frame) in ("trio", *OTHER_LIBRARIES)), None)
    if index is None:
        return (
            f"an orchestration awaited something that is not trioflow's: {fallback}{_where(frames)}. It may await "
            "what `trioflow.durable` offers, and its app's activities and orchestrations; wait otherwise in activities."
        )
    where = _where(frames[:index])
    library = _package(frames[index])
    if library != "trio":
        code = frames[index].f_code
        twin = OTHER_TWINS.get(code.co_qualname.partition(".")[0])
        use = f"Use `durable.{twin}` instead. " if twin else ""
        return f"{_code_name(code, library)} was used in an orchestration{where}. {use}{_activity_advice(library)}"
    return _trio_advice(frames[index], where)


def _trio_advice(frame: FrameType, where: str) -> str:
    code = frame.f_code
    top, _, rest = code.co_qualname.partition(".")
    if top in SHARED and "self" in frame.f_locals:
        top = type(frame.f_locals["self"]).__name__
    top = INSIDE_NAMES.get(top, top)
    rest = "" if "<locals>" in rest else rest
    member = f".{rest}" if rest and not rest.startswith("_") else ""
    if top in TWINS:
        return (
            f"`trio.{top}{member}` was used in an orchestration{where}. Use its durable twin, `durable.{top}{member}` "
            "(`from trioflow import durable`): it means the same and is kept through crashes."
        )
    if top in LOWLEVEL_TWINS:
        name = f"lowlevel.{top}{member}"
        return f"`trio.{name}` was used in an orchestration{where}. Use its durable twin, `durable.{name}`."
    home = next((home for home, has in HOMES.items() if has(top)), "")
    name = f"{home}.{top}{member}" if home else _code_name(code, "trio")
    return f"`{name}` was used in an orchestration{where}. {_activity_advice('trio')}"


def _activity_advice(library: str) -> str:
    return (
        f"An orchestration is run by trioflow, not by {library}: everything in it must come out the same when it is "
        "replayed. Do input, output and waiting for the outside world in an activity (`@app.activity`), and wait with "
        "`trioflow.durable`."
    )


def _code_name(code: CodeType, library: str) -> str:
    name = code.co_qualname
    return name if name.startswith(library) else f"{library}: {name}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _where(frames: Iterable[FrameType]) -> str:
    """The innermost line of user code."""
    found = ""
    for frame in frames:
        if _package(frame) not in ("trioflow", "contextlib"):  # which is in between, and nobody's line
            found = f" ({frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname})"
    return found
