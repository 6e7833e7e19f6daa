"""The language of generated programs: small values that say what an orchestration does, and print as its code.

Laws: a program is data (it can be compared, drawn by Hypothesis, printed); how long an activity takes and what comes of
it stands in the program, so that every world makes the same of it. `text` shows a program as the Python it stands for.
Read next: `frames.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import attrs

OnCancel = Literal["wait", "request", "abandon"]


@attrs.frozen
class Act:
    """An activity that takes so many seconds; told to stop it ends so many seconds later, or (None) never heeds it."""

    value: int
    takes: int = 1
    fails: bool = False
    on_cancel: OnCancel = "wait"
    stops: int | None = 0


@attrs.frozen
class Sleep:
    """A sleep, for a duration or until a time after the start."""

    seconds: int
    until: bool = False


@attrs.frozen
class Say:
    """Something that is answered at once: checkpoint, random, uuid4, now, status, kv, record, log, or an error."""

    what: str
    value: int = 0


@attrs.frozen
class Take:
    """Wait for an event from outside."""

    name: str


@attrs.frozen
class Flag:
    """Set a `durable.Event` of the orchestration, or wait for it."""

    number: int
    wait: bool


@attrs.frozen
class Detach:
    """Start a root instance that does nothing."""


@attrs.frozen
class Again:
    """Continue as new, in the first executions."""


@attrs.frozen
class Child:
    """Another orchestration, waited for."""

    program: Node
    on_cancel: OnCancel = "wait"


@attrs.frozen
class Seq:
    """One after the other."""

    parts: tuple[Node, ...]


@attrs.frozen
class Nursery:
    """Branches in a nursery, and what its body does meanwhile."""

    parts: tuple[Node, ...]
    body: Node


@attrs.frozen
class Start:
    """`nursery.start` into an enclosing nursery (counted from the innermost): a part before `started`, one after,
    perhaps both in a scope.
    """

    before: Node
    after: Node
    up: int = 0
    scoped: bool = False


@attrs.frozen
class Spawn:
    """`start_soon` into an enclosing nursery, or of nothing if there is none."""

    part: Node
    up: int = 0


@attrs.frozen
class Many:
    """`gather`, `race` or `map` with a limit."""

    verb: str
    parts: tuple[Node, ...]
    limit: int | None = None


@attrs.frozen
class Timeout:
    """`move_on_after`, `fail_after`, or the same `at` a time after the start."""

    verb: str
    seconds: int
    part: Node


@attrs.frozen
class Shield:
    """A shielded scope."""

    part: Node


@attrs.frozen
class Scope:
    """A scope that a sibling plays with after some seconds (None: it does so itself at once): cancel it, change its
    deadline, take a shield off or put one up.
    """

    change: str
    after: int | None
    part: Node


@attrs.frozen
class Finally:
    """A part, and what is done in its `finally`, shielded or not."""

    part: Node
    last: Node
    shielded: bool = True


@attrs.frozen
class Catch:
    """A part and what is done where it raises: `Exception` or `Cancelled`, which is swallowed or raised again."""

    what: str
    part: Node
    then: Node
    reraise: bool = False


@attrs.frozen
class Generate:
    """An async generator with a `finally`, iterated over some of its parts and closed."""

    parts: tuple[Node, ...]
    last: Node
    stop_after: int


@attrs.frozen
class Guarded:
    """A part under one of the orchestration's locks, by kind; a condition is notified first, or also waited for."""

    kind: str
    part: Node
    waits: bool = False


@attrs.frozen
class Saga:
    """A part, and what undoes it where it fails or is cancelled."""

    part: Node
    undo: Node


@attrs.frozen
class Pipe:
    """Send some values through a memory channel to a branch that does a part for each."""

    size: int
    count: int
    part: Node


Node: TypeAlias = (
    Act | Sleep | Say | Take | Flag | Detach | Again | Child | Seq | Nursery | Start | Spawn | Many | Timeout | Shield
    | Scope | Finally | Catch | Generate | Guarded | Saga | Pipe
)  # fmt: skip


@attrs.frozen
class Happening:
    """Something from outside, so many seconds after the start: an event's name, "cancel", or nothing else."""

    after: int
    what: str


@attrs.frozen(repr=False)
class Case:
    """A program and what happens to it."""

    program: Node
    outside: tuple[Happening, ...] = ()

    def __repr__(self) -> str:
        return f"\n{text(self)}"

    def __len__(self) -> int:
        return sum(1 for _ in walk(self.program))


def inner(node: Node) -> Iterator[Node]:
    """The parts of a program, in the order of its text."""
    for field in attrs.fields(type(node)):
        value = getattr(node, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if attrs.has(type(part)):
                yield part


def walk(node: Node) -> Iterator[Node]:
    """A program and everything in it."""
    yield node
    for part in inner(node):
        yield from walk(part)


# -- printing ---------------------------------------------------------------------------------------------------------


def text(case: Case) -> str:
    """A case as code to read."""
    head = [f"# {happening.after} s after the start: {happening.what}" for happening in case.outside]
    return "\n".join([*head, "async def whole():", *_indented(case.program)])


def _indented(*nodes: Node) -> list[str]:
    return [f"    {line}" for node in nodes for line in _lines(node)]


def _branch(name: str, node: Node) -> list[str]:
    return [f"async def {name}():", *_indented(node)]


def _branches(parts: tuple[Node, ...]) -> tuple[list[str], str]:
    """Definitions of branches named a, b, c, and their names."""
    names = "abcdefgh"[: len(parts)]
    return [line for name, part in zip(names, parts, strict=True) for line in _branch(name, part)], ", ".join(names)


def _lines(node: Node) -> list[str]:
    printer = _PRINTERS.get(type(node))
    return [_one_line(node)] if printer is None else printer(node)


def _one_line(node: Node) -> str:
    match node:
        case Act():
            end = f"{'raises' if node.fails else 'returns'} after {node.takes} s"
            stop = "ignores cancellation" if node.stops is None else f"stops within {node.stops} s"
            return f"await act.options(on_cancel={node.on_cancel!r})({node.value})  # {end}, {stop}"
        case Sleep(seconds, until):
            return f"await sleep{'_until' if until else ''}({'start + ' if until else ''}{seconds})"
        case Take(name):
            return f"await wait_event({name!r})"
        case Flag(number, wait):
            return f"await flags[{number}].wait()" if wait else f"flags[{number}].set()"
        case Detach():
            return "await start_detached(nothing)"
        case Again():
            return "continue_as_new(execution + 1)  # in the first two executions"
    assert isinstance(node, Say), node
    return f"raise ValueError({node.value})" if node.what == "raise" else f"{node.what}({node.value})"


def _nursery(node: Nursery) -> list[str]:
    lines, names = _branches(node.parts)
    spawns = [f"    nursery.start_soon({name})" for name in names.split(", ")]
    return [*lines, "async with open_nursery() as nursery:", *spawns, *_indented(node.body)]


def _start(node: Start) -> list[str]:
    inside = [*_lines(node.before), "task_status.started()", *_lines(node.after)]
    if node.scoped:
        inside = ["with CancelScope():", *(f"    {line}" for line in inside)]
    branch = ["async def started(task_status):", *(f"    {line}" for line in inside)]
    return [*branch, f"await nurseries[-{node.up + 1}].start(started)"]


def _many(node: Many) -> list[str]:
    lines, names = _branches(node.parts)
    limit = f", limit={node.limit}" if node.verb == "map" else ""
    return [*lines, f"await {node.verb}({names}{limit})"]


def _scope(node: Scope) -> list[str]:
    when = "at once" if node.after is None else f"by a sibling, {node.after} s later"
    return [f"with CancelScope({'shield=True' if node.change == 'bare' else ''}):  # {node.change}, {when}"]


def _finally(node: Finally) -> list[str]:
    last = (
        ["    with CancelScope(shield=True):", *(f"    {line}" for line in _indented(node.last))]
        if node.shielded
        else _indented(node.last)
    )
    return ["try:", *_indented(node.part), "finally:", *last]


def _catch(node: Catch) -> list[str]:
    end = ["    raise"] if node.reraise else []
    return ["try:", *_indented(node.part), f"except {node.what}:", *_indented(node.then), *end]


def _generate(node: Generate) -> list[str]:
    yields = [line for part in node.parts for line in (*_lines(part), "yield")]
    body = ["try:", *(f"    {line}" for line in yields), "finally:", *_indented(node.last)]
    return ["async def generator():", *(f"    {line}" for line in body), f"# iterated {node.stop_after} times, closed"]


_PRINTERS: dict[type[Any], Callable[[Any], list[str]]] = {
    Seq: lambda node: [line for part in node.parts for line in _lines(part)],
    Child: lambda node: [*_branch("child", node.program), f"await child.options(on_cancel={node.on_cancel!r})()"],
    Nursery: _nursery,
    Start: _start,
    Spawn: lambda node: [*_branch("branch", node.part), f"nurseries[-{node.up + 1}].start_soon(branch)"],
    Many: _many,
    Timeout: lambda node: [f"with {node.verb}({node.seconds}):", *_indented(node.part)],
    Shield: lambda node: ["with CancelScope(shield=True):", *_indented(node.part)],
    Scope: lambda node: [*_scope(node), *_indented(node.part)],
    Finally: _finally,
    Catch: _catch,
    Generate: _generate,
    Guarded: lambda node: [
        f"async with {node.kind}:{'  # waits to be notified' if node.waits else ''}",
        *_indented(node.part),
    ],
    Saga: lambda node: [
        *_branch("undo", node.undo),
        "async with saga() as saga:",
        "    saga.on_failure(undo)",
        *_indented(node.part),
    ],
    Pipe: lambda node: [
        f"async for _ in channel:  # {node.count} values, buffer of {node.size}",
        *_indented(node.part),
    ],
}
