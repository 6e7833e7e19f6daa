"""The headers that instruments give to what is started and scheduled, such as trace contexts.

Laws: whoever brings headers keeps them; without an instrument nothing is made and nothing is added.

Who calls it: `_turns.py`, `_evaluating.py`. Read next: `trioflow.abc._instruments`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from trioflow._engine import Execution
from trioflow._runtime._clock import StoreClock
from trioflow.abc import Instruments, Start, Subject
from trioflow.history import ChildScheduled, DetachedScheduled, OrchestrationStarted


@attrs.define(eq=False)
class Headers:
    """Asks the instruments of one worker."""

    instruments: Instruments
    clock: StoreClock

    def subject(self, live: Execution | None) -> Subject | None:
        """Whose turn it is; None if nobody listens."""
        if not self.instruments.all or live is None or live.started is None:
            return None
        return Subject.of(live.started)

    def adopted(self, started: OrchestrationStarted, at: float) -> OrchestrationStarted:
        """A start that is about to become an event, with headers; those that it brings count."""
        if not self.instruments.all or started.headers:
            return started
        start = Start(by="worker", instance=started.instance, name=started.name, seed=started.seed, at=at)
        return attrs.evolve(started, headers=self.instruments.headers(start))

    def continued(self, start: OrchestrationStarted, asker: Subject | None) -> OrchestrationStarted:
        """The start of the next execution, with headers of its own."""
        if asker is None:
            return start
        now = self.clock.now()
        told = Start(by="continued", instance=start.instance, name=start.name, seed=start.seed, at=now, asker=asker)
        return attrs.evolve(start, headers=self.instruments.headers(told))

    def asked(self, event: ChildScheduled | DetachedScheduled, seed: str, asker: Subject | None) -> Mapping[str, str]:
        """Headers for an instance that a turn starts."""
        if asker is None:
            return event.headers
        start = Start(
            by="parent" if isinstance(event, ChildScheduled) else "detached",
            instance=event.instance,
            name=event.name,
            seed=seed,
            at=event.at,
            asker=asker,
            key=event.place,
        )
        return self.instruments.headers(start)

    def for_activity(self, asker: Subject, within: str) -> Mapping[str, str]:
        """Headers for an activity that a turn schedules."""
        return self.instruments.activity_headers(asker, within)
