"""A process that measures trioflow: one workload on one kind of store, warmed up and run several times.

Laws: each run has an empty store; it prints its runs and nothing else. Started by `running.py`. Next: `workloads.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tests.bench.figures import Figure, asked_for, repeat
from tests.bench.replaying import measure_replay
from tests.bench.sleeping import measure_asleep
from tests.bench.stores import fresh_store
from tests.bench.workloads import MEASURES, Instruments

ALL = {**MEASURES, "replay": measure_replay, "asleep": measure_asleep}


def main() -> None:
    """Do what this process was started for."""
    job = asked_for()

    def once(size: int, instruments: Instruments = ()) -> Sequence[Figure]:
        with fresh_store(job.store, job.where) as address:
            return trio.run(ALL[job.workload], address, size, instruments)

    def told(size: int) -> Sequence[Figure]:
        from tests.bench.telling import telemetry  # only who asks for it needs the SDK

        with telemetry() as instruments:
            return once(size, instruments)

    repeat(job, once, told)


if __name__ == "__main__":
    main()
