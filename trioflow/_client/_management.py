"""The management of instances: find, count, delete, prune, begin again; one of them, or all that fit a filter.

Laws: as `_steering.py`; what can be decided here is decided before anything is written; the work itself is beside it,
in a file for each verb.

Must never know: runtimes. Who calls it: `_client.py`, which adds to it. Read next: `_filter.py`, `_listing.py`,
`_bulk.py`.
"""

from __future__ import annotations

import functools
from typing import Unpack

import attrs

from trioflow._client._bulk import HELD, MOVING, delete_each, post_to_each, prune_each, resume_each
from trioflow._client._executions import ExecutionInfo, executions_of
from trioflow._client._figures import Metrics, metrics_of
from trioflow._client._filter import FilterFields, InstanceFilter, filter_of, narrow_filter_of
from trioflow._client._info import InstanceInfo, describe
from trioflow._client._listing import PAGE, Instances, ListPage, page_of
from trioflow._client._removing import delete_one, prune_one, pruning_limit
from trioflow._client._requests import until_answered
from trioflow._client._steering import Steering
from trioflow.abc import QueueDepths, State

Filter = InstanceFilter | None


@attrs.define(eq=False, repr=False)
class Management(Steering):
    """Finds instances, and does to many what `Steering` does to one.

    Filters are an `InstanceFilter`, its fields as keyword arguments, or both: then what the keywords say counts. The
    verbs that change what they find refuse a filter that fits everything with `ConfigurationError`, unless
    `everything=True` says that this is meant; they act on one instance after the other, pass over what has vanished or
    ended meanwhile, and can be repeated.
    """

    # -- finding

    def list(self, filter: Filter = None, **fields: Unpack[FilterFields]) -> Instances[InstanceInfo]:
        """An async iterator over instances, newest first: ``async for info in client.list(states="parked")``.

        Read from the store page by page, as needed. Instances that come and go meanwhile move nothing: none is given
        twice, and none is left out that fits all the time.

        Raises:
            ConfigurationError, EncodeError: a field of the filter makes no sense.
        """
        show = functools.partial(describe, app=self.app, codec=self.codec)
        return Instances(self, filter_of(filter, fields), show)

    async def page(
        self, filter: Filter = None, *, limit: int = PAGE, cursor: str | None = None, **fields: Unpack[FilterFields]
    ) -> ListPage:
        """One page of `list`, for who shows lists page by page.

        Args:
            filter: which instances.
            limit: how many at most.
            cursor: of the page before; None begins at the top. It is a text that may be kept, in an address or a form,
                and be used with any client of the store.
            fields: more of the filter.

        Raises:
            ConfigurationError, EncodeError: the limit, the cursor or a field of the filter makes no sense.
        """
        return await page_of(self, filter_of(filter, fields), limit, cursor)

    async def executions(self, id: str) -> tuple[ExecutionInfo, ...]:
        """The executions of an instance, from the first whose history is kept to the current. Raises InstanceNotFound.

        Those whose histories were pruned are missing.
        """
        return await executions_of(self, self.checked(id))

    # -- one instance

    async def delete(self, id: str, *, force: bool = False) -> int:
        """Remove an instance and all its descendants, with all that belongs to them; how many instances that were.

        All of them go in one transaction, or none. Execution numbers of the id go on where they stood.

        Args:
            id: the instance. If it is a child whose parent waits for it, the parent is told that it was terminated.
            force: also if it, or a descendant, has not ended; nothing of it runs on, and no code of it unwinds.

        Raises:
            InstanceNotFound: it is not there.
            InstanceNotFinished: one of them has not ended, and `force` was not given.
        """
        removed = 0
        while not removed:  # it was begun anew since it was read, or is gone, which reading it tells
            removed = await delete_one(self, await self.read(id), force=force)
        return removed

    async def prune(self, id: str, *, keep: int = 1, older_than: float | None = None) -> int:
        """Remove histories of an instance's earlier executions; how many. Status and kv stay.

        Args:
            id: the instance; it may be running.
            keep: executions that stay, the newest, the current one counted; it always stays.
            older_than: seconds; those that ended since stay, too.

        Raises:
            InstanceNotFound: it is not there.
            ConfigurationError: `keep` or `older_than` makes no sense.
        """
        ended_before = await pruning_limit(self, keep, older_than)
        await self.read(id)
        return await prune_one(self, id, keep=keep, ended_before=ended_before)

    # -- all that fit

    async def cancel_all(
        self,
        filter: Filter = None,
        *,
        reason: str | None = None,
        everything: bool = False,
        limit: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> int:
        """Ask all that fit and have not ended to unwind, at most `limit`; how many were asked. See `cancel`."""
        found = (await self._narrow(filter, fields, everything)).only(*MOVING, *HELD)
        return await post_to_each(self, found, functools.partial(self.cancel, reason=reason), limit)

    async def terminate_all(
        self,
        filter: Filter = None,
        *,
        reason: str | None = None,
        everything: bool = False,
        limit: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> int:
        """End all that fit and have not ended, at most `limit`; how many were told to. See `terminate`."""
        found = (await self._narrow(filter, fields, everything)).only(*MOVING, *HELD)
        return await post_to_each(self, found, functools.partial(self.terminate, reason=reason), limit)

    async def suspend_all(
        self,
        filter: Filter = None,
        *,
        reason: str | None = None,
        everything: bool = False,
        limit: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> int:
        """Stop all that fit and are pending or waiting, at most `limit`; how many. See `suspend`."""
        found = (await self._narrow(filter, fields, everything)).only(*MOVING)
        return await post_to_each(self, found, functools.partial(self.suspend, reason=reason), limit)

    async def resume_all(
        self, filter: Filter = None, *, limit: int | None = None, **fields: Unpack[FilterFields]
    ) -> int:
        """Let all that fit go on, at most `limit`; how many. See `resume`.

        Only what is parked, as after a fix was deployed, unless the filter's states name "suspended". May be given no
        filter at all: what still cannot go on is parked again. What was told to go on and has not yet is passed over.
        """
        wanted = filter_of(filter, fields)
        found = wanted.only(*HELD) if wanted.states else wanted.only(State.PARKED)
        return await resume_each(self, found, limit)

    async def delete_all(
        self,
        filter: Filter = None,
        *,
        force: bool = False,
        everything: bool = False,
        limit: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> int:
        """Delete all that fit; how many instances were removed. See `delete`.

        Args:
            filter: which; without `force` only what has ended, with all its descendants, is deleted.
            force: also what has not ended.
            everything: a filter that fits everything is meant.
            limit: so many at most, newest first; their descendants go with them, and are counted in the answer.
            fields: more of the filter.
        """
        found = await self._narrow(filter, fields, everything)
        return await delete_each(self, found, force=force, limit=limit)

    async def prune_all(
        self,
        filter: Filter = None,
        *,
        keep: int = 1,
        older_than: float | None = None,
        everything: bool = False,
        limit: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> int:
        """Prune all that fit, running ones, too, at most `limit` instances; how many executions. See `prune`."""
        found = await self._narrow(filter, fields, everything)
        return await prune_each(self, found, keep=keep, older_than=older_than, limit=limit)

    async def _narrow(self, filter: Filter, fields: FilterFields, everything: bool) -> InstanceFilter:
        now = await until_answered(self.store.read_clock)
        return narrow_filter_of(filter, fields, everything=everything, now=now)

    # -- figures

    async def metrics(self) -> Metrics:
        """What is in the store, counted. Takes its time in a large store: ask now and then, not all the time."""
        return metrics_of(await until_answered(self.store.read_metrics))

    async def queue_depths(self) -> QueueDepths:
        """What waits for runtimes now, and for how long; activities also by their tags."""
        return await until_answered(self.store.read_depths)
