"""Many processes on one store, killed at random, and what has to hold all the same.

Usage: python -m tests.chaos.many --store URL [--workers 4] [--clients 2] [--minutes 10] [--kill-every 1.0] [--seed 1]

The store has to be empty. Prints a summary as JSON, and ends with 1 if anything was lost, done twice, or done without
reason.

Laws: this process is never killed and has no part in the work; it decides who dies by a seed: some at a moment that is
named in the code (`Env.reached`), some whenever the time has come; some are only stopped, for longer than their lease.
What it knows it has from the ledger that all processes write to; `many_verdict.py` judges.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import signal
import sys
import tempfile

import attrs
import trio

from tests.chaos.crowd import Ledger
from tests.chaos.life import Life
from tests.chaos.many_verdict import Summary, judge


@attrs.frozen(kw_only=True)
class Plan:
    """What is to happen.

    Attributes:
        store: its URL.
        ledger: a file that is not there yet.
        workers: worker processes at once.
        clients: client processes at once.
        instances: how many each client visits; 0 is as many as it can in `seconds`.
        seconds: how long the clients begin anything new, if `instances` is 0.
        fact_kills: workers that die at a random one of their first `facts` named moments; None is every other one.
        facts: see there.
        kill_every: seconds, on average, between two kills from outside; None is never.
        stops: the share of those that are merely stopped, for longer than the lease.
        client_kills: the share that hits a client.
        lease: seconds of the workers' leases.
        width: how many instances a client visits at once.
        patience: seconds after which what has not ended counts as lost.
        seed: of all that is random.
    """

    store: str
    ledger: pathlib.Path
    workers: int = 2
    clients: int = 1
    instances: int = 0
    seconds: float = 0.0
    fact_kills: int | None = 0
    facts: int = 300
    kill_every: float | None = None
    stops: float = 0.0
    client_kills: float = 0.0
    lease: float = 5.0
    width: int = 20
    patience: float = 60.0
    seed: int = 1


@attrs.define(eq=False)
class Crowd:
    """The processes of a run."""

    plan: Plan
    rng: random.Random
    ledger: Ledger
    workers: dict[str, Life] = attrs.field(factory=dict)  # alive, by name
    clients: dict[str, Life] = attrs.field(factory=dict)
    troubles: list[str] = attrs.field(factory=list)
    fact_kills: int = 0
    calm: trio.Event = attrs.field(factory=trio.Event)  # nobody is killed from now on
    over: trio.Event = attrs.field(factory=trio.Event)  # all that was asked for is done

    # -- lives

    async def worker(self, number: int) -> None:
        """A place for a worker: whoever dies is followed by another, until all is done."""
        lives = 0
        while not self.over.is_set():
            lives += 1
            name = f"worker-{number}.{lives}"
            options: list[object] = ["--lease", self.plan.lease, "--die-after", self._fate()]
            await self._live(self.workers, "worker", name, options, self.over)

    def _fate(self) -> int:
        """After how many named moments the next worker dies; 0 is never."""
        if self.calm.is_set():
            return 0
        if self.plan.fact_kills is None:
            return self.rng.choice([0, self.rng.randrange(5, self.plan.facts)])
        if self.fact_kills >= self.plan.fact_kills:
            return 0
        self.fact_kills += 1
        return self.rng.randrange(5, self.plan.facts)

    async def client(self, number: int) -> None:
        """A place for a client: whoever dies is followed by another that goes on from there."""
        stride, lives = self.plan.clients, 0
        while True:
            lives += 1
            first, last = self._round(number)
            if last is not None and last < first:
                return
            count = 0 if last is None else (last - first) // stride + 1
            options: list[object] = ["--first", first, "--stride", stride, "--count", count, "--width", self.plan.width]
            until = self.calm if last is None else None
            code = await self._live(self.clients, "client", f"client-{number}.{lives}", options, until)
            if code not in (0, -signal.SIGKILL):
                return

    def _round(self, number: int) -> tuple[int, int | None]:
        """The first and the last instance that a client is to visit; None: as many as it can."""
        numbers: dict[str, set[int]] = {"started": set(), "right": set(), "wrong": set()}
        for _, what, *words in self.read():
            if what in numbers:
                numbers[what].add(int(words[0]))
        stride, first = self.plan.clients, number
        while first in numbers["right"] or first in numbers["wrong"]:
            first += stride
        if self.plan.instances:
            return first, number + (self.plan.instances - 1) * stride
        if self.calm.is_set():  # only what those before it have begun
            return first, max((one for one in numbers["started"] if one % stride == number), default=-1)
        return first, None

    def read(self) -> list[list[str]]:
        """What the ledger says so far."""
        return [line.split() for line in self.ledger.path.read_text("utf-8").splitlines()]

    async def _live(
        self, among: dict[str, Life], role: str, name: str, options: list[object], until: trio.Event | None
    ) -> int:
        """Live one life, and say how it ended."""
        life = among[name] = await Life.begin(role, self.plan.store, self.ledger.path, name, *options)
        self.ledger.note("born", name)
        try:
            async with trio.open_nursery() as nursery:

                async def tell() -> None:
                    if until is not None:
                        await until.wait()
                        await life.tell_to_end()

                nursery.start_soon(tell)
                await life.listen()
                nursery.cancel_scope.cancel()
            await life.process.wait()
        finally:
            del among[name]
            code = await life.bury()
            if code not in (0, -signal.SIGKILL):
                self.troubles.append(f"{name} ended with {code}: {life.said.decode(errors='replace')[-3000:]}")
        return code

    # -- the nemesis

    async def hunt(self) -> None:
        """Kill somebody now and then, or stop a worker for longer than its lease."""
        plan = self.plan
        if plan.kill_every is None:
            return
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.rng.expovariate(1 / plan.kill_every))
                if self.calm.is_set():
                    return
                among = self.clients if self.rng.random() < plan.client_kills else self.workers
                if not among:
                    continue
                life = among[self.rng.choice(sorted(among))]
                if among is self.workers and self.rng.random() < plan.stops:
                    nursery.start_soon(self._stop, life)
                else:
                    self._signal(life, "killed", signal.SIGKILL)

    async def _stop(self, life: Life) -> None:
        self._signal(life, "stopped", signal.SIGSTOP)
        await trio.sleep(self.plan.lease * self.rng.uniform(1.1, 1.5))
        self._signal(life, "woken", signal.SIGCONT)

    def _signal(self, life: Life, what: str, number: int) -> None:
        if life.process.returncode is None:
            self.ledger.note(what, life.name, "outside")
            life.process.send_signal(number)


async def run(plan: Plan) -> Summary:
    """Let it happen, and judge."""
    crowd = Crowd(plan, random.Random(plan.seed), Ledger(plan.ledger))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(plan.workers):
            nursery.start_soon(crowd.worker, number)
        nursery.start_soon(crowd.hunt)
        async with trio.open_nursery() as asking:
            for number in range(plan.clients):
                asking.start_soon(crowd.client, number)
            if not plan.instances:
                await trio.sleep(plan.seconds)
                crowd.calm.set()
            asking.cancel_scope.deadline = trio.current_time() + plan.patience
        crowd.calm.set()
        crowd.over.set()
        nursery.cancel_scope.deadline = trio.current_time() + plan.patience
    if nursery.cancel_scope.cancelled_caught:
        crowd.troubles.append("a worker that was told to end did not")
    return await judge(plan.store, crowd.read(), plan.lease, crowd.troubles, trio.current_time() - began)


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="the URL of an empty store")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kill-every", type=float, default=1.0)
    parser.add_argument("--stops", type=float, default=0.05)
    parser.add_argument("--lease", type=float, default=5.0)
    parser.add_argument("--width", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=pathlib.Path, help="a file to keep the ledger in")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            store=args.store,
            ledger=args.ledger or pathlib.Path(folder) / "ledger",
            workers=args.workers,
            clients=args.clients,
            seconds=args.minutes * 60,
            fact_kills=None,
            kill_every=args.kill_every,
            stops=args.stops,
            client_kills=0.1,
            lease=args.lease,
            width=args.width,
            seed=args.seed,
            patience=120.0,
        )
        summary = trio.run(run, plan)
    sys.stdout.write(json.dumps(attrs.asdict(summary), indent=2) + "\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
