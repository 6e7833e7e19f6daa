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
from psycopg import sql

from trioflow.errors import StoreError
from trioflow.stores._postgres._connection import TrioConnection
from trioflow.stores._postgres._pool import Pool

LONGEST = 7_500  # bytes of one notification, of 8,000 that PostgreSQL takes
MOST = 100  # topics of one flush, beyond which "everything" says it shorter
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds before the next attempt to listen
PATIENCE = 10.0  # seconds for an attempt to listen
EVERYTHING = "*"


class Listener:
    """Listens on a channel, for ever.

    Args:
        conninfo: of the server itself; a transaction pooler cannot listen.
        channel: where.
        ourselves: whose notifications are none for us.
        heard: called with each topic.
        lost: called whenever anything may have been missed: when listening begins, and begins again.
    """

    def __init__(
        self, conninfo: str, channel: str, ourselves: str, heard: Callable[[str], None], lost: Callable[[], None]
    ) -> None:
        self._conninfo, self._channel, self._ourselves = conninfo, channel, ourselves
        self._heard, self._lost = heard, lost
        self._failures = 0  # since it last listened

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
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            if patience.cancelled_caught:
                return
            self._failures = 0
            self._lost()
            async for notification in connection.notifies():
                self._hear(notification.payload)
        finally:
            connection.drop()

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
            try:
                for payload in payloads(self._ourselves, topics):
                    # Twice does no harm, so it is repeated like a read if its answer is lost.
                    await self._pool.call("SELECT pg_notify(%s, %s)", (self._channel, payload), reads=True)
            except StoreError:
                pass  # others find out when they look by themselves


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
