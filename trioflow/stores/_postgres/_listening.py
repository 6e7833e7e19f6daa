"""Hints between processes: what one has committed, the others hear of at once. And which names are taken.

Laws: a hint may be lost, so nothing depends on one; it is sent after the commit, from one connection at a time, many
topics in one, since PostgreSQL lets one transaction with a notification commit at a time; whoever could not listen for
a while is told that anything may have changed; silence costs nothing, and nobody speaks where nobody else listens.
Whoever listens says so, and holds that and the names of its workers by locks of the session that the server gives up
with the connection.

Who calls it: `_store.py`. Read next: `trioflow.abc.Signals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import attrs
import psycopg
import trio
from psycopg import sql

from trioflow.errors import StoreError
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._pool import Pool

LONGEST = 7_500  # bytes of one notification, of 8,000 that PostgreSQL takes
MOST = 100  # topics of one flush, beyond which "everything" says it shorter
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds before the next attempt to listen
PATIENCE = 10.0  # seconds for an attempt to listen
CLAIM_PATIENCE = 4.0  # seconds for an answer to a claim: to connect, and to wait for a lock
LOOK_EVERY = 30.0  # seconds between looks at whether those who listened have gone, while there is something to tell
EVERYTHING = "*"


SESSION = """
    SELECT set_config('lock_timeout', '2000', false), set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)
"""
# A process that has just died may hold its name for a moment, and a machine that has for as long as the server believes
# in the connection.
LOCK = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# All who listen share a lock, so that whoever could have it alone is alone.
JOIN = "SELECT pg_advisory_lock_shared(hashtextextended(%s, 1))"
IS_ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))"
NOTIFY = "SELECT pg_notify(%s, %s)"


@attrs.define(eq=False)
class Claim:
    """A worker's name that is wanted."""

    decided: trio.Event = attrs.field(factory=trio.Event)
    refused: bool = False


class Listener:
    """Listens on a channel, for ever.

    Args:
        conninfo: of the server itself; a transaction pooler cannot listen.
        channel: where.
        ourselves: whose notifications are none for us.
        heard: called with each topic.
        lost: called whenever anything may have been missed: when listening begins, and begins again.
        joined: called when somebody begins to listen who may have missed what nobody was told.

    Attributes:
        is_alone: nobody else listens. Until that is known, somebody may.
    """

    def __init__(
        self,
        conninfo: str,
        channel: str,
        ourselves: str,
        heard: Callable[[str], None],
        lost: Callable[[], None],
        joined: Callable[[], None],
    ) -> None:
        self._conninfo, self._channel, self._ourselves = conninfo, channel, ourselves
        self._heard, self._lost, self._joined = heard, lost, joined
        self.is_alone = False
        self._looked = -math.inf  # when it was last seen whether it is so
        self._failures = 0  # since it last listened
        self._claims: dict[str, Claim] = {}  # by the name of a worker
        self._hearing = trio.CancelScope()  # ended when claims have changed
        self._changed = False  # since they were last looked at

    async def claim(self, worker: str) -> bool:
        """Take a worker's name; False if somebody else has it. A checkpoint.

        It is ours until `give_back` as long as the connection lasts, and taken again with the next. Where nobody can
        tell in time, since the server cannot be reached there, it is as good as free.
        """
        claim = self._claims[worker] = Claim()
        self._look_at_claims()
        with trio.move_on_after(CLAIM_PATIENCE):
            await claim.decided.wait()
        return not claim.refused

    def give_back(self, worker: str) -> None:
        """Let others have the name, soon."""
        self._claims.pop(worker, None)
        self._look_at_claims()

    def look_around(self) -> None:
        """Others were told: see now and then whether they are still there."""
        if trio.current_time() - self._looked >= LOOK_EVERY:
            self._look_at_claims()

    def _look_at_claims(self) -> None:
        self._changed = True
        self._hearing.cancel()

    async def run(self) -> None:
        """Listen until cancelled; a connection that is lost is made again. Raises nothing of the way to the server."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError):
                pass  # said by whoever needs an answer of the server
            await trio.sleep(PAUSES[min(self._failures, len(PAUSES) - 1)])
            self._failures += 1

    async def _listen(self) -> None:
        connection = await TrioConnection.connect(self._conninfo, patience=PATIENCE)
        try:
            with trio.move_on_after(PATIENCE) as patience:
                await connection.execute(SESSION)
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                await connection.execute(JOIN, (self._channel,))
                await connection.execute(NOTIFY, (self._channel, self._ourselves))
                await self._look(connection)
            if patience.cancelled_caught:
                return
            self._failures = 0
            self._lost()
            held: dict[str, None] = {}
            while True:
                self._changed = False
                await self._look(connection)
                await self._settle(connection, held)
                with trio.CancelScope() as self._hearing:
                    if self._changed:
                        continue
                    async for notification in connection.notifies():
                        self._hear(notification.payload)
        finally:
            self.is_alone, self._looked = False, -math.inf
            connection.drop()

    async def _look(self, connection: TrioConnection) -> None:
        """See whether somebody else listens. Whoever joins later says so later, and is heard after this."""
        if not self.is_alone and trio.current_time() - self._looked >= LOOK_EVERY:
            cursor = await connection.execute(IS_ALONE, (self._channel,))
            self.is_alone, self._looked = await cursor.fetchone() == (True,), trio.current_time()

    async def _settle(self, connection: TrioConnection, held: dict[str, None]) -> None:
        """Lock and unlock until what this connection holds is what is claimed, as far as others let it."""
        for worker in [name for name in held if name not in self._claims]:
            del held[worker]
            await connection.execute(UNLOCK, (f"{self._channel}/{worker}",))
        for worker, claim in list(self._claims.items()):
            if worker not in held and await self._lock(connection, worker):
                held[worker] = None
            if not claim.decided.is_set():  # what was granted is not refused when it is taken anew
                claim.refused = worker not in held
                claim.decided.set()

    async def _lock(self, connection: TrioConnection, worker: str) -> bool:
        try:
            await connection.execute(LOCK, (f"{self._channel}/{worker}",))
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _hear(self, payload: str) -> None:
        sender, *topics = payload.split("\n")
        if sender == self._ourselves:
            return
        if not topics and self.is_alone:
            self.is_alone = False
            self._joined()
        for topic in topics:
            if topic == EVERYTHING:
                self._lost()
            else:
                self._heard(topic)


class Announcer:
    """Tells other processes which topics were bumped here.

    Args:
        pool: for one statement at a time.
        channel: where.
        ourselves: who sends.
        listener: who knows whether anybody else listens.
    """

    def __init__(self, pool: Pool, channel: str, ourselves: str, listener: Listener | None = None) -> None:
        self._pool, self._channel, self._ourselves, self._listener = pool, channel, ourselves, listener
        self._topics: dict[str, None] = {}
        self._some = trio.Event()

    def announce(self, topic: str) -> None:
        """Tell it soon, together with what comes meanwhile, if there is anybody to tell."""
        if self._listener is None or not self._listener.is_alone:
            self._topics[topic] = None
            self._some.set()

    def announce_everything(self) -> None:
        """Tell that anything may have changed."""
        self.announce(EVERYTHING)

    async def run(self) -> None:
        """Tell what was announced, until cancelled. What cannot be told is forgotten."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            topics, self._topics = self._topics, {}
            try:
                for payload in payloads(self._ourselves, topics):
                    # Twice does no harm, so it is repeated like a read if its answer is lost.
                    await self._pool.call(NOTIFY, (self._channel, payload), reads=True)
            except StoreError:
                pass  # others find out when they look by themselves
            if self._listener is not None:
                self._listener.look_around()


def payloads(sender: str, topics: Iterable[str]) -> list[str]:
    """The topics, one a line after the sender's, in as few notifications as they fit into."""
    lines = dict.fromkeys(topic if _fits(topic, sender) else EVERYTHING for topic in topics)
    if len(lines) > MOST or EVERYTHING in lines:
        return [f"{sender}\n{EVERYTHING}"]
    made: list[str] = []
    payload = sender
    for line in lines:
        if len(f"{payload}\n{line}".encode()) > LONGEST:
            made.append(payload)
            payload = sender
        payload = f"{payload}\n{line}"
    return [*made, payload]


def _fits(topic: str, sender: str) -> bool:
    """Whether it can be a line of a notification."""
    return topic.isprintable() and len(f"{sender}\n{topic}".encode()) <= LONGEST
