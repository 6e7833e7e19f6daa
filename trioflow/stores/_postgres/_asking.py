"""Statements out, rows in: what goes over a connection in one trip, in the binary forms of PostgreSQL.

Laws: several statements that go together are one transaction, all carried out or none; the server gets the type of a
parameter from the statement, so one Python type is always sent in the same form; a statement is kept on the server from
its second use on, where that may be.

Must never know: what a statement means, and how one waits. Who calls it: `_connection.py`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

import attrs
from psycopg import errors as e
from psycopg.abc import PQGen, Transformer
from psycopg.generators import execute, fetch_many, send
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

Row = tuple[Any, ...]
Form = tuple[bytes | None, int]

TEXT, BINARY = int(Format.TEXT), int(Format.BINARY)
BYTEA, STRING = 17, 25  # numbers of the types bytea and text in PostgreSQL
ARRAY = Struct("!5i")  # dimensions, whether there are nulls, the type; how many, and from which index on
SIZE = Struct("!i")
NULL = SIZE.pack(-1)
NO_ELEMENTS = Struct("!3i").pack(0, 0, BYTEA)


@attrs.frozen
class Question:
    """A statement with %s for each parameter, and their values."""

    statement: str
    parameters: Sequence[object] = ()


@lru_cache(maxsize=200)
def native(statement: str) -> bytes:
    """The statement as the server takes it, with numbers for parameters."""
    numbers = itertools.count(1)
    return re.sub("%[s%]", lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", statement).encode()


def form(value: object) -> Form:
    """A parameter, not None, as it is sent. Raises psycopg's `DataError` where that is not possible."""
    if isinstance(value, bytes):
        return value, BINARY
    if isinstance(value, list):
        return array(value), BINARY
    return _text(str(value)), TEXT


def _text(value: str) -> bytes:
    try:
        text = value.encode()
    except UnicodeEncodeError as exc:
        raise e.DataError("a text cannot hold half a character") from exc
    if b"\0" in text:
        raise e.DataError("a text cannot hold NUL")
    return text


def array(values: Iterable[bytes | str | None]) -> bytes:
    """A list as PostgreSQL's bytea[], or as text[] where it holds texts."""
    parts, count, nulls, kind = [b""], 0, 0, BYTEA
    for value in values:
        count += 1
        if isinstance(value, str):
            value, kind = _text(value), STRING
        if value is None:
            nulls = 1
            parts.append(NULL)
        else:
            parts += (SIZE.pack(len(value)), value)
    if not count:
        return NO_ELEMENTS
    parts[0] = ARRAY.pack(1, nulls, kind, count, 1)
    return b"".join(parts)


class Asking:
    """What goes over one connection.

    Args:
        pgconn: libpq's connection.
        transformer: from the answers' bytes to Python's values.
    """

    def __init__(self, pgconn: PGconn, transformer: Transformer) -> None:
        self._pgconn, self._transformer = pgconn, transformer
        self._uses: dict[str, int] = {}
        self._kept: dict[str, bytes] = {}  # names of statements that the server keeps

    def keeps(self, question: Question) -> bool:
        """Whether the server has the statement."""
        return question.statement in self._kept

    def one(self, question: Question, *, keep: bool) -> PQGen[list[Row]]:
        """Ask one question; its rows. Raises psycopg's `Error`."""
        statement = question.statement
        values, forms = _forms(question)
        name = self._kept.get(statement)
        if name is None and keep:
            uses = self._uses[statement] = self._uses.get(statement, 0) + 1
            if uses > 1:
                name = b"trioflow_%d" % len(self._kept)
                self._pgconn.send_prepare(name, native(statement))
                yield from self._result()
                self._kept[statement] = name
        if name is None:
            self._pgconn.send_query_params(native(statement), values, None, forms, BINARY)
        else:
            self._pgconn.send_query_prepared(name, values, forms, BINARY)
        return self._rows((yield from self._result()))

    def _result(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from execute(self._pgconn)
        self._check(results[-1])
        return results[-1]

    def together(self, questions: Sequence[Question]) -> PQGen[list[list[Row]]]:
        """Ask several whose statements are kept, in one transaction; the rows of each. Raises psycopg's `Error`."""
        pgconn = self._pgconn
        prepared = [(self._kept[question.statement], *_forms(question)) for question in questions]
        pgconn.enter_pipeline_mode()
        for name, values, forms in prepared:
            pgconn.send_query_prepared(name, values, forms, BINARY)
        pgconn.pipeline_sync()
        yield from send(pgconn)
        results: list[PGresult] = []
        while not results or results[-1].status != ExecStatus.PIPELINE_SYNC:  # after which it is committed, or undone
            results += yield from fetch_many(pgconn)
        pgconn.exit_pipeline_mode()
        for result in results:
            self._check(result)
        return [self._rows(result) for result in results[:-1]]

    def _check(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR:
            raise e.error_from_result(result, encoding="utf-8")

    def _rows(self, result: PGresult) -> list[Row]:
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._transformer.set_pgresult(result, format=Format.BINARY)
        rows: list[Row] = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)  # or it would be kept until the next
        return rows


def _forms(question: Question) -> tuple[list[bytes | None], list[int]]:
    values: list[bytes | None] = []
    forms: list[int] = []
    for parameter in question.parameters:
        value, how = (None, TEXT) if parameter is None else form(parameter)
        values.append(value)
        forms.append(how)
    return values, forms
