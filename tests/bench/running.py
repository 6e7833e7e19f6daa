"""One process for each workload of each size on each system, one after another, and what became of it.

Laws: two never run at once; a process that takes too long is ended with all that it started; whatever goes wrong is a
result that says so. Called by `__main__.py`. Next: `child.py`, `floor.py`, `peers/`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.bench import environments
from tests.bench.environments import Environment, Unavailable
from tests.bench.figures import Job, Result, as_argument, is_enough, runs_in
from tests.bench.plan import LIMIT, SYSTEMS, WORKLOADS, System
from tests.postgres_server import Server

ROOT = Path(__file__).parents[2]


class Runner:
    """Knows what systems need and where it is; use it in a `with` block, which stops the server that it started."""

    def __init__(self, prepare: Callable[[str], Environment] = environments.prepare) -> None:
        self._prepare = prepare
        self._ready: dict[str, Environment | Unavailable] = {}
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()

    def environment(self, peer: str) -> Environment:
        """Where a peer runs, made when it is needed first. Raises `Unavailable`, each time it is asked for."""
        if peer not in self._ready:
            try:
                self._ready[peer] = self._prepare(peer)
            except Unavailable as exc:
                self._ready[peer] = exc
        ready = self._ready[peer]
        if isinstance(ready, Unavailable):
            raise ready
        return ready

    @property
    def versions(self) -> dict[str, str]:
        """Of the peers that were there."""
        return {peer: ready.version for peer, ready in self._ready.items() if isinstance(ready, Environment)}

    def measure(self, system: str, job: Job) -> Result:
        """Run what was asked for, in as many processes as it takes."""
        of = SYSTEMS[system]
        try:
            python, job = self._placed(of, job)
        except (Unavailable, AssertionError, OSError) as exc:
            return Result(system, job.workload, job.size, (), str(exc))
        if not WORKLOADS[job.workload].alone:
            return run_process(system, of.module, job, python)
        result, spent = Result(system, job.workload, job.size), 0.0
        while not result.trouble and not is_enough(len(result.runs), job.runs, spent, job.patience):
            one = run_process(system, of.module, job._replace(runs=1), python)
            result = result._replace(runs=(*result.runs, *one.runs), trouble=one.trouble)
            spent += sum(run.seconds for run in one.runs)
        return result

    def _placed(self, system: System, job: Job) -> tuple[str, Job]:
        """The Python that runs it, and the job with its store and where that is."""
        where = self._address() if system.store == "postgresql" else ""
        python = sys.executable
        if system.environment:
            environment = self.environment(system.environment)
            python, where = environment.python, where or environment.server
        return python, job._replace(store=system.store, where=where)

    def _address(self) -> str:
        """A server that everybody uses, the one of `TRIOFLOW_TEST_POSTGRES` if there is one."""
        given = os.environ.get("TRIOFLOW_TEST_POSTGRES")
        if given:
            return given
        if self._server is None:
            self._server = Server("max_connections = 200", "max_wal_size = 2GB").start()
        return self._server.tcp()


def run_process(system: str, module: str, job: Job, python: str = sys.executable, limit: float = LIMIT) -> Result:
    """Start one, wait for its end, and read what it printed."""
    process = subprocess.Popen(
        (python, "-m", module, as_argument(job)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    trouble = None
    try:
        printed, said = process.communicate(timeout=limit)
        if process.returncode:
            trouble = _last_words(said) or f"ended with status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, said = process.communicate()
        trouble = f"took longer than {limit:,.0f} seconds"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    runs = tuple(runs_in(printed))
    return Result(system, job.workload, job.size, runs, trouble or (None if runs else "printed no figure"))


def _last_words(said: str) -> str:
    """The last line of what a process said that is not part of a drawing of a traceback."""
    lines = [line.strip(" |+-") for line in said.splitlines()]
    return next((line for line in reversed(lines) if line), "")[:200]
