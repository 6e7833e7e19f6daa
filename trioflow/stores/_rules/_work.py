"""One verb's work inside one transaction: the rows it has touched, and whom to tell afterwards.

Laws: an instance's row is read once and written at `finish`, which is also the only place that computes `due_at`;
a message that cannot be delivered is dropped or refused where it is posted; hints are only given out after the commit.

Must never know: which kind of tables it works on. Who calls it: the rules, and a store's `apply`.
Read next: `_starts.py`, `_turns.py`, `_activities.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import attrs

from trioflow.abc import ACTIVITIES, LEASED, TURNS, Draft, OutMessage, activity_topic, end_topic, instance_topic
from trioflow.history import ActivityCancelled, EventCodec
from trioflow.stores._rules._checks import is_id
from trioflow.stores._rules._rows import CANCEL, START, ActivityRow, InstanceRow, StoredMessage, due_at_of
from trioflow.stores._rules._tables import Tables

R = TypeVar("R")
A = TypeVar("A")

MEMORY_OF_REQUESTS = 3600.0  # seconds that an answered request is remembered at least
TIDY_EVERY = 60.0  # seconds between two looks for answers that may be forgotten


@functools.cache
def _codec() -> EventCodec:
    """Dear to make: a hundredth of a second."""
    return EventCodec()


def activity_cancelled(event_id: int, how: str) -> Draft:
    """The one event that a store has to word itself: nobody else is there to say that an item is gone."""
    return Draft(*_codec().encode(ActivityCancelled(answers=event_id, how=how)))


@attrs.define(eq=False)
class Work:
    """What a rule works with. `finish` before the commit; `hints` are for after it."""

    tables: Tables
    now: float
    _random_token: Callable[[], str]
    hints: dict[str, None] = attrs.field(factory=dict)  # topics to bump, in order, each once
    _rows: dict[str, InstanceRow] = attrs.field(factory=dict)  # each instance that was read
    _touched: dict[str, InstanceRow] = attrs.field(factory=dict)  # each that is to be written
    _news: dict[str, None] = attrs.field(factory=dict)  # those of which clients and holders want to hear

    def new_token(self) -> str:
        """A token, unique for ever: 80 random bits behind the time, so that those kept for an hour lie side by side."""
        return f"{int(self.now * 1000):012x}{self._random_token()[12:]}"

    def instance(self, instance: str) -> InstanceRow | None:
        """The row of an instance; the same object each time."""
        row = self._rows.get(instance)
        if row is None:
            row = self.tables.instance(instance)
            if row is not None:
                self._rows[instance] = row
        return row

    def touch(self, row: InstanceRow, *, news: bool = True) -> None:
        """This row has changed (or will have, by the end of the work). Leases alone are no news."""
        self._rows[row.instance] = self._touched[row.instance] = row
        if news:
            self._news[row.instance] = None

    def finish(self) -> None:
        """Write the rows that were touched. May be called in between, before a list is read."""
        for row in self._touched.values():
            before, row.due_at = row.due_at, due_at_of(row, self.now)
            self.tables.update_instance(row)
            # A held instance is worth a hint only when the time at which it falls free has just become known.
            if row.due_at is not None and (before is None or row.due_at < before or row.lock_token is None):
                held = row.lock_token is not None and row.due_at > self.now
                self.hints[LEASED if held else TURNS] = None
        for instance in self._news:
            self.hints[instance_topic(instance)] = None
            known = self._rows.get(instance)
            if known is None or known.state.ended or known.state.held:
                self.hints[end_topic(instance)] = None
        self._touched.clear()
        self._news.clear()

    def remove(self, row: InstanceRow) -> None:
        """Remove an instance and all that belongs to it."""
        for item in self.tables.all_activities(row.instance):
            if item.lock_token is not None:
                self.hint_holder(item.lock_token)
        self.tables.remove_instance(row)
        self._rows.pop(row.instance, None)
        self._touched.pop(row.instance, None)
        self._news[row.instance] = None

    # -- messages

    def deliver(self, message: OutMessage) -> None:
        """Post a message; drop it where its target is unknown, has ended, or is not the one that is meant."""
        row = self.instance(message.instance) if is_id(message.instance) else None
        if row is None or row.state.ended:
            return
        if message.execution is not None and message.execution != row.execution:
            return
        if message.child_of is not None and message.child_of != self.tables.instance_details(row.instance)[0]:
            return
        self.put_message(row, message)

    def put_message(self, row: InstanceRow, message: OutMessage, *, first: bool = False) -> None:
        """Put a message at the end of an inbox, or before what is already there."""
        seq = row.next_seq
        if first and row.queued:
            lowest = self.tables.inbox(row.instance).first_seq
            seq = seq if lowest is None else lowest - 1
        else:
            row.next_seq += 1
        stored = StoredMessage(seq, self.now, message.execution, message.control, message.mailbox, message.draft)
        self.tables.put_message(row.instance, stored)
        if first:
            self.count_inbox(row)  # what waited there may control it now
            return
        row.queued += 1
        row.mail, row.mail_bytes = row.mail + message.mailbox, row.mail_bytes + stored.size
        if row.first_at is None:
            row.first_at = self.now
        if row.control_at is None and stored.controls(begun=not self._is_yet_to_begin(row, message)):
            row.control_at = self.now
        self.touch(row)

    def _is_yet_to_begin(self, row: InstanceRow, message: OutMessage) -> bool:
        """Whether the start of the execution waits in the inbox; asked for cancellations only."""
        return message.draft.kind == CANCEL and self.tables.has_message(row.instance, START)

    def count_inbox(self, row: InstanceRow) -> None:
        """Make the row's figures agree with its inbox after messages were removed."""
        inbox = self.tables.inbox(row.instance)
        row.queued, row.mail, row.mail_bytes = inbox.queued, inbox.mail, inbox.mail_bytes
        row.first_at, row.control_at = inbox.first_at, inbox.control_at
        self.touch(row)

    # -- activities

    def report_cancelled(self, item: ActivityRow, how: str) -> None:
        """Tell the orchestration that an item which is being removed has ended by its cancellation."""
        self.deliver(
            OutMessage(instance=item.instance, execution=item.execution, draft=activity_cancelled(item.event_id, how))
        )

    def hint_activities(self) -> None:
        """An item may have become eligible, now or at a time not known before."""
        self.hints[ACTIVITIES] = None

    def hint_leased(self) -> None:
        """An item has a lease that nobody asked for, and so a time at which it may fall free."""
        self.hints[LEASED] = None

    def hint_turns(self) -> None:
        """An instance may have become eligible by what was done to an item."""
        self.hints[TURNS] = None

    def hint_holder(self, token: str) -> None:
        """The holder of an item has something to hear."""
        self.hints[activity_topic(token)] = None


Rule = Callable[[Work, R], A]
"""What a verb means: it works inside a transaction and answers, or raises; then the transaction is to be undone."""


@attrs.define(eq=False)
class Tidying:
    """When answers were last forgotten."""

    _last: float | None = None

    def run(self, tables: Tables, now: float) -> None:
        """Forget old answers, now and then."""
        if self._last is None or not 0 <= now - self._last < TIDY_EVERY:
            self._last = now
            tables.forget_before(now - MEMORY_OF_REQUESTS)
