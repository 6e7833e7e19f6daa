"""The store in PostgreSQL: many processes on many machines share a schema.

Laws: a verb is one statement, so it is carried out or it is not, and no transaction is ever open between two round
trips; all times are the server's; a hint to other processes is sent after the commit, apart from it, and may be lost.

Must never know: SQL beyond the name of a function. Who calls it: runtimes and clients. Read next: `_requests.py`,
`schema/0004_turns.sql`, `_pool.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, final

import trio

from trioflow.abc import (
    ACTIVITIES,
    TURNS,
    ActivitiesCommitted,
    ActivitiesRenewed,
    CommitActivities,
    CommitTurn,
    Env,
    EventRow,
    InstanceRecord,
    LockActivities,
    LockTurns,
    LockedActivities,
    LockedTurns,
    PostMessage,
    ReleaseActivity,
    ReleaseTurn,
    RenewActivities,
    RenewTurns,
    Signals,
    StartInstance,
    Started,
    TurnCommitted,
    TurnsRenewed,
    activity_topic,
    instance_topic,
)
from trioflow.errors import ConfigurationError, StoreError
from trioflow.stores._postgres import _answers as answers, _requests as requests
from trioflow.stores._postgres._lodger import Lodger
from trioflow.stores._postgres._migrating import check_schema_name, open_schema
from trioflow.stores._postgres._statements import STATEMENTS
from trioflow.stores._rules import MEMORY_OF_REQUESTS, TIDY_EVERY, check_commit, check_message, check_start, is_id

if TYPE_CHECKING:
    from trioflow.stores._postgres._connection import TrioConnection

Row = tuple[Any, ...]
L = TypeVar("L")


@final
class PostgresStore:
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
        ConfigurationError: the schema's name is none, or the connection string cannot be understood.
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
        self._schema, self._durability, self._clock = schema, durability, clock
        self._env = Env() if env is None else env
        self._signals = Signals()
        self._users = 0  # those who are on their way in included
        self._is_open = False
        self._door = trio.Lock()  # whoever opens or closes
        self._token: trio.lowlevel.TrioToken | None = None  # of the trio run that has it open
        self._tidied = -math.inf
        driver = _driver()
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
            self._listener = driver.Listener(where, channel, ourselves, self._signals.bump, self._signals.bump_all)
        self._announcer = driver.Announcer(self._pool, channel, ourselves)
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

    async def _call(self, verb: str, *parameters: object, reads: bool = False) -> list[Row]:
        if self._token is not trio.lowlevel.current_trio_token() or not self._users:
            raise StoreError(f"{self!r} is not open here. Use it inside `async with store:`.")
        before = None if self._clock is None else f"SELECT set_config('trioflow.now', '{self._clock()!r}', false)"
        rows: list[Row] = await self._pool.call(self._texts[verb], parameters, reads=reads, before=before)
        return rows

    def _tell(self, topics: Iterable[str]) -> None:
        """Wake those in this process at once, and the others soon."""
        for topic in topics:
            self._signals.bump(topic)
            self._announcer.announce(topic)

    def _tell_reached(self, instances: list[str] | None) -> None:
        """Something was posted to these."""
        if instances:
            self._tell((TURNS, *map(instance_topic, instances)))

    async def register_worker(self, worker: str) -> None:
        """Nothing to note: a dead worker is noticed by its leases."""
        await trio.lowlevel.checkpoint()

    async def unregister_worker(self, worker: str) -> None:
        """See `register_worker`."""
        await trio.lowlevel.checkpoint()

    # -- clients

    async def start_instance(self, request: StartInstance) -> Started:
        """See `Store`."""
        check_start(request)
        (row,) = await self._call("start_instance", *requests.start_instance(request))
        answer = answers.started(request, row)
        if answer.created:
            self._tell((TURNS, instance_topic(request.instance)))
        return answer

    async def post_message(self, request: PostMessage) -> None:
        """See `Store`."""
        check_message(request.message)
        (row,) = await self._call("post_message", *requests.post_message(request))
        answers.check_posted(request, row)
        self._tell((TURNS, instance_topic(request.message.instance)))

    # -- turns

    async def lock_turns(self, request: LockTurns) -> LockedTurns:
        """See `Store`."""
        await self._tidy()
        rows = await self._call("lock_turns", *requests.lock_turns(request, self._env.token()))
        self._tell_reached(rows[0][2])  # others, too: it may be theirs to run
        return answers.locked_turns(rows)

    async def _tidy(self) -> None:
        """Now and then: forget what was answered an hour ago."""
        now = trio.current_time()
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            await self._call("forget_before", MEMORY_OF_REQUESTS)

    async def commit_turn(self, request: CommitTurn) -> TurnCommitted:
        """See `Store`."""
        check_commit(request)
        (row,) = await self._call("commit_turn", *requests.commit_turn(request))
        answer = answers.committed(request, row)
        reached, turns = row[8], row[9]
        topics = dict.fromkeys(instance_topic(instance) for instance in (request.lock.instance, *(reached or ())))
        topics |= dict.fromkeys(activity_topic(lock.token) for lock in answer.hurt)
        topics |= dict.fromkeys(instance_topic(start.instance) for start in request.starts)
        if turns or answer.hurt:
            topics[TURNS] = None
        if request.activities or any(settle.retry_in is not None for settle in request.settle):
            topics[ACTIVITIES] = None
        self._tell(topics)
        return answer

    async def release_turn(self, request: ReleaseTurn) -> None:
        """See `Store`."""
        ((eligible,),) = await self._call("release_turn", *requests.release_turn(request))
        if eligible:
            self._tell((TURNS,))

    async def renew_turns(self, request: RenewTurns) -> TurnsRenewed:
        """See `Store`."""
        ((lost,),) = await self._call("renew_turns", *requests.renew_turns(request))
        return TurnsRenewed(lost=_chosen(request.locks, lost))

    # -- activities

    async def lock_activities(self, request: LockActivities) -> LockedActivities:
        """See `Store`."""
        rows = await self._call("lock_activities", *requests.lock_activities(request, self._env.token()))
        self._tell_reached(rows[0][2])
        return answers.locked_activities(rows)

    async def commit_activities(self, request: CommitActivities) -> ActivitiesCommitted:
        """See `Store`."""
        ((now, lost, reached, retried),) = await self._call(
            "commit_activities", *requests.commit_activities(request.settle)
        )
        self._tell_reached(reached)
        if retried:
            self._tell((ACTIVITIES,))
        return ActivitiesCommitted(now=now, lost=_chosen([settle.lock for settle in request.settle], lost))

    async def release_activity(self, request: ReleaseActivity) -> None:
        """See `Store`."""
        ((reached, freed),) = await self._call("release_activity", *requests.release_activity(request))
        self._tell_reached(reached)
        if freed:
            self._tell((ACTIVITIES,))

    async def renew_activities(self, request: RenewActivities) -> ActivitiesRenewed:
        """See `Store`."""
        ((lost, cancelled),) = await self._call("renew_activities", *requests.renew_activities(request))
        return ActivitiesRenewed(lost=_chosen(request.locks, lost), cancelled=_chosen(request.locks, cancelled))

    # -- reading

    async def read_instance(self, instance: str) -> InstanceRecord | None:
        """See `Store`."""
        if not is_id(instance):
            return None
        rows = await self._call("read_instance", instance, reads=True)
        return answers.instance_record(rows[0]) if rows else None

    async def read_history(
        self, instance: str, execution: int, *, after: int = 0, limit: int | None = None
    ) -> tuple[EventRow, ...]:
        """See `Store`."""
        if not is_id(instance):
            return ()
        rows = await self._call("read_history", instance, execution, after, limit, reads=True)
        return tuple(EventRow(*row) for row in rows)

    async def read_kv(self, instance: str) -> dict[str, bytes]:
        """See `Store`."""
        return dict(await self._call("read_kv", instance, reads=True)) if is_id(instance) else {}

    async def read_clock(self) -> float:
        """See `Store`."""
        ((now,),) = await self._call("clock", reads=True)
        return float(now)


def _driver() -> Any:
    """What needs psycopg, which those who use no PostgreSQL need not have."""
    try:
        from trioflow.stores._postgres import _driver as driver
    except ImportError as exc:
        raise ConfigurationError(
            f"A PostgreSQL store needs psycopg ({exc}). Install it with: pip install 'trioflow[postgres]'"
        ) from exc
    return driver


def _chosen(locks: Sequence[L], places: Sequence[int]) -> tuple[L, ...]:
    return tuple(locks[place] for place in places)


async def _relax(connection: TrioConnection) -> None:
    """Do not wait for the server's disk."""
    await connection.execute("SET synchronous_commit = off")
