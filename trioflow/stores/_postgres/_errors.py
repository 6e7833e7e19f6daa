"""The one door through which errors of PostgreSQL and of the way to it leave: each becomes a `StoreError` that says
what to do.

Laws: nothing of the driver is raised to a caller except as a cause; no message holds a password or a payload; an error
that may pass is `StoreUnavailable`, one that needs a person says what that person can do.

Who calls it: `_pool.py`.
"""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trioflow.errors import ConfigurationError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable

Advice = tuple[type[StoreError], str]

AGAIN = ("40001", "40P01")  # serialization failure, deadlock: the statement may be sent again at once
STALE = ("0A000", "26000", "42P05")  # a kept statement is no longer what it was: send it again on a fresh connection

PASSING: Advice = (StoreUnavailable, "check that the server runs and can be reached, and try again")
UNKNOWN: Advice = (StoreError, "this is a fault in trioflow or in a tool that changed the schema; please report it")
GONE: Advice = (StoreError, "the schema was dropped or changed while it was in use: restart to make it again")
POOLED: Advice = (StoreError, "the address is a transaction pooler's: open the store with pooled=True")

# By SQLSTATE, else by its class, the first two characters: the error, and what to do.
ADVICE: dict[str, Advice] = {
    "08": PASSING,
    "22": (StoreError, "a text holds characters that PostgreSQL cannot keep, such as NUL"),
    "25006": (StoreReadOnly, "this server is a standby, or was set read-only: connect to the primary"),
    "26000": POOLED,
    "28": (StoreError, "check the user and the password, and the server's pg_hba.conf"),
    "3D000": (StoreError, "create the database, or name one that is there"),
    "3F000": GONE,
    "40": (StoreUnavailable, "other transactions were in the way again and again; try again"),
    "42501": (StoreError, "grant this user the right to use the schema, and for its first start to create it"),
    "42883": GONE,
    "42P01": GONE,
    "42P05": POOLED,
    "53": (StoreUnavailable, "the server is short of memory; try again"),
    "53100": (StoreFull, "free some room on the server's disk; nothing of it was written"),
    "53300": (StoreUnavailable, "lower `connections`, raise the server's max_connections, or put a pooler before it"),
    "54000": (StoreError, "an id is too long for an index of PostgreSQL: use shorter ids"),
    "55": (StoreUnavailable, "something else holds what this needs; try again"),
    "57": (StoreUnavailable, "the server stopped the statement, or is starting or stopping; try again"),
    "58": (StoreUnavailable, "the server's system reported an error: see its log"),
    "TLS": (StoreError, "check the server's certificate and host name, and sslmode and sslrootcert in the address"),
}

# What libpq says while connecting has no SQLSTATE. A server that speaks another language gets the general advice.
WHILE_CONNECTING: tuple[tuple[str, str], ...] = (
    ("authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("pg_hba.conf", "28000"),
    ("too many clients", "53300"),
    ("too many connections", "53300"),
    ("remaining connection slots", "53300"),
    ("certificate", "TLS"),
    ("server does not support SSL", "TLS"),
)


def address_of(conninfo: str) -> str:
    """Where the server is, for people: never the password.

    Raises:
        ConfigurationError: it cannot be understood, or what is meant as a password would be taken for an address.
    """
    try:
        parts, is_clear = conninfo_to_dict(conninfo), "\0" not in conninfo and not _is_ambiguous(conninfo)
    except (psycopg.Error, UnicodeError):
        parts, is_clear = {}, False  # libpq quotes what it could not read, which may be the password
    ports = str(parts.get("port") or "").replace(",", "")
    if not is_clear or (ports and not ports.isdecimal()):
        raise ConfigurationError(
            "The PostgreSQL address cannot be understood (it is not shown, since it may hold a password). Write it as "
            "postgresql://user:password@host:5432/database with special characters percent-encoded (@ is %40, / is "
            "%2F), or as host=... dbname=... with values that hold spaces in single quotes."
        )
    host = parts.get("host") or parts.get("hostaddr") or "the default host"
    port = f":{parts['port']}" if ports else ""
    database = f"/{parts['dbname']}" if parts.get("dbname") else ""
    return f"PostgreSQL at {host}{port}{database}"


def _is_ambiguous(conninfo: str) -> bool:
    """Whether a URL has an @ where none can be: one of a password that was not encoded."""
    scheme, separator, rest = conninfo.partition("://")
    if not separator or scheme not in ("postgres", "postgresql"):
        return False
    authority = rest.partition("/")[0].partition("?")[0]
    return rest.count("@") > authority.count("@") or authority.count("@") > 1


def translate(exc: psycopg.Error | OSError, address: str, doing: str) -> StoreError:
    """The error to raise in its place, with the original as its cause. Nothing was done."""
    state = getattr(exc, "sqlstate", None) or ""
    text = " ".join(str(exc).split()) or type(exc).__name__
    otherwise = UNKNOWN
    if not state and isinstance(exc, psycopg.OperationalError | OSError):
        state, otherwise = _state_of(text), PASSING
    elif not state and isinstance(exc, psycopg.DataError):
        state = "22"
    cls, advice = ADVICE.get(state) or ADVICE.get(state[:2]) or otherwise
    detail = exc.diag.message_primary if isinstance(exc, psycopg.Error) and exc.diag.message_primary else text
    code = f" ({exc.sqlstate})" if isinstance(exc, psycopg.Error) and exc.sqlstate else ""
    translated = cls(f"{address}: {doing} failed: {detail}{code}. What to do: {advice}.")
    translated.__cause__ = exc
    return translated


def _state_of(text: str) -> str:
    """The SQLSTATE that libpq did not tell, as far as its words do."""
    if 'database "' in text and "does not exist" in text:
        return "3D000"
    if 'role "' in text and "does not exist" in text:
        return "28000"
    return next((state for words, state in WHILE_CONNECTING if words in text), "")
