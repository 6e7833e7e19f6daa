"""The store in PostgreSQL: many processes on many machines share a schema.

Laws: a verb is one statement, so it is carried out or it is not, and no transaction is ever open between two round
trips, whoever shares it; all times are the server's; a hint to other processes is sent after the commit, apart from it,
and may be lost.

Must never know: SQL beyond the name of a function. Who calls it: runtimes and clients. Read next: `_verbs.py`,
`_pool.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, final

import trio

from trioflow._util import MANY, is_count, shown
from trioflow.abc import Env, Signals
from trioflow.errors import ConfigurationError, StoreError
from trioflow.stores._postgres._lodger import Lodger
from trioflow.stores._postgres._migrating import check_schema_name, open_schema
from trioflow.stores._postgres._statements import STATEMENTS
from trioflow.stores._postgres._verbs import PostgresVerbs
from trioflow.stores._refusals import check_seconds, worker_in_use
from trioflow.stores._rules import MEMORY_OF_REQUESTS, TIDY_EVERY

if TYPE_CHECKING:
    from trioflow.stores._postgres._connection import TrioConnection

Row = tuple[Any, ...]
SET_CLOCK = "SELECT set_config('trioflow.now', %s, false)"


@final
class PostgresStore(PostgresVerbs):
    """A store in a schema of a PostgreSQL database, version 13 or later.

    Args:
        conninfo: a URL or a connection string of libpq, such as "postgresql://user@host/database". What it leaves out
            comes from the environment (`PGHOST`, `PGPASSWORD`, ...) as with every program that uses libpq.
        schema: the schema that holds the tables; it is made if it is not there. One schema is one store.
        durability: "full" survives what the server's own settings survive and refuses a server that does not wait for
            its disk; "fast" does not wait, and may lose the last moments when the server dies.
        connections: how many to open at most, one more to listen apart.
        patience: seconds to wait for a connection before `StoreUnavailable` is raised.
        limit: seconds that one statement may take.
        pooled: the address is a transaction pooler's: nothing is prepared on the server and nobody listens, so that
            other processes are heard by polling alone; give `listen` an address of the server itself to hear them.
        listen: where to listen, if not at `conninfo`.
        clock: the store's clock, for tests; the server's if not given.
        env: the world that tokens come from.

    Raises:
        ConfigurationError: the schema's name is none, the connection string cannot be understood, or a figure makes no
            sense.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str = "trioflow",
        durability: Literal["full", "fast"] = "full",
        connections: int = 8,
        patience: float = 5.0,
        limit: float = 30.0,
        pooled: bool = False,
        listen: str | None = None,
        clock: Callable[[], float] | None = None,
        env: Env | None = None,
    ) -> None:
        if durability not in ("full", "fast"):
            raise ConfigurationError(f'durability is {durability!r}; it has to be "full" or "fast".')
        check_schema_name(schema)
        check_seconds("patience", patience)
        check_seconds("limit", limit)
        if not is_count(connections):
            raise ConfigurationError(
                f"connections= must be a whole number, at least 1 and at most {MANY:,}, not {shown(connections)}"
            )
        self._schema, self._durability, self._clock = schema, durability, clock
        self._env = Env() if env is None else env
        self._signals = Signals()
        self._workers: dict[str, None] = {}  # that are alive, as far as this object knows
        self._users = 0  # those who are on their way in included
        self._is_open = False
        self._door = trio.Lock()  # whoever opens or closes
        self._token: trio.lowlevel.TrioToken | None = None  # of the trio run that has it open
        self._tidied = -math.inf
        driver = _driver()
        self._question = driver.Question
        self._pool = driver.Pool(
            conninfo, size=connections, patience=patience, limit=limit, prepare=not pooled,
            setup=_relax if durability == "fast" and not pooled else None,
        )  # fmt: skip
        quoted = '"' + schema.replace('"', '""') + '"'
        self._texts = {verb: text.format(quoted) for verb, text in STATEMENTS.items()}
        where = conninfo if listen is None and not pooled else listen
        channel, ourselves = f"trioflow/{schema}", self._env.token()
        self._listener = None
        if where is not None:
            self._listener = driver.Listener(
                where, channel, ourselves, self._signals.bump, self._signals.bump_all, self._greet
            )
        self._announcer = driver.Announcer(self._pool, channel, ourselves, self._listener)
        self._lodger = Lodger(self._exchange_hints)

    @property
    def signals(self) -> Signals:
        """Hints that something changed."""
        return self._signals

    # -- opening and closing

    async def __aenter__(self) -> Self:
        token = trio.lowlevel.current_trio_token()
        if self._users and self._token is not token:
            raise StoreError(f"{self!r} is open in another trio run. Give each run a store of its own.")
        self._token = token
        self._users += 1
        try:
            async with self._door:
                if not self._is_open:
                    await self._open()
        except BaseException:
            await self._go()
            raise
        await self._lodger.enter()
        return self

    async def _open(self) -> None:
        self._tidied = -math.inf  # each trio run has a clock of its own
        await self._pool.__aenter__()
        try:
            await open_schema(self._pool, self._schema, self._durability)
        except BaseException:
            await self._pool.__aexit__(None, None, None)
            raise
        self._is_open = True

    async def _go(self) -> None:
        """One user less. The last one closes, and whoever comes meanwhile waits until that is done."""
        with trio.CancelScope(shield=True):
            async with self._door:
                if self._users == 1 and self._is_open:
                    self._is_open = False
                    await self._pool.__aexit__(None, None, None)
                self._users -= 1

    def _greet(self) -> None:
        self._announcer.announce_everything()

    async def _exchange_hints(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announcer.run)
            if self._listener is not None:
                nursery.start_soon(self._listener.run)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self._lodger.leave()
        finally:
            await self._go()

    def __repr__(self) -> str:
        return f"<PostgresStore {self._pool.address} schema {self._schema!r} {self._durability} [open {self._users}]>"

    # -- calls

    async def _call(self, verb: str, *parameters: object, reads: bool = False, key: str | None = None) -> list[Row]:
        if self._token is not trio.lowlevel.current_trio_token() or not self._users:
            raise StoreError(f"{self!r} is not open here. Use it inside `async with store:`.")
        before = None if self._clock is None else self._question(SET_CLOCK, (repr(self._clock()),))
        began = self._env.ticks()
        text = self._texts[verb]
        rows: list[Row] = await self._pool.call(text, parameters, reads=reads, before=before, key=key)
        if not reads:
            self._signals.committed(1, self._env.ticks() - began)
        return rows

    def _tell(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._signals.bump(topic)
            self._announcer.announce(topic)

    def _random_token(self) -> str:
        return self._env.token()

    async def _tidy(self) -> None:
        now = trio.current_time()
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            await self._call("forget_before", MEMORY_OF_REQUESTS)

    async def register_worker(self, worker: str) -> None:
        """See `Store`. Where nobody listens, as behind a transaction pooler, only workers of this object are told
        apart. What a dead worker held is free when its leases run out.
        """
        await trio.lowlevel.checkpoint()
        if worker in self._workers:
            raise worker_in_use(worker)
        self._workers[worker] = None
        free = False
        try:
            free = self._listener is None or await self._listener.claim(worker)
        finally:
            if not free:
                self._let_go(worker)
        if not free:
            raise worker_in_use(worker)

    async def unregister_worker(self, worker: str) -> None:
        """See `Store`."""
        self._let_go(worker)
        await trio.lowlevel.checkpoint()

    def _let_go(self, worker: str) -> None:
        self._workers.pop(worker, None)
        if self._listener is not None:
            self._listener.give_back(worker)


def _driver() -> Any:
    """What needs psycopg, which those who use no PostgreSQL need not have."""
    try:
        from trioflow.stores._postgres import _driver as driver
    except ImportError as exc:
        raise ConfigurationError(
            f"A PostgreSQL store needs psycopg ({exc}). Install it with: pip install 'trioflow[postgres]'"
        ) from exc
    return driver


async def _relax(connection: TrioConnection) -> None:
    """Do not wait for the server's disk."""
    await connection.execute("SET synchronous_commit = off")
