"""The administration of the model of a store: find, count, delete, prune.

Laws: as `model.py`.

Must never know: `trioflow.stores`. Who calls it: `state_machine.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from tests.stores.model import Model
from tests.stores.model_rows import size_of
from trioflow.abc import (
    DeleteInstances,
    EventRow,
    ExecutionRecord,
    InstancePage,
    InstanceRecord,
    ListInstances,
    ListPlace,
    PruneExecutions,
    QueueDepth,
    QueueDepths,
    Started,
    StoreMetrics,
)
from trioflow.errors import InstanceNotFinished


@attrs.define(eq=False)
class WholeModel(Model):
    """A store of lists and loops. `now` is set by whoever drives it."""

    def delete_instances(self, request: DeleteInstances) -> int:
        first = request.instances[0]
        answer = self.recall(request.request_id, "delete", first)
        if answer is not None:
            return answer.execution
        family = {
            name
            for name in request.instances
            if name in self.instances and request.executions.get(name) in (None, self.instances[name].execution)
        }
        while children := {n for n, found in self.instances.items() if found.parent_id in family} - family:
            family |= children
        if not request.force and not all(self.instances[name].state.ended for name in family):
            raise InstanceNotFinished(first)
        for name in family:
            self.last_executions[name] = self.instances.pop(name).execution
        self.items = [item for item in self.items if item.instance not in family]
        self.histories = {key: events for key, events in self.histories.items() if key[0] not in family}
        for message in request.messages:
            self.deliver(message)
        self.answered[request.request_id] = (
            "delete", Started(instance=first, execution=len(family), created=False)
        )  # fmt: skip
        return len(family)

    def prune_executions(self, request: PruneExecutions) -> int:
        answer = request.request_id and self.recall(request.request_id, "prune", request.instance)
        if answer:
            return answer.execution
        count = self._prune(request)
        if request.request_id is not None:
            self.answered[request.request_id] = (
                "prune", Started(instance=request.instance, execution=count, created=False)
            )  # fmt: skip
        return count

    def _prune(self, request: PruneExecutions) -> int:
        there = self.instances.get(request.instance)
        kept = 0 if there is None else max(request.keep, 1)
        old = [
            number
            for number, events in self._histories_of(request.instance).items()
            if there is not None
            and number <= there.execution - kept
            and (request.ended_before is None or events[-1].at < request.ended_before)
        ]
        for number in old:
            del self.histories[request.instance, number]
        return len(old)

    def _histories_of(self, instance: str) -> dict[int, list[EventRow]]:
        """Those that hold anything, by number."""
        found = [(number, events) for (name, number), events in self.histories.items() if name == instance and events]
        return dict(sorted(found, key=lambda entry: entry[0]))

    def list_instances(self, request: ListInstances) -> InstancePage:
        found = [
            ListPlace(instance.created_at, instance.name)
            for instance in self.instances.values()
            if instance.is_meant(request.query)
        ]
        found.sort(key=attrs.astuple, reverse=True)
        if request.after is not None:
            found = [place for place in found if attrs.astuple(place) < attrs.astuple(request.after)]
        page = found[: request.limit]
        records = [self.read_instance(place.instance) for place in page]
        return InstancePage(
            instances=tuple(record for record in records if isinstance(record, InstanceRecord)),
            next=page[-1] if page and len(found) > len(page) else None,
        )

    def read_executions(
        self, instance: str, *, after: int = 0, limit: int | None = None
    ) -> tuple[ExecutionRecord, ...]:
        there = self.instances.get(instance)
        if there is None:
            return ()
        histories = self._histories_of(instance)
        histories.setdefault(there.execution, [])
        numbers = [number for number in sorted(histories) if number > after]
        return tuple(in_short(number, histories[number]) for number in numbers[:limit])

    def read_depths(self) -> QueueDepths:
        turns = [(instance.eligible_at(), instance.token) for instance in self.instances.values()]
        items = [item for item in self.items if not item.cancelled]
        tags = sorted({item.new.tag for item in items if item.new.tag is not None})
        return QueueDepths(
            turns=self._depth(turns),
            activities=self._depth((item.due, item.token) for item in items),
            tagged={tag: self._depth((item.due, item.token) for item in items if item.new.tag == tag) for tag in tags},
        )

    def _depth(self, waiting: Iterable[tuple[float | None, str | None]]) -> QueueDepth:
        """How many of those are ready, leased, or to come, by when they are due and who holds them."""
        known = [(at, token) for at, token in waiting if at is not None]
        ready = [at for at, _ in known if at <= self.now]
        leased = sum(token is not None and at > self.now for at, token in known)
        return QueueDepth(
            ready=len(ready),
            leased=leased,
            later=len(known) - len(ready) - leased,
            oldest=self.now - min(ready) if ready else None,
        )

    def read_metrics(self) -> StoreMetrics:
        kinds = Counter((instance.start.name, instance.state) for instance in self.instances.values())
        return StoreMetrics(
            instances=dict(kinds),
            executions=sum(bool(events) for events in self.histories.values()),
            events=sum(map(len, self.histories.values())),
            messages=sum(len(instance.inbox) for instance in self.instances.values()),
            activities=len(self.items),
            sessions=len(self.sessions),
        )


def in_short(number: int, events: list[EventRow]) -> ExecutionRecord:
    """An execution without what its events carry."""
    bare = [attrs.evolve(event, payload=None) for event in events]
    return ExecutionRecord(
        execution=number,
        history_length=len(events),
        history_bytes=size_of(events),
        first=bare[0] if bare else None,
        last=bare[-1] if bare else None,
    )
