"""Hints between processes: what one has committed, the others hear of at once.

Laws: a hint may be lost, so nothing depends on one; it is sent after the commit, from one connection at a time, many
topics in one, since PostgreSQL lets one transaction with a notification commit at a time; whoever could not listen for
a while is told that anything may have changed; silence costs nothing.

Who calls it: `_store.py`. Read next: `trioflow.abc.Signals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import psycopg
import trio

from trioflow.errors import StoreError
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._pool import Pool

LONGEST = 7_000  # bytes of one notification, of 8,000 that PostgreSQL takes
MOST = 100  # topics of one flush, beyond which "everything" says it shorter
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds before the next attempt to listen
EVERYTHING = "*"


class Listener:
    """Listens on a channel, for ever.

    Args:
        conninfo: of the server itself; a transaction pooler cannot listen.
        channel: where.
        ourselves: whose notifications are none for us.
        heard: called with each topic.
        lost: called whenever anything may have been missed.
    """

    def __init__(
        self, conninfo: str, channel: str, ourselves: str, heard: Callable[[str], None], lost: Callable[[], None]
    ) -> None:
        self._conninfo, self._channel, self._ourselves = conninfo, channel, ourselves
        self._heard, self._lost = heard, lost

    async def run(self) -> None:
        """Listen until cancelled; a connection that is lost is made again."""
        failures = 0
        while True:
            try:
                connection = await TrioConnection.connect(self._conninfo)
                try:
                    await connection.execute(f'LISTEN "{self._channel}"')
                    self._lost()
                    failures = 0
                    async for notification in connection.notifies():
                        self._hear(notification.payload)
                finally:
                    connection.pgconn.finish()
            except (psycopg.Error, OSError):
                self._lost()
            await trio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def _hear(self, payload: str) -> None:
        sender, *topics = payload.split("\n")
        if sender == self._ourselves:
            return
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
    """

    def __init__(self, pool: Pool, channel: str, ourselves: str) -> None:
        self._pool, self._channel, self._ourselves = pool, channel, ourselves
        self._topics: dict[str, None] = {}
        self._some = trio.Event()

    def announce(self, topic: str) -> None:
        """Tell it soon, together with what comes meanwhile."""
        self._topics[topic] = None
        self._some.set()

    async def run(self) -> None:
        """Tell what was announced, until cancelled. What cannot be told is forgotten."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            topics, self._topics = self._topics, {}
            for payload in self._payloads(topics):
                try:
                    await self._pool.call("SELECT pg_notify(%s, %s)", (self._channel, payload), reads=True)
                except StoreError:
                    break  # others find out when they look by themselves

    def _payloads(self, topics: Iterable[str]) -> list[str]:
        """The topics, in as few notifications as they fit into."""
        topics = list(topics)
        if len(topics) > MOST:
            topics = [EVERYTHING]
        payloads, lines, size = [], [self._ourselves], 0
        for topic in topics:
            length = len(topic.encode()) + 1
            if length > LONGEST:
                topic, length = EVERYTHING, 2
            if size + length > LONGEST:
                payloads.append("\n".join(lines))
                lines, size = [self._ourselves], 0
            lines.append(topic)
            size += length
        return [*payloads, "\n".join(lines)]
