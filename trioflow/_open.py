"""The front door's verbs: open a runtime or a client on a store. The one place where runtime and client meet.

Laws: a store that is given as a URL is opened here and closed here; an error from the body of an `async with` arrives
as it was raised, if nothing else failed; a failure of the store that several parts of the runtime met is one error.
Who calls it: users. Read next: `_runtime._worker`, `_client._client`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn, final

import attrs
import trio

from trioflow._client import POLL_INTERVAL, Client
from trioflow._runtime import RuntimeOptions, Worker
from trioflow.abc import Env, Instrument, Instruments, Store, StoreCommitted
from trioflow.app import App
from trioflow.errors import StoreError


@final
@attrs.define(eq=False, repr=False)
class Runtime:
    """A running worker and a client of the same store.

    Attributes:
        client: starts orchestrations and asks about them.
        store: where everything is.
    """

    client: Client
    store: Store
    _worker: Worker

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._worker.name

    def __repr__(self) -> str:
        worker = self._worker
        busy = f"turns {worker.turns} | activities {worker.slots} | sessions {worker.sessions}"
        return f"<Runtime {worker.name!r} [{busy}]>"


@asynccontextmanager
async def open_runtime(
    app: App,
    store: Store | str,
    *,
    options: RuntimeOptions | None = None,
    instruments: Sequence[Instrument] | None = None,
    env: Env | None = None,
) -> AsyncIterator[Runtime]:
    """Run orchestrations and activities of `app` for as long as the block lasts.

    Leaving it drains: no new work is taken, running turns end, activities get `options.grace` seconds and are then
    cancelled and left to other runtimes. Leaving it by an exception or a cancellation does not wait: what runs is
    cancelled and given back. What has not ended goes on wherever the store is opened next.

    Args:
        app: what can be run here.
        store: a URL such as "sqlite:shop.db", "memory:", or a store object, which several runtimes may share.
        options: how much at once, and the like.
        instruments: who is told of what happens, such as a `telemetry.OpenTelemetry`; an empty sequence is nobody. If
            not given: OpenTelemetry, where this process has set a tracer or meter provider for all its libraries.
        env: time, randomness and failpoints, for tests.
    """
    world, raised = env or Env(), list[BaseException]()
    async with _opened(store) as opened:
        told = _instruments(instruments)
        client = _client(app, opened, world, told)
        settings = options or RuntimeOptions()
        if settings.poll_interval is None and _in_memory(opened):
            settings = attrs.evolve(settings, poll_interval=math.inf)
        worker = Worker(app=app, store=opened, options=settings, env=world, client=client, instruments=told)
        client.first_turn = worker.first_turn
        with _commits_told(opened, told):
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(worker.run)
                    try:
                        yield Runtime(client, opened, worker)
                    except BaseException as exc:
                        raised.append(exc)
                        raise
                    worker.stop()
            except BaseExceptionGroup as group:
                _raise_alone(group, raised)


async def serve(
    app: App,
    store: Store | str,
    *,
    options: RuntimeOptions | None = None,
    instruments: Sequence[Instrument] | None = None,
    env: Env | None = None,
    task_status: trio.TaskStatus[Runtime] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run orchestrations and activities of `app` until cancelled; for ``await nursery.start(serve, app, store)``."""
    async with open_runtime(app, store, options=options, instruments=instruments, env=env) as runtime:
        task_status.started(runtime)
        await trio.sleep_forever()


@asynccontextmanager
async def connect(
    store: Store | str,
    app: App | None = None,
    *,
    instruments: Sequence[Instrument] | None = None,
    env: Env | None = None,
) -> AsyncIterator[Client]:
    """A client without a runtime: starts, steers and asks; what it starts runs wherever a runtime has the store open.

    Args:
        store: a URL or a store object.
        app: whose names, types and exceptions the client is to know; without one, results are plain data.
        instruments: as for `open_runtime`.
        env: time and randomness, for tests.
    """
    async with _opened(store) as opened:
        yield _client(app or App("client"), opened, env or Env(), _instruments(instruments))


def _client(app: App, store: Store, env: Env, instruments: Instruments) -> Client:
    """A client; it looks unasked only where another process may write."""
    return Client(app, store, env, math.inf if _in_memory(store) else POLL_INTERVAL, instruments)


def _opened(store: Store | str) -> Store:
    """What was given, as a store. Stores are loaded here: a program that opens none pays for none."""
    from trioflow.stores import open_store

    return open_store(store)


def _in_memory(store: Store) -> bool:
    """Whether nobody outside this process can write to it."""
    from trioflow.stores import MemoryStore

    return isinstance(store, MemoryStore)


def _instruments(given: Sequence[Instrument] | None) -> Instruments:
    """Those that were given; else what the process has set up for all its libraries."""
    if given is not None:
        return Instruments(given)
    if "opentelemetry" not in sys.modules:
        return Instruments()  # then nobody can have set a provider, and it need not be imported to find out
    from trioflow.telemetry import OpenTelemetry, configured

    return Instruments([OpenTelemetry()] if configured() else [])


@contextmanager
def _commits_told(store: Store, instruments: Instruments) -> Iterator[None]:
    """Instruments hear what the store's transactions cost, as long as the block lasts."""

    def tell(operations: int, seconds: float) -> None:
        instruments.saw(StoreCommitted(operations=operations, seconds=seconds))

    if not instruments:
        yield
        return
    listeners = store.signals.on_commit
    listeners.append(tell)
    try:
        yield
    finally:
        listeners.remove(tell)


def _raise_alone(group: BaseExceptionGroup[BaseException], raised: Sequence[BaseException]) -> NoReturn:
    """Raise what a nursery's group holds, as it was raised, if that is one exception; `raised` left the block."""
    alone: BaseException = group
    own = _without_cancelled(raised[0]) if raised else None
    same = _same_failure(group, own)
    if same is not None:
        alone = same
    elif own is None:  # the worker's alone, from some nursery deep inside
        while isinstance(alone, BaseExceptionGroup) and len(alone.exceptions) == 1:
            alone = alone.exceptions[0]
    elif len(group.exceptions) == 1:
        alone = group.exceptions[0]
    context = alone.__context__
    try:
        raise alone
    finally:
        alone.__context__ = context
        del alone, context, own, same


def _same_failure(group: BaseExceptionGroup[BaseException], own: BaseException | None) -> StoreError | None:
    """One failure of the store that several parts ran into, the block among them or not; what else they heard is noted.

    None where anything else failed, too.
    """
    leaves = list(_leaves(group))
    first = leaves[0] if own is None else own
    if not isinstance(first, StoreError) or any(type(leaf) is not type(first) for leaf in leaves):
        return None
    for text in dict.fromkeys(map(str, leaves)):
        if text != str(first):
            first.add_note(f"Elsewhere in the runtime: {text}")
    return first


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def _without_cancelled(exc: BaseException) -> BaseException | None:
    """What is left of an exception when trio has taken its cancellations out."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[1]
    return None if isinstance(exc, trio.Cancelled) else exc
