"""What is in a store, counted, as a person or a dashboard wants it.

Laws: plain numbers and texts, so that `attrs.asdict` gives JSON data. Who calls it: `_management.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trioflow.abc import State, StoreMetrics


@attrs.frozen(kw_only=True)
class Metrics:
    """What is in a store.

    Attributes:
        instances: by name of the orchestration, then by state; only what there is any of.
        executions: whose histories are kept.
        events: in these histories.
        messages: on their way to instances.
        activities: that wait for a worker, or that one has.
        sessions: that a worker has.
    """

    instances: Mapping[str, Mapping[State, int]]
    executions: int
    events: int
    messages: int
    activities: int
    sessions: int

    @property
    def states(self) -> Mapping[State, int]:
        """Instances of all names by state; all states, in order."""
        return {state: self.count(state=state) for state in State}

    def count(self, *, name: str | None = None, state: State | None = None) -> int:
        """Instances of a name, of a state, of both; of the whole store if neither is said."""
        return sum(
            number
            for one, by_state in self.instances.items()
            for each, number in by_state.items()
            if name in (None, one) and state in (None, each)
        )


def metrics_of(counted: StoreMetrics) -> Metrics:
    """What a store counted, by name."""
    instances: dict[str, dict[State, int]] = {}
    for (name, state), number in sorted(counted.instances.items()):
        instances.setdefault(name, {})[state] = number
    return Metrics(
        instances=instances,
        executions=counted.executions,
        events=counted.events,
        messages=counted.messages,
        activities=counted.activities,
        sessions=counted.sessions,
    )
