"""Where a generated program runs, and what watches it: what is said here holds in every world.

Laws: the player knows by itself which scopes are cancelled (from `cancel_called` and `shield` alone), and complains
where a step begins in one. Where a nursery's block ends it writes the places of all branches that ran in it into the
history, as a status: what they waited for must be over by then. Complaints are collected in the stage, since a program
may swallow any exception. What code that is being dropped does is watched by the worlds.
Who calls it: `playing.py`. Read next: `playing.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from types import TracebackType
from typing import Any

import attrs
import trio

from tests.generated.language import Case, Child, Node, walk
from trioflow import durable
from trioflow._kernel import current_kernel, current_task
from trioflow.app import App

FLAGS = 3


@attrs.define(eq=False)
class Stage:
    """A case as an application, and what its player complains of."""

    case: Case
    play: Callable[[Node, Frame], Awaitable[Any]]
    complaints: list[str] = attrs.field(factory=list)
    app: App = attrs.field(factory=lambda: App("generated"))
    children: list[Node] = attrs.field(init=False)  # by key
    act: Any = attrs.field(init=False)
    nothing: Any = attrs.field(init=False)
    whole: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.children = [node.program for node in walk(self.case.program) if isinstance(node, Child)]
        self.act = self.app.activity(act)

        async def nothing() -> None:
            """A root instance."""

        async def whole(key: int | None, generation: int) -> str:
            """A program: of the case, or one of its children."""
            program = self.case.program if key is None else self.children[key]
            return repr(await self.play(program, Frame.of(self, generation, key)))

        self.nothing = self.app.orchestration(nothing)
        self.whole = self.app.orchestration(whole)

    def complain(self, what: str) -> None:
        """Something is not as it should be."""
        if what not in self.complaints:
            self.complaints.append(what)


async def act(value: int, takes: int, fails: bool, stops: int | None) -> int:
    """The activity of all programs, for worlds that run it: as `language.Act` says."""
    done_at = trio.current_time() + takes
    try:
        await trio.sleep_until(done_at)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            if stops is not None and trio.current_time() + stops < done_at:
                await trio.sleep(stops)
                raise
            await trio.sleep_until(done_at)
    if fails:
        raise KeyError(value)
    return value * 10


@attrs.frozen(eq=False)
class Block:
    """The block of a nursery, and the places of the branches that run in it, or in a block within."""

    around: Block | None
    places: dict[str, bool] = attrs.field(factory=dict)  # whether the branch runs

    @contextmanager
    def running(self, place: str) -> Iterator[None]:
        """A branch runs here."""
        for block in self.outwards():
            block.places[place] = True
        try:
            yield
        finally:
            for block in self.outwards():
                if place in block.places:
                    block.places[place] = False

    def leave(self, place: str) -> None:
        """A branch has moved elsewhere."""
        for block in self.outwards():
            block.places.pop(place, None)

    def outwards(self) -> Iterator[Block]:
        """This block and those around it."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.around


@attrs.define(eq=False)
class Mail:
    """What is known of the events of one name."""

    last: int = 0
    waiting: list[object] = attrs.field(factory=list)


@attrs.frozen(eq=False)
class Room:
    """What the branches of one execution share."""

    flags: tuple[durable.Event, ...] = attrs.field(factory=lambda: tuple(durable.Event() for _ in range(FLAGS)))
    guards: dict[str, Any] = attrs.field(
        factory=lambda: {
            "lock": durable.Lock(),
            "fifo": durable.StrictFIFOLock(),
            "semaphore": durable.Semaphore(1),
            "limiter": durable.CapacityLimiter(1),
            "condition": durable.Condition(),
        }
    )
    mail: dict[str, Mail] = attrs.field(factory=dict)
    inside: dict[str, int] = attrs.field(factory=dict)  # how many branches hold a guard


@attrs.frozen(eq=False)
class Frame:
    """Where a node is run: what is around it."""

    stage: Stage
    generation: int
    key: int | None
    began: float
    room: Room
    scopes: tuple[durable.CancelScope, ...] = ()  # around it, innermost last, as far as the player opened them
    block: Block = attrs.field(factory=lambda: Block(None))
    nursery: durable.Nursery | None = None  # the innermost
    home: Block | None = None  # of that nursery; `block` may be one within, such as that of a `gather`
    outside: Frame | None = None  # of that nursery's block

    @classmethod
    def of(cls, stage: Stage, generation: int, key: int | None) -> Frame:
        """The outermost frame of an execution."""
        return cls(stage, generation, key, durable.current_time(), Room())

    def within(self, scope: durable.CancelScope) -> Frame:
        """The same inside a scope."""
        return attrs.evolve(self, scopes=(*self.scopes, scope))

    def up(self, levels: int) -> Frame | None:
        """The frame of an enclosing nursery's block, or None."""
        frame: Frame | None = self.innermost
        while levels and frame is not None and frame.outside is not None:
            frame, levels = frame.outside.innermost, levels - 1
        return None if frame is None or frame.nursery is None else frame

    @property
    def innermost(self) -> Frame | None:
        """This frame without what was opened since its nursery's block began."""
        if self.nursery is None or self.home is None:
            return None
        count = self.scopes.index(self.nursery.cancel_scope) + 1 if self.nursery.cancel_scope in self.scopes else 0
        return attrs.evolve(self, scopes=self.scopes[:count], block=self.home)

    def cancelled(self) -> bool:
        """Whether a step here must not begin, by what the player knows."""
        for scope in reversed(self.scopes):
            if scope.cancel_called:
                return True
            if scope.shield:
                return False
        return current_kernel().cancel_called


# -- the watch --------------------------------------------------------------------------------------------------------


async def step(frame: Frame, call: Callable[[], Awaitable[Any]]) -> Any:
    """Await something that is a checkpoint; in a cancelled scope it must raise, and ask for nothing."""
    task = current_task()
    asked = task._operations
    cancelled = frame.cancelled()
    if cancelled and durable.current_effective_deadline() != -inf:
        frame.stage.complain(f"{task!r} is not cancelled where its scopes are")
    cancelled = cancelled or durable.current_effective_deadline() == -inf
    try:
        value = await call()
    finally:
        if cancelled and task._operations != asked:
            frame.stage.complain(f"{task!r} asked for something in a cancelled scope")
    if cancelled:
        frame.stage.complain(f"{task!r} went through a checkpoint in a cancelled scope")
    return value


@contextmanager
def block_of(frame: Frame) -> Iterator[Block]:
    """Say in the history which branches are over when the block has ended."""
    block = Block(frame.block)
    try:
        yield block
    finally:
        end_block(frame, block)


def end_block(frame: Frame, block: Block) -> None:
    """Nothing that ran in a nursery runs any more."""
    running = [place for place, runs in block.places.items() if runs]
    if running:
        frame.stage.complain(f"a nursery has ended while {running} run")
    durable.set_status({"over": list(block.places)})


@attrs.define(eq=False)
class nursery_of:
    """A nursery; gives the frame of its body and branches. No generator: one that is left with another error than it
    was given makes a cycle on Python 3.12 and later.
    """

    frame: Frame
    _block: Block = attrs.field(init=False)
    _manager: Any = attrs.field(factory=durable.open_nursery)

    async def __aenter__(self) -> Frame:
        self._block = Block(self.frame.block)
        nursery = await self._manager.__aenter__()
        inside = self.frame.within(nursery.cancel_scope)
        return attrs.evolve(inside, block=self._block, nursery=nursery, home=self._block, outside=self.frame)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        try:
            suppressed: bool | None = await self._manager.__aexit__(kind, exc, tb)
        finally:
            end_block(self.frame, self._block)
        return suppressed
