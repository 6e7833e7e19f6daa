"""A TCP connection to a server with somebody in between: can hold back either direction, cut the line, or speak TLS.

Laws: nothing waits for a time: a test waits until something *is* held, then does what it came for.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from trio.abc import Stream

ASK_FOR_TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # what a client sends before everything else


@attrs.define(eq=False)
class Direction:
    """What flows from the client to the server, or back."""

    seconds: float = 0.0  # that everything takes longer
    passed: int = 0  # bytes
    _open: trio.Event | None = None  # set when it flows again; None while it flows
    _held: trio.Event = attrs.field(factory=trio.Event)

    def hold(self) -> None:
        """Let nothing through from now on."""
        self._open, self._held = trio.Event(), trio.Event()

    def flow(self) -> None:
        """Let through what was held, and everything from now on."""
        assert self._open is not None
        self._open.set()
        self._open = None

    async def something_held(self) -> None:
        """Wait until something was held back."""
        await self._held.wait()

    async def pump(self, source: Stream, sink: Stream) -> None:
        while data := await source.receive_some():
            if self.seconds:
                await trio.sleep(self.seconds)
            while self._open is not None:
                self._held.set()
                await self._open.wait()
            await sink.send_all(data)
            self.passed += len(data)


@attrs.define(eq=False)
class Proxy:
    """Listens on a port of this machine and passes everything on."""

    port: int
    requests: Direction = attrs.field(factory=Direction)
    answers: Direction = attrs.field(factory=Direction)
    connections: int = 0  # accepted so far
    refusing: bool = False  # new connections are closed at once
    tls: ssl.SSLContext | None = None  # what to speak with the client; the server is spoken to in the clear
    _lines: list[trio.CancelScope] = attrs.field(factory=list)

    def cut(self) -> None:
        """End every connection that there is."""
        for line in self._lines:
            line.cancel()

    async def pass_on(self, client: Stream, port: int) -> None:
        self.connections += 1
        if self.refusing:
            return
        with trio.CancelScope() as line:
            self._lines.append(line)
            try:
                if self.tls is not None:
                    assert await client.receive_some(8) == ASK_FOR_TLS
                    await client.send_all(b"S")
                    client = trio.SSLStream(client, self.tls, server_side=True, https_compatible=True)
                await self._pump_both(client, await trio.open_tcp_stream("127.0.0.1", port))
            except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                pass  # one of both has hung up
        self._lines.remove(line)

    async def _pump_both(self, client: Stream, server: Stream) -> None:
        async def pump(way: Direction, source: Stream, sink: Stream) -> None:
            await way.pump(source, sink)
            nursery.cancel_scope.cancel()

        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(pump, self.requests, client, server)
            nursery.start_soon(pump, self.answers, server, client)


@asynccontextmanager
async def open_proxy(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine, for the length of a block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = Proxy(listener.socket.getsockname()[1], tls=tls)

        async def serve(client: trio.SocketStream) -> None:
            async with client:
                await proxy.pass_on(client, port)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
