"""What nobody else looks after: instances that no worker can run, and those that have ended long ago.

Laws: it looks once a minute or less, whatever is in the store; it begins when this runtime has been up as long as an
instance may wait, so that one which comes first after an outage does not judge what others will run; what cannot be
deleted is passed over.

Who calls it: `_worker.py`. Read next: `_conductor.py`.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio

from trioflow._runtime._conductor import Conductor
from trioflow._runtime._options import RuntimeOptions
from trioflow._runtime._troubles import log, persistently, told
from trioflow.abc import ENDED, DeleteInstances, Env, InstanceQuery, InstanceRecord, ListInstances, Store
from trioflow.errors import InstanceNotFinished

EVERY: Final = 60.0
"""Seconds between two rounds, at most."""

AT_ONCE: Final = 10
"""Instances that are looked after in one call."""


@attrs.define(eq=False)
class Janitor:
    """Goes its rounds."""

    store: Store
    env: Env
    options: RuntimeOptions
    conductor: Conductor

    async def run(self) -> None:
        """Look after things, for ever."""
        patience = self.options.unclaimed_after
        since = self.env.monotonic()
        while True:
            await trio.sleep(min(EVERY, patience or math.inf))
            if patience is not None and self.env.monotonic() - since >= patience:
                await self.conductor.adopt(AT_ONCE, patience)
            if self.options.retention is not None:
                await self._clear_away(self.options.retention)

    async def _clear_away(self, age: float) -> None:
        """Delete what ended so long ago, with its descendants."""
        now = await persistently("asking for the time", self.store.read_clock)
        request = ListInstances(query=InstanceQuery(states=ENDED, roots=True, ended_before=now - age), limit=AT_ONCE)
        while True:
            page = await persistently("looking for old instances", self.store.list_instances, request)
            for record in page.instances:
                await self._delete(record)
            if page.next is None:
                return
            request = attrs.evolve(request, after=page.next)

    async def _delete(self, record: InstanceRecord) -> None:
        instance = record.instance
        request = DeleteInstances(
            request_id=self.env.token(),
            instances=(instance,),
            executions={instance: record.execution},  # what was begun anew since is not what was looked for
        )
        try:
            await persistently("deleting an old instance", self.store.delete_instances, request)
        except InstanceNotFinished as exc:
            log.info("instance %s is older than its retention and stays: %s", instance, told(exc))
