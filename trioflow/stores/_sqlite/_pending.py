"""What a transaction of the writer has yet to write, and the rows that it knows already.

Laws: nothing is written one by one that can be written together: rows to insert, to change or to remove wait here until
a statement could see them, or until the end of the transaction; a row that is read by its key is read here first, so
what waits is never missed; what a member of a batch has added is taken back without SQLite, unless some of it was
written meanwhile; nothing is known from one transaction to the next, since other processes write the file, too.

Must never know: what a rule is. Who calls it: `_database.py`, for its transactions; `_tables.py` and `_activities.py`,
for rows. Read next: `_bulk.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import attrs

from trioflow.stores._sqlite import _bulk

Row = _bulk.Row
ItemKey = tuple[str, int, int]


class NotThere(sqlite3.Error):
    """A message was to be removed that is not there: whoever believed that it was has to run again, and be exact."""


@attrs.define(eq=False)
class Pile:
    """Rows that wait for one kind of statement."""

    text: Callable[[int], str]
    key: int = 0  # columns of a key of which the last row counts; 0: no two rows are about the same
    width: int | None = None  # columns that are written, if not all
    alone: Callable[[Row], Row] | None = None  # from a row, the parameters of the statement for one, if they differ
    rows: list[Row] = attrs.field(factory=list)

    def write(self, db: sqlite3.Connection) -> int:
        """Write them, and wait for more; how many rows that changed."""
        rows = self.rows
        if self.width is not None:
            rows = [row[: self.width] for row in rows]
        if self.key and len(rows) > 1:
            rows = list({row[: self.key]: row for row in rows}.values())
        count = 0
        for some in _bulk.portions(rows):
            count += db.execute(self.text(len(some)), self._parameters(some)).rowcount
        self.rows.clear()
        return count

    def _parameters(self, rows: Sequence[Row]) -> Sequence[Any]:
        if len(rows) > 1:
            return list(chain.from_iterable(rows))
        return rows[0] if self.alone is None else self.alone(rows[0])


@attrs.define(eq=False)
class Pending:
    """Of one connection; `flush` and `forget` at the end of each transaction, or `drop`."""

    _db: sqlite3.Connection

    instances: dict[str, Row | None] = attrs.field(factory=dict)  # as they are now; None: it is not there
    items: dict[ItemKey, Row | None] = attrs.field(factory=dict)
    requests: dict[str, Row | None] = attrs.field(factory=dict)
    tombstones: dict[str, Row | None] = attrs.field(factory=dict)
    firsts: Row | None = None  # times of the first items of two kinds, as long as none changes
    exact: bool = False  # whether one who removes messages has to be told how many there were
    begun: dict[str, Row] = attrs.field(factory=dict)  # instances of this transaction: what was said at their start

    new_instances: Pile = attrs.field(factory=lambda: Pile(_bulk.put_instances, key=1))
    changed_instances: Pile = attrs.field(
        factory=lambda: Pile(_bulk.change_instances, key=1, alone=_bulk.INSTANCE_CHANGE)
    )
    events: Pile = attrs.field(factory=lambda: Pile(_bulk.append_events))
    messages: Pile = attrs.field(factory=lambda: Pile(_bulk.put_messages))
    taken: Pile = attrs.field(factory=lambda: Pile(_bulk.remove_messages))
    emptied: Pile = attrs.field(factory=lambda: Pile(_bulk.empty_inboxes))
    new_items: Pile = attrs.field(factory=lambda: Pile(_bulk.insert_activities))
    changed_items: Pile = attrs.field(
        factory=lambda: Pile(_bulk.change_activities, key=3, width=_bulk.ITEM_CHANGE_WIDTH, alone=_bulk.ITEM_CHANGE)
    )
    gone_items: Pile = attrs.field(factory=lambda: Pile(_bulk.remove_activities))
    answers: Pile = attrs.field(factory=lambda: Pile(_bulk.put_requests))
    settled: Pile = attrs.field(factory=lambda: Pile(_bulk.put_settled))

    _piles: tuple[Pile, ...] = attrs.field(init=False)  # in the order in which they are written
    _added: list[Pile] = attrs.field(factory=list)  # what the member that is at work has put a row on, row by row
    _written: bool = False  # whether something of that member is in SQLite's hands already, or may be

    def __attrs_post_init__(self) -> None:
        # What is new is there before it changes, and what changes before it goes.
        self._piles = (
            self.new_instances,
            self.changed_instances,
            self.events,
            self.messages,
            self.taken,
            self.emptied,
            self.new_items,
            self.changed_items,
            self.gone_items,
            self.answers,
            self.settled,
        )

    # -- transactions

    def drop(self) -> None:
        """The transaction is undone: nothing waits, and nothing is known."""
        self.forget()
        for pile in self._piles:
            pile.rows.clear()

    def begin_member(self) -> None:
        """What is added from now on may be taken back."""
        self._added.clear()
        self._written = False

    @property
    def wrote(self) -> bool:
        """Whether the member has changed anything."""
        return self._written or bool(self._added)

    def undo_member(self) -> bool:
        """Take back what the member has added; False if some of it is written and the transaction has to go."""
        if self._written:
            return False
        if self._added:
            for pile in self._added:
                pile.rows.pop()
            self._learn_anew()
        return True

    def _learn_anew(self) -> None:
        """What waits is known; whatever else was is read again."""
        self.forget()
        width = _bulk.INSTANCE_WIDTH
        self.instances.update({row[0]: row[:width] for row in self.new_instances.rows + self.changed_instances.rows})
        self.items.update({row[:3]: row for row in self.new_items.rows + self.changed_items.rows})
        self.items.update(dict.fromkeys(self.gone_items.rows))
        self.requests.update({row[0]: (row[0], *row[2:]) for row in self.answers.rows})

    def forget(self) -> None:
        """What is known may not be true any more; it is read again."""
        self.instances.clear()
        self.items.clear()
        self.requests.clear()
        self.tombstones.clear()
        self.begun.clear()
        self.firsts = None

    # -- writes

    def add(self, pile: Pile, rows: list[Row]) -> None:
        """Have rows written sooner or later."""
        pile.rows += rows
        self._added += [pile] * len(rows)

    def flush(self) -> None:
        """Write all that waits."""
        self._flush(self._piles)

    def flush_instances(self) -> None:
        """Write what waits of instances: a statement is about to look for some."""
        self._flush((self.new_instances, self.changed_instances))

    def flush_items(self) -> None:
        """Write what waits of items: a statement is about to look for some."""
        self._flush((self.new_items, self.changed_items, self.gone_items))

    def flush_events(self) -> None:
        """Write the events that wait."""
        self._flush((self.events,))

    def flush_messages(self) -> None:
        """Write what waits of messages: a statement is about to look for some."""
        self._flush((self.messages, self.taken, self.emptied))

    def flush_answers(self) -> None:
        """Write what waits of answers to clients and of tokens."""
        self._flush((self.answers, self.settled))

    def _flush(self, piles: Iterable[Pile]) -> None:
        for pile in piles:
            if pile.rows:
                written = self._written or pile in self._added
                self._written = True  # should this fail, nobody knows whose rows are there
                meant, found = len(pile.rows), pile.write(self._db)
                if pile is self.taken and found != meant:
                    raise NotThere
                self._written = written

    def remove_messages(self, instance: str, seqs: Sequence[int]) -> int:
        """Remove messages; how many of them were there, or are believed to be: a flush finds out."""
        rows: list[Row] = [(instance, seq) for seq in dict.fromkeys(seqs)]
        if not self.exact:
            self.add(self.taken, rows)
            return len(rows)
        self.flush_messages()
        return sum(
            self.write(_bulk.remove_messages(len(some)), list(chain.from_iterable(some)))
            for some in _bulk.portions(rows)
        )

    def write(self, text: str, values: Sequence[Any]) -> int:
        """Write at once what is not written in bulk; how many rows that changed."""
        count = self._db.execute(text, values).rowcount
        self._written = self._written or count > 0
        return count
