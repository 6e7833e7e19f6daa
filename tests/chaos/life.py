"""A process of a crowd, from its start to its end.

Law: whoever makes one buries it. Who calls it: `many.py`, `test_takeover.py`.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import attrs
import trio

ROOT = pathlib.Path(__file__).parents[2]


@attrs.define(eq=False)
class Life:
    """One process. `said` is the end of what it has said."""

    name: str
    process: trio.Process
    said: bytes = b""
    ready: trio.Event = attrs.field(factory=trio.Event)

    @classmethod
    async def begin(cls, role: str, url: str, ledger: pathlib.Path, name: str, *options: object) -> Life:
        """Start one: see `crowd_process.py`."""
        command = [sys.executable, "-m", "tests.chaos.crowd_process", role, url, str(ledger), name]
        process = await trio.lowlevel.open_process(
            [*command, *map(str, options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return cls(name, process)

    async def listen(self) -> None:
        """Keep what it says, so that it never waits for us, until it has ended."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.said = (self.said + chunk)[-20_000:]
            if b"ready\n" in self.said:
                self.ready.set()

    async def tell_to_end(self) -> None:
        """It is to end in peace."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def bury(self) -> int:
        """Leave nothing of it behind. Returns how it ended."""
        with trio.CancelScope(shield=True):
            if self.process.returncode is None:
                self.process.send_signal(signal.SIGKILL)
            code = await self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                assert stream is not None
                await stream.aclose()
        return code
