"""From a URL to a store.

Laws: nothing is opened here, so nothing can fail but the text; what is wrong with it is said, with the forms that are
right; no store is loaded but the one that is named.

Who calls it: `_runtime` and `_client`, for whatever they were given as `store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

from trioflow.abc import Env, Store
from trioflow.errors import ConfigurationError

if TYPE_CHECKING:
    from trioflow.stores._postgres import PostgresStore
    from trioflow.stores._sqlite import SqliteStore

FORMS = '"memory:", "sqlite:shop.db", "sqlite:/var/lib/shop.db", "sqlite::memory:", "sqlite:shop.db?durability=fast", "postgresql://user@host/database?schema=shop"'


def open_store(
    store: str | Store, *, durability: Literal["full", "fast"] | None = None, env: Env | None = None
) -> Store:
    """The store that a URL names, or the store itself. Not opened: use it with `async with`.

    Args:
        store: a URL or a store.
        durability: for a SQLite URL that does not say.
        env: the world that a store made here lives in.

    Raises:
        ConfigurationError: the URL names no store; the message lists the forms.
    """
    if not isinstance(store, str):
        return store
    env = Env() if env is None else env
    scheme, colon, rest = store.partition(":")
    if store == "memory:":
        from trioflow.stores._memory import MemoryStore

        return MemoryStore(env=env)
    if colon and scheme == "sqlite":
        return _sqlite(store, rest, durability, env)
    if scheme in ("postgres", "postgresql"):
        return _postgres(store, durability, env)
    raise ConfigurationError(f"{store!r} names no store. Use one of {FORMS}.")


def _sqlite(url: str, rest: str, durability: Literal["full", "fast"] | None, env: Env) -> SqliteStore:
    path, _, query = rest.partition("?")
    path = unquote(path)
    if path.startswith("//"):
        raise ConfigurationError(f"{url!r}: write the path right behind the colon, without slashes: {FORMS}.")
    if not path:
        raise ConfigurationError(f"{url!r} names no file. Use one of {FORMS}.")
    options = dict(parse_qsl(query, keep_blank_values=True))
    chosen = options.pop("durability", durability or "full")
    if options:
        raise ConfigurationError(f"{url!r}: unknown option {', '.join(sorted(options))}; the only one is durability.")
    from trioflow.stores._sqlite import SqliteStore

    return SqliteStore(path, durability=cast('Literal["full", "fast"]', chosen), env=env)


def _postgres(url: str, durability: Literal["full", "fast"] | None, env: Env) -> PostgresStore:
    """Options of ours are taken out of the URL; the others are libpq's."""
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    schema = options.pop("schema", "trioflow")
    chosen = options.pop("durability", durability or "full")
    from trioflow.stores._postgres import PostgresStore

    return PostgresStore(
        f"{address}?{urlencode(options, quote_via=quote)}" if options else address,
        schema=schema,
        durability=cast('Literal["full", "fast"]', chosen),
        env=env,
    )
