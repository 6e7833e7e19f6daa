"""The tree of an instance: its branches, what each waits for and where in the code, found out by replay.

Laws: the one place of the client that runs user code: the orchestration, from its stored history, up to the last
commit. Nothing is written, nothing is logged, no activity starts; a live copy in this process does not notice. The
replayed copy is always closed. A long replay reaches a checkpoint every so often.
Must never know: runtimes. Who calls it: `_client.py`. Read next: `trioflow._kernel._tree`, which describes branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trioflow._client._info import decode_row
from trioflow._client._requests import until_answered
from trioflow._engine import Execution
from trioflow._kernel import TreeBranch, draw, say_when
from trioflow.abc import EventRow, InstanceRecord, State
from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import UnregisteredError, history_cut_short
from trioflow.history import Event

if TYPE_CHECKING:
    from trioflow._client._client import Client

BREATHE: Final = 256
"""Segments replayed, or events decoded, between two checkpoints."""


@attrs.frozen(kw_only=True, repr=False)
class InstanceTree:
    """What an instance does, as of its last commit; ``print`` shows it as a tree. Holds no payloads.

    Times are in seconds since the Unix epoch. `attrs.asdict` gives plain JSON data.

    Attributes:
        id: the instance's id.
        execution: which execution of it.
        name: of its orchestration.
        version: None until the first turn has pinned it.
        state: where it stands.
        at: when it was looked at, on the store's clock.
        events: in the history that the tree stands for.
        queued: messages on their way in, of which the tree knows nothing yet.
        cancelled: whether the whole instance was cancelled, by a client or its parent, and is unwinding.
        cancel_reason: what the canceller said.
        branches: the main branch, with all others in its nurseries; empty before the first turn and after the end.
    """

    id: str
    execution: int
    name: str
    version: str | None
    state: State
    at: float
    events: int
    queued: int
    cancelled: bool = False
    cancel_reason: str | None = None
    branches: tuple[TreeBranch, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([self._head(), *draw(self.branches)])

    def _head(self) -> str:
        what = self.name if self.version is None else f"{self.name} {self.version}"
        head = f"{self.id}: {what}, execution {self.execution}, {self.state.value}"
        if self.cancelled:
            head += ", cancelled" + ("" if self.cancel_reason is None else f" ({self.cancel_reason})")
        counts = f"{_count(self.events, 'event')}, {_count(self.queued, 'message')} queued"
        return f"{head}; {counts}, {say_when(self.at, None)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


async def tree_of(client: Client, id: str) -> InstanceTree:
    """See `Client.tree`."""
    record = await client.read(id)
    while True:
        tree = _bare(record, await until_answered(client.store.read_clock))
        if record.state.ended or record.version is None or not record.history_length:
            return tree
        definition = _definition(record, client.app)
        # What the record knows of: there may be more by now.
        rows = await until_answered(client.store.read_history, id, record.execution, limit=record.history_length)
        if len(rows) == record.history_length:
            return await _replayed(tree, rows, client, definition)
        before, record = record, await client.read(id)
        if (before.execution, before.revision) == (record.execution, record.revision):
            raise history_cut_short(id, len(rows), record.history_length)


def _bare(record: InstanceRecord, at: float) -> InstanceTree:
    """Without branches."""
    return InstanceTree(
        id=record.instance,
        execution=record.execution,
        name=record.name,
        version=record.version,
        state=record.state,
        at=at,
        events=record.history_length,
        queued=record.queued,
    )


def _definition(record: InstanceRecord, app: App) -> OrchestrationDefinition[Any, Any]:
    """The code to replay."""
    try:
        return app.find_orchestration(record.name, record.version)
    except UnregisteredError as exc:
        raise UnregisteredError(
            f"the tree of instance {record.instance!r} is made by replaying its code, which this client does not have: "
            f"{exc}. A client gets it from its app: `trioflow.connect(store, app)`",
            kind=exc.kind,
            name=exc.name,
            version=exc.version,
        ) from None


async def _replayed(
    bare: InstanceTree, rows: Sequence[EventRow], client: Client, definition: OrchestrationDefinition[Any, Any]
) -> InstanceTree:
    """With branches."""
    history: list[Event] = []
    for count, row in enumerate(rows, 1):
        history.append(decode_row(client.codec, row))
        if count % BREATHE == 0:
            await trio.lowlevel.checkpoint()
    with closing(Execution(client.app, definition)) as execution:
        for _ in execution.replay(history):
            await trio.lowlevel.checkpoint()
        kernel = execution.kernel
        return attrs.evolve(
            bare,
            cancelled=kernel.cancel_called,
            cancel_reason=kernel.cancel_reason,
            branches=execution.branches(bare.at),
        )
