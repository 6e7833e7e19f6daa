"""One connection and its transactions: group commit that survives errors.

Laws: what the members of a batch read by key is read together, and what they write is written together (`_pending.py`);
a member of a batch that fails alone is undone alone as long as nothing of it is written; if it is, or if an error comes
while rows of several are written, or ends the whole transaction, the batch is void, and each member runs again by
itself; nobody has an answer before COMMIT has returned; a COMMIT that fails leaves its
writers with `OutcomeUnknown` and the connection is given up, since what a failed sync has kept is anybody's guess.

Must never know: threads, trio. Who calls it: `_writer.py`. Read next: `_tables.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import outcome

from trioflow.errors import OutcomeUnknown, StoreError, StoreUnavailable
from trioflow.stores._rules import READS, Needs, Rule, Tidying, Work, asks_for_several
from trioflow.stores._sqlite._errors import advice_on, translate
from trioflow.stores._sqlite._gate import Gate
from trioflow.stores._sqlite._opening import Settings, check_ours, configure, connect, migrate, prepare_file
from trioflow.stores._sqlite._tables import SqliteTables

CHECKPOINT_BATCHES, CHECKPOINT_ROWS = 250, 4000  # what is written between two checkpoints
LONG_LOG = 16_000  # pages in a log that readers have kept from being begun anew


@attrs.define(eq=False)
class Member:
    """A verb that wants to be part of a transaction, and what came of it."""

    rule: Rule[Any, Any]
    request: Any
    answer: outcome.Outcome[Any] | None = None  # final once the transaction it belongs to has ended
    hints: tuple[str, ...] = ()
    wrote: bool = False

    @property
    def reads(self) -> bool:
        """Whether it needs no right to write."""
        return self.rule in READS


@attrs.define(eq=False)
class Database:
    """A connection that is reopened when it cannot be trusted any more."""

    _settings: Settings
    _gate: Gate | None = None  # None in memory
    _db: sqlite3.Connection | None = None
    _tables: SqliteTables | None = None
    _tidying: Tidying = attrs.field(factory=Tidying)
    _batches: int = 0  # written since the last checkpoint
    _rows: int = 0
    _version: int = 0  # data_version when last asked

    def open(self) -> None:
        """Open, check, configure and migrate. Raises StoreError."""
        settings = self._settings
        try:
            if settings.in_memory:
                db = connect(settings)
                configure(db, settings)
                migrate(db, settings.path)
            else:
                prepare_file(settings)
                db = connect(settings)
                try:
                    self._settle_in(db)
                except BaseException:
                    db.close()
                    raise
        except Exception as exc:
            raise translate(exc, settings.path, "opening it") from exc
        self._db, self._tables = db, SqliteTables(db)

    def _settle_in(self, db: sqlite3.Connection) -> None:
        settings = self._settings
        if self._gate is None:
            self._gate = Gate.at(settings.folder, settings.patience)
        with self._gate.held():
            check_ours(db, settings.path)
            configure(db, settings)
            migrate(db, settings.path)

    def close(self) -> None:
        """Leave the file tidy, if nobody else is busy with it; never raises."""
        db, self._db, self._tables = self._db, None, None
        try:
            if db is not None:
                with self._held():
                    db.close()  # the last connection to leave folds the log into the file
        except (sqlite3.Error, OSError, StoreUnavailable):
            pass  # the next one to open it finds a log and reads it
        finally:
            if self._gate is not None:
                self._gate.close()
                self._gate = None

    @contextmanager
    def _held(self) -> Iterator[None]:
        if self._gate is None:
            yield
        else:
            with self._gate.held():
                yield

    # -- transactions

    def execute(self, members: Sequence[Member]) -> None:
        """Carry out all members; each has its answer afterwards."""
        try:
            if self._db is None:
                self.open()
            reads = all(member.reads for member in members)
            gate = None if reads else self._gate
            if gate is not None:
                gate.enter()
            try:
                self._transact("BEGIN" if reads else "BEGIN IMMEDIATE", members)
            finally:
                if gate is not None:
                    gate.leave()
        except Exception as exc:
            for member in members:
                if member.answer is None:
                    member.answer = outcome.Error(self._translated(exc, "beginning a transaction"))

    def _transact(self, begin: str, members: Sequence[Member]) -> None:
        if len(members) > 1 and self._together(begin, members):
            return
        for member in members:
            self._alone(begin, member)

    def _together(self, begin: str, members: Sequence[Member]) -> bool:
        """Run all members in one transaction; False if it came to nothing and each has to run again."""
        db = self._connection
        db.execute(begin)
        assert self._tables is not None
        pending = self._tables.pending
        pending.exact = False
        answers: list[outcome.Outcome[Any]] = []
        try:
            self._look_ahead(members)
            now = self._settings.clock()
            for member in members:
                pending.begin_member()
                answer = self._attempt(member, now)
                if isinstance(answer, outcome.Error) and not (db.in_transaction and pending.undo_member()):
                    self._rollback()
                    return False
                answers.append(answer)
            pending.flush()
        except Exception:  # also what the driver does not take: whose it is shows when each runs alone
            self._rollback()
            return False
        self._commit(members, answers)
        return True

    def _alone(self, begin: str, member: Member) -> None:
        try:
            self._connection.execute(begin)
        except (sqlite3.Error, StoreUnavailable) as exc:
            member.answer = outcome.Error(self._translated(exc, "beginning a transaction"))
            return
        answer = self._attempt(member, self._settings.clock(), alone=True)
        if isinstance(answer, outcome.Error):
            self._rollback()
            member.answer = answer
        else:
            self._commit([member], [answer])

    def _look_ahead(self, members: Sequence[Member]) -> None:
        """A transaction has begun: read together what its members are going to ask for."""
        assert self._tables is not None
        needs = Needs()
        for member in members:
            needs.add(member.request)
        try:
            self._tables.look_up(needs)
        except Exception:  # whoever needs what cannot be read, or cannot be asked for, hears of it by himself
            self._tables.pending.forget()
            if not self._connection.in_transaction:
                raise

    def _attempt(self, member: Member, now: float, *, alone: bool = False) -> outcome.Outcome[Any]:
        tables = self._tables
        assert tables is not None
        work = Work(tables, now, self._settings.env.token)
        try:
            if alone:
                tables.pending.exact = True
                tables.pending.begin_member()
                if asks_for_several(member.request):
                    self._look_ahead([member])
            answer = member.rule(work, member.request)
            work.finish()
            if not member.reads:
                self._tidying.run(tables, work.now)
            if alone:
                tables.pending.flush()
        except Exception as exc:
            member.hints, member.wrote = (), False
            return outcome.Error(self._translated(exc, getattr(member.rule, "__name__", "a rule")))
        member.hints, member.wrote = tuple(work.hints), tables.pending.wrote
        return outcome.Value(answer)

    def _commit(self, members: Sequence[Member], answers: Sequence[outcome.Outcome[Any]]) -> None:
        env = self._settings.env
        try:
            env.reached("sqlite.before_commit")
            self._connection.execute("COMMIT")
        except Exception as exc:
            self._rollback()
            for member, answer in zip(members, answers, strict=True):
                member.hints = ()
                member.answer = (
                    answer if isinstance(answer, outcome.Error) else outcome.Error(self._unsure(member, exc))
                )
            self._distrust()
            return
        env.reached("sqlite.after_commit")
        assert self._tables is not None
        self._tables.pending.forget()  # others write the file, too
        for member, answer in zip(members, answers, strict=True):
            member.answer = answer
        if any(member.wrote for member in members):
            self._batches += 1
            self._rows += sum(member.wrote for member in members)

    def _unsure(self, member: Member, exc: Exception) -> Exception:
        path = self._settings.path
        error: Exception
        if member.wrote:
            error = OutcomeUnknown(
                f"SQLite store {path}: the commit failed ({exc}), so what was written may or may not be kept. Repeat "
                f"it with the same request id: it is carried out once. About the cause: {advice_on(exc)}."
            )
        else:
            error = StoreUnavailable(f"SQLite store {path}: the transaction failed ({exc}). Try again.")
        error.__cause__ = exc
        return error

    def _rollback(self) -> None:
        db = self._db
        if self._tables is not None:
            self._tables.pending.drop()
        if db is not None and db.in_transaction:
            try:
                db.execute("ROLLBACK")
            except sqlite3.Error:
                self._distrust()

    def _distrust(self) -> None:
        """Give up a connection whose last sync failed; the next transaction opens another."""
        if not self._settings.in_memory and self._db is not None:
            db, self._db, self._tables = self._db, None, None
            try:
                db.close()
            except sqlite3.Error:
                pass  # it is forgotten either way

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self.open()
        assert self._db is not None
        return self._db

    def _translated(self, exc: Exception, doing: str) -> Exception:
        translated = translate(exc, self._settings.path, doing)
        assert isinstance(translated, Exception)
        return translated

    # -- between transactions

    def checkpoint(self, *, idle: bool) -> bool:
        """Fold the log into the file when there is enough of it, sooner if nobody waits; whether it is long by now."""
        patience = 1 if idle else 4
        if self._gate is None or (
            self._batches < CHECKPOINT_BATCHES * patience and self._rows < CHECKPOINT_ROWS * patience
        ):
            return False
        return self.fold()

    def fold(self) -> bool:
        """Fold as much of the log as no reader needs; whether it is long by now."""
        try:
            with self._held():
                _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._batches = self._rows = 0
        except (sqlite3.Error, OSError, StoreError):
            self._batches = self._rows = CHECKPOINT_BATCHES // 2  # the log only grows meanwhile: try again later
            return False
        return int(pages) > LONG_LOG

    def changed_by_others(self) -> bool:
        """Whether another connection has committed since this was last asked."""
        if self._db is None:
            return False
        try:
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return True  # whoever looks will see what is the matter
        before, self._version = self._version, int(version)
        return before != self._version
