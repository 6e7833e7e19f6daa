"""Restate, its server and its Python SDK, on the workloads; its options are its defaults, but for where it listens.

Laws: the server, the service and the client are processes of their own, on this machine; it runs in an environment of
its own and imports nothing of ours but `figures.py`, its neighbour and the choice of a free port; all runs of a process
share a server. Started by `running.py`; `where` is the server's program.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import hypercorn.asyncio
import hypercorn.config
import restate

from tests.bench.figures import Figure, Job, as_argument, asked_for, repeat
from tests.bench.peers.on_asyncio import MEASURES
from tests.postgres_server import free_port

PATIENCE = 300.0
bench = restate.Service("bench")


async def echo(value: int) -> int:
    """Give the argument back."""
    return value


async def doze(value: int) -> int:
    """Give the argument back after ten milliseconds."""
    await asyncio.sleep(0.01)
    return value


@bench.handler()
async def one_by_one(context: restate.Context, steps: int) -> int:
    """Steps one after another."""
    for step in range(steps):
        await context.run_typed("echo", echo, value=step)
    return steps


@bench.handler()
async def fan_out(context: restate.Context, width: int) -> int:
    """Steps all at once."""
    await restate.gather(*[context.run_typed("echo", echo, value=number) for number in range(width)])
    return width


@bench.handler()
async def fan_out_dozing(context: restate.Context, width: int) -> int:
    """Steps all at once that take ten milliseconds each."""
    await restate.gather(*[context.run_typed("doze", doze, value=number) for number in range(width)])
    return width


def be_client(job: Job) -> None:
    """Measure; `job.where` is the address that the server takes calls at."""
    with asyncio.Runner() as runner:
        limits = httpx.Limits(max_connections=50)
        client = httpx.AsyncClient(timeout=PATIENCE, limits=limits, base_url=f"{job.where}/bench/")

        async def call(handler: str, argument: int) -> None:
            answer = await client.post(handler, json=argument)
            answer.raise_for_status()
            assert answer.json() == argument

        async def once(size: int) -> list[Figure]:
            return await MEASURES[job.workload](call, size)

        repeat(job, lambda size: runner.run(once(size)))
        runner.run(client.aclose())


@contextmanager
def server(program: str) -> Iterator[tuple[str, str]]:
    """A server with nothing in it: the addresses where it takes calls, and where it is administered."""
    ingress, admin = free_port(), free_port()
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_BIND_PORT": str(free_port()),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
    }
    with tempfile.TemporaryDirectory(prefix="restate-") as folder, Path(folder, "log").open("wb") as log:
        command = [program, "--no-logo", "--listen-mode", "tcp", "--base-dir", folder, "--bind-ip", "127.0.0.1"]
        running = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _until_healthy(running, f"http://127.0.0.1:{admin}/health", Path(folder, "log"))
            yield f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"
        finally:
            running.kill()  # nothing of it is kept
            running.wait()


def _until_healthy(running: subprocess.Popen[bytes], address: str, log: Path) -> None:
    for _ in range(300):
        if running.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"the server did not start: {log.read_text()[-500:]}")


async def serve(job: Job, ingress: str, admin: str) -> None:
    """Be the service that the server calls, and have a client of its own process measure."""
    config = hypercorn.config.Config()
    port = free_port()
    config.bind, config.loglevel = [f"127.0.0.1:{port}"], "ERROR"
    stop = asyncio.Event()
    serving = asyncio.create_task(hypercorn.asyncio.serve(restate.app([bench]), config, shutdown_trigger=stop.wait))
    await _register(f"{admin}/deployments", f"http://127.0.0.1:{port}")
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, as_argument(job._replace(where=ingress)), "client"
    )
    status = await client.wait()
    stop.set()
    await serving
    if status:
        raise SystemExit(status)


async def _register(address: str, service: str) -> None:
    """Tell the server of the service; it takes a moment until each can be reached."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        said = "nothing"
        for _ in range(50):
            answer = await client.post(address, json={"uri": service})
            if answer.is_success:
                return
            said = answer.text
            await asyncio.sleep(0.2)
    raise SystemExit(f"the server does not take the service: {said}")


def main() -> None:
    """Be the client, or else all the others."""
    job = asked_for()
    if sys.argv[2:] == ["client"]:
        be_client(job)
    else:
        with server(job.where) as (ingress, admin):
            asyncio.run(serve(job, ingress, admin))


if __name__ == "__main__":
    main()
