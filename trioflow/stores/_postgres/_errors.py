"""The one door through which errors of PostgreSQL and of the way to it leave: each becomes a `StoreError` that says
what to do.

Laws: nothing of the driver is raised to a caller except as a cause; no message holds a password or a payload; an error
that may pass is `StoreUnavailable`, one that needs a person says what that person can do.

Who calls it: `_pool.py`.
"""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trioflow.errors import (
    ConfigurationError,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

AGAIN = ("40001", "40P01")  # serialization failure, deadlock: the statement may be sent again at once

# By SQLSTATE, else by its class, the first two characters: the error, and what to do.
ADVICE: dict[str, tuple[type[StoreError], str]] = {
    "08": (StoreUnavailable, "check that the server runs and can be reached, and try again"),
    "25006": (StoreReadOnly, "this server is a standby, or was set read-only: connect to the primary"),
    "28": (StoreError, "check the user and the password, and the server's pg_hba.conf"),
    "3D000": (StoreError, "create the database, or name one that is there"),
    "40": (StoreUnavailable, "other transactions were in the way again and again; try again"),
    "42501": (StoreError, "grant this user the right to use the schema, and for its first start to create it"),
    "42P01": (StoreError, "the schema was dropped or changed while it was in use: restart to make it again"),
    "42883": (StoreError, "the schema was dropped or changed while it was in use: restart to make it again"),
    "3F000": (StoreError, "the schema was dropped or changed while it was in use: restart to make it again"),
    "22": (StoreError, "a text holds characters that PostgreSQL cannot keep, such as NUL"),
    "53100": (StoreFull, "free some room on the server's disk; nothing of it was written"),
    "53": (StoreUnavailable, "the server is short of memory or connections: lower `connections`, or raise its limits"),
    "54000": (StoreError, "an id is too long for an index of PostgreSQL: use shorter ids"),
    "55": (StoreUnavailable, "something else holds what this needs; try again"),
    "57": (StoreUnavailable, "the server stopped the statement, or is starting or stopping; try again"),
    "58": (StoreUnavailable, "the server's system reported an error: see its log"),
}


def address_of(conninfo: str) -> str:
    """Where the server is, for people: never the password. Raises ConfigurationError."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as exc:
        raise ConfigurationError(
            "The PostgreSQL address cannot be understood: write it as postgresql://user@host:5432/database or "
            "as host=... dbname=..., with special characters of a URL percent-encoded."
        ) from exc
    host = parts.get("host") or parts.get("hostaddr") or "local"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"PostgreSQL at {host}{port}/{parts.get('dbname') or ''}".rstrip("/")


def translate(exc: psycopg.Error | OSError, address: str, doing: str) -> StoreError:
    """The error to raise in its place, with the original as its cause."""
    state = getattr(exc, "sqlstate", None) or ""
    passing = (StoreUnavailable, "check that the server runs and can be reached, and try again")
    unknown = (StoreError, "this is a fault in trioflow or in a tool that changed the schema; please report it")
    is_transport = isinstance(exc, OSError | psycopg.OperationalError) and not state
    if "authentication failed" in str(exc) or "no password supplied" in str(exc):
        state = "28P01"  # libpq gives no state for what happens before a connection is there
    elif is_transport and "does not exist" in str(exc) and "database" in str(exc):
        state = "3D000"
    cls, advice = ADVICE.get(state) or ADVICE.get(state[:2]) or (passing if is_transport else unknown)
    diagnostic = exc.diag.message_primary if isinstance(exc, psycopg.Error) and exc.diag.message_primary else None
    detail = diagnostic or " ".join(str(exc).split()) or type(exc).__name__
    translated = cls(f"{address}: {doing} failed: {detail}{f' ({state})' if state else ''}. What to do: {advice}.")
    translated.__cause__ = exc
    return translated
