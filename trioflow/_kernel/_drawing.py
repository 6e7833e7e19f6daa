"""The text of a tree of branches: one line for each, children below their parents.

Law: it reads descriptions only. Who calls it: `_tree.py`, and whoever puts a tree into a text of their own. Read next:
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trioflow._kernel._tree import TreeBranch, TreeScope, TreeWait

    # A branch, or a scope with those that are open inside it.
    Node: TypeAlias = TreeBranch | tuple[TreeScope, ...]

UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def draw(nodes: Sequence[Node]) -> list[str]:
    """The lines of some branches and of all that is in them."""
    lines: list[str] = []
    left = _level(nodes, "")
    while left:  # a loop, not recursion: a tree may be deeper than Python likes to call
        indent, last, node = left.pop()
        text = _say_scope(node[0]) if isinstance(node, tuple) else _say_branch(node)
        lines.append(f"{indent}{'└─' if last else '├─'} {text}")
        left += _level(_inside(node), indent + ("   " if last else "│  "))
    return lines


def _level(nodes: Sequence[Node], indent: str) -> list[tuple[str, bool, Node]]:
    """Nodes that stand below each other, the one to draw first at the end."""
    return [(indent, index == 0, node) for index, node in enumerate(reversed(nodes))]


def _inside(node: Node) -> list[Node]:
    if isinstance(node, tuple):
        return [*node[0].branches, *([node[1:]] if node[1:] else [])]
    return [node.scopes] if node.scopes else []


def _say_branch(branch: TreeBranch) -> str:
    waits = branch.waits
    text = f"{branch.place} {branch.name} {'is about to run' if waits is None else say_wait(waits)}"
    if branch.cancelled and not (waits is not None and waits.cancel_asked):
        text += ", cancelled"
    if branch.starting:
        text += ", being started"
    return text if branch.at is None else f"{text}, at {branch.at}"


def say_wait(wait: TreeWait) -> str:
    """What a branch does that waits so."""
    match wait.kind:
        case "sleep":
            return (
                "sleeps for ever" if wait.deadline is None else f"sleeps until {say_when(wait.deadline, wait.due_in)}"
            )
        case "nursery":
            return "waits for the end of its nursery" + (f", in {wait.name}" if wait.name else "")
        case "start":
            return "waits for a branch to start"
        case "wait":
            return f"waits in {wait.name}"
    what = f"{wait.kind} {wait.name!r}" + (f" as {wait.id!r}" if wait.id else "")
    if wait.cancel_asked:
        return f"was cancelled, and waits for the real end of {what}, which was asked to end"
    return f"waits for {what}"


def _say_scope(scope: TreeScope) -> str:
    text = "nursery" if scope.nursery else "scope"
    if scope.deadline is not None:
        text += f", deadline {say_when(scope.deadline, scope.due_in)}"
    if scope.shield:
        text += ", shielded"
    if scope.cancelled:
        text += f", cancelled: {scope.cancel_source}"
        text += "" if scope.cancel_reason is None else f", {scope.cancel_reason}"
        text += "" if scope.cancelled_by is None else f", by {scope.cancelled_by}"
    return text


def say_when(at: float, due_in: float | None) -> str:
    """A time, absolute and from now on: ``2026-01-31 09:30:00 UTC (in 2.5 h)``."""
    try:
        text = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        text = f"{at:g}"  # no year has it
    return text if due_in is None else f"{text} ({_say_span(due_in)})"


def _say_span(seconds: float) -> str:
    size = abs(seconds)
    length = next((f"{size / unit:.1f} {name}" for unit, name in UNITS if size >= 2 * unit), f"{size:.1f} s")
    return f"in {length}" if seconds >= 0 else f"{length} ago"
