"""What is run, in which sizes, on which systems, and what is not worth its time.

Laws: facts and pure functions; nothing runs here. A new workload is a line in `WORKLOADS` and a function in
`workloads.py` (or beside it), a new system a line in `SYSTEMS`. Called by `__main__.py`. Next: `running.py`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tests.bench.figures import Result

TOO_LONG = 180.0
"""Seconds: a size that would take longer, going by a smaller one, is not run."""

LIMIT = 400.0
"""Seconds after which a process is ended."""


class Workload(NamedTuple):
    """The sizes of a workload.

    `sizes`: of every day; `large`: in a whole run beside them; `quick`: to see that it works; `warm_up`: of the run
    that does not count; `alone`: each run has a process of its own, since what it measures is the process.
    """

    sizes: tuple[int, ...]
    large: tuple[int, ...] = ()
    quick: tuple[int, ...] = (5,)
    warm_up: int = 20
    alone: bool = False


WORKLOADS: dict[str, Workload] = {
    "hello": Workload((200,)),
    "chain": Workload((100, 1_000), (10_000,)),
    "fan": Workload((1_000,), (10_000,), warm_up=50),
    "fan5": Workload((1_000,)),
    "fan5/10ms": Workload((1_000,)),
    "events": Workload((1_000,), (5_000,)),
    "replay": Workload((1_000,), (10_000,)),
    "asleep": Workload((2_000,), (10_000, 100_000), alone=True),
}

ON_STORES = tuple(name for name in WORKLOADS if name != "replay")
OF_THE_FLOOR = ("hello", "chain", "fan", "fan5")
OF_PEERS = ("hello", "chain", "fan", "fan5", "fan5/10ms")

STORES = ("memory", "sqlite", "sqlite-fast", "postgresql")


class System(NamedTuple):
    """Something that is measured.

    `kind`: ours, the floor, or a peer; `label`: how it is called in tables; `store`: what it keeps its state in;
    `group`: whom it is compared with; `module`: the program; `environment`: the peer whose packages it needs; `power`:
    how the time of its fan grows with the width, 2 for one that replays its whole history for each activity that ends.
    """

    kind: Literal["ours", "floor", "peer"]
    label: str
    store: str
    group: Literal["", "sqlite", "postgresql"]
    module: str
    workloads: tuple[str, ...]
    environment: str = ""
    power: int = 1


def _peer(name: str, label: str, store: str, group: Literal["sqlite", "postgresql"], power: int = 1) -> System:
    return System("peer", label, store, group, f"tests.bench.peers.{name}_program", OF_PEERS, name, power)


SYSTEMS: dict[str, System] = {
    "memory": System("ours", "trioflow, memory", "memory", "", "tests.bench.child", ON_STORES),
    "sqlite": System("ours", "trioflow, SQLite", "sqlite", "sqlite", "tests.bench.child", ON_STORES),
    "sqlite-fast": System("ours", "trioflow, SQLite fast", "sqlite-fast", "", "tests.bench.child", ON_STORES),
    "floor-sqlite": System("floor", "floor, SQLite", "sqlite", "sqlite", "tests.bench.floor", OF_THE_FLOOR),
    "floor-sqlite-fast": System("floor", "floor, SQLite fast", "sqlite-fast", "", "tests.bench.floor", OF_THE_FLOOR),
    "duroxide": _peer("duroxide", "duroxide, SQLite", "sqlite", "sqlite", power=2),
    "dbos": _peer("dbos", "DBOS, SQLite", "sqlite", "sqlite"),
    "restate": _peer("restate", "Restate", "sqlite", "sqlite"),
    "postgresql": System("ours", "trioflow, PostgreSQL", "postgresql", "postgresql", "tests.bench.child", ON_STORES),
    "floor-postgresql": System(
        "floor", "floor, PostgreSQL", "postgresql", "postgresql", "tests.bench.floor", OF_THE_FLOOR
    ),
    "duroxide-postgresql": _peer("duroxide", "duroxide, PostgreSQL", "postgresql", "postgresql", power=2),
    "dbos-postgresql": _peer("dbos", "DBOS, PostgreSQL", "postgresql", "postgresql"),
    "replay": System("ours", "trioflow, no store", "none", "", "tests.bench.child", ("replay",)),
}


def chosen_systems(stores: tuple[str, ...], *, peers: bool, floor: bool = True) -> dict[str, System]:
    """Those that run on some of these stores, in the order of the table."""
    kinds = ("ours", *(("floor",) if floor else ()), *(("peer",) if peers else ()))
    return {
        key: system
        for key, system in SYSTEMS.items()
        if system.kind in kinds and (system.store in stores or system.store == "none")
    }


def sizes_of(workload: Workload, *, size: int | None, quick: bool, whole: bool) -> tuple[int, ...]:
    """The sizes to run, the smallest first."""
    if size is not None:
        return (size,)
    if quick:
        return workload.quick
    return (*workload.sizes, *workload.large) if whole else workload.sizes


def why_not(system: str, workload: str, size: int, before: list[Result]) -> str | None:
    """Why a size is not run after smaller ones; None if it is to be run."""
    smaller = [one for one in before if (one.system, one.workload) == (system, workload) and one.size < size]
    if smaller:
        nearest = max(smaller, key=lambda one: one.size)
        if not nearest.runs:
            return "not run, since a smaller one failed"
        power = SYSTEMS[system].power if workload == "fan" else 1
        expected = max(run.seconds for run in nearest.runs) * (size / nearest.size) ** power
        if expected > TOO_LONG:
            return f"not run, since it would take {expected / 60:,.0f} minutes or more"
    return None
