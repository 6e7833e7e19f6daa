"""From a URL to a store.

Law: nothing is opened here, so nothing can fail but the text; what is wrong with it is said, with the forms that are
right.

Who calls it: `_runtime` and `_client`, for whatever they were given as `store`.
"""

from __future__ import annotations

from typing import Literal, cast
from urllib.parse import parse_qsl, unquote

from trioflow.abc import Env, Store
from trioflow.errors import ConfigurationError
from trioflow.stores._memory import MemoryStore
from trioflow.stores._sqlite import SqliteStore

FORMS = '"memory:", "sqlite:shop.db", "sqlite:/var/lib/shop.db", "sqlite::memory:", "sqlite:shop.db?durability=fast"'


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
        return MemoryStore(env=env)
    if colon and scheme == "sqlite":
        return _sqlite(store, rest, durability, env)
    if scheme in ("postgres", "postgresql"):
        raise ConfigurationError(
            "PostgreSQL stores will come with the extra `trioflow[postgres]`; this release does not have them yet. "
            f"Use one of {FORMS}."
        )
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
    return SqliteStore(path, durability=cast('Literal["full", "fast"]', chosen), env=env)
