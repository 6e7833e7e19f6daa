"""What is no number, no text or far too much of one is refused where it is handed in, with an error that names it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

import trioflow
from trioflow.abc import Store
from trioflow.app._options import ActivityOptions
from trioflow.stores import MemoryStore, PostgresStore, SqliteStore, open_store

HOSTILE: Final[tuple[Any, ...]] = (
    math.nan, math.inf, -math.inf, -1, 0, 1.5, 2**31, 2**63, 10**400, 10**5000, 1e18, 1e300, 1e-300, True, "5", "\0",
    "\ud800", b"x", None, [], {},
)  # fmt: skip

Call = Callable[[Any], Awaitable[object]]


def _fields(cls: type[Any]) -> list[tuple[type[Any], str]]:
    return [(cls, field.name) for field in attrs.fields(cls)]


@pytest.mark.parametrize(
    ("cls", "field"),
    [
        *_fields(trioflow.RuntimeOptions),
        *_fields(trioflow.Retry),
        *_fields(trioflow.Limits),
        *_fields(ActivityOptions),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_options_take_what_makes_sense_and_refuse_the_rest_by_name(cls: type[Any], field: str) -> None:
    """Whatever an option is given, it is taken, or a typed error names the option in one short text."""
    for value in HOSTILE:
        refused, made = "", None
        try:
            made = cls(**{field: value})
        except trioflow.ConfigurationError as exc:
            refused = str(exc)
        assert made is not None or field in refused
        assert len(refused) < 300
        if isinstance(made, trioflow.Retry):
            assert 0 <= made.pause(50) < math.inf


@pytest.mark.parametrize("lease", ["turn_lease", "activity_lease", "session_lease"])
def test_a_lease_that_nothing_could_be_done_under_is_refused(lease: str) -> None:
    """A lease of a microsecond would be lost before any commit, and its turn be taken again for ever."""
    options: dict[str, Any] = {lease: 1e-6}
    with pytest.raises(trioflow.ConfigurationError, match=rf"RuntimeOptions\({lease}=.*from 0.1 to .*, not 1e-06"):
        trioflow.RuntimeOptions(**options)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (partial(SqliteStore, ":memory:"), "patience"),
        (partial(PostgresStore, "dbname=x"), "connections"),
        (partial(PostgresStore, "dbname=x"), "patience"),
        (partial(PostgresStore, "dbname=x"), "limit"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, -1, 10**400, "5", True, None])
def test_a_store_refuses_figures_that_make_no_sense(make: Callable[..., Store], option: str, value: Any) -> None:
    """Before it is opened, and by name: a pool of no connections would be waited for without an end."""
    with pytest.raises(trioflow.ConfigurationError, match=f"{option}="):
        make(**{option: value})


async def _drain(instances: Any) -> None:
    async for _ in instances:
        pass


async def _wait(call: Call, timeout: Any) -> None:
    with trio.move_on_after(0.01):
        await call(timeout)


def calls_of(client: trioflow.Client, known: trioflow.Handle[Any]) -> dict[str, Call]:
    """Each argument of each verb that its type does not speak for, as a function of its value."""

    async def made(value: Any) -> None:
        client.handle(value)

    filters = dict.fromkeys(trioflow.InstanceFilter.__annotations__)
    return {
        "start(name)": client.start,
        "start(id)": lambda value: client.start("wait", id=value),
        "start(version)": lambda value: client.start("wait", version=value),
        "start(delay)": lambda value: client.start("wait", delay=value),
        "start(if_exists)": lambda value: client.start("wait", if_exists=value),
        "start(attributes)": lambda value: client.start("wait", attributes=value),
        "start(arguments)": lambda value: client.start("wait", value),
        "handle": made,
        "get": client.get,
        "history(id)": client.history,
        "history(execution)": known.history,
        "executions": client.executions,
        "tree": client.tree,
        "kv": client.kv,
        "kv_value(id)": lambda value: client.kv_value(value, "key"),
        "kv_value(key)": known.kv_value,
        "result(timeout)": lambda value: _wait(known.result, value),
        "wait_status(timeout)": lambda value: _wait(lambda timeout: known.wait_status(timeout=timeout), value),
        "wait_kv(timeout)": lambda value: _wait(lambda timeout: known.wait_kv("key", timeout=timeout), value),
        "raise_event(id)": lambda value: client.raise_event(value, "go"),
        "raise_event(name)": known.raise_event,
        "raise_event(value)": lambda value: known.raise_event("go", value),
        "raise_event(dedupe_key)": lambda value: known.raise_event("go", dedupe_key=value),
        "cancel(reason)": lambda value: client.cancel("nobody", value),
        "terminate(reason)": lambda value: client.terminate("nobody", value),
        "delete(force)": lambda value: client.delete("nobody", force=value),
        "restart(force)": lambda value: client.restart("nobody", force=value),
        "prune(keep)": lambda value: known.prune(keep=value),
        "prune(older_than)": lambda value: known.prune(older_than=value),
        "page(limit)": lambda value: client.page(limit=value),
        "page(cursor)": lambda value: client.page(cursor=value),
        "cancel_all(limit)": lambda value: client.cancel_all(name="none", limit=value),
        "cancel_all(reason)": lambda value: client.cancel_all(name="none", reason=value),
        "delete_all(everything)": lambda value: client.delete_all(everything=value, created_before=1.0),
        "delete_all(force)": lambda value: client.delete_all(force=value, created_before=1.0),
        "prune_all(older_than)": lambda value: client.prune_all(name="none", older_than=value),
        **{
            f"list({name})": partial(lambda name, value: _drain(client.list(**{name: value})), name) for name in filters
        },
    }


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
async def test_no_value_reaches_a_driver_that_cannot_take_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every argument of the client's verbs, with every hostile value, is taken or refused by a typed error."""
    store: Store | str = {"memory": MemoryStore, "sqlite": lambda: SqliteStore(tmp_path / "test.db")}.get(
        kind, lambda: open_store(request.getfixturevalue("postgres_url"))
    )()
    app = trioflow.App("walled")

    @app.orchestration
    async def wait(value: Any = None) -> None: ...

    assert wait.name == "wait"
    async with trioflow.connect(store, app) as client:
        known = await client.start("wait", id="known")
        for what, call in calls_of(client, known).items():
            for place, value in enumerate(HOSTILE):
                try:
                    await call(value)
                except trioflow.StoreError as exc:
                    pytest.fail(f"{what}, value {place}: it reached the store, which said {exc}")
                except (trioflow.TrioflowError, KeyError, trio.TooSlowError):
                    pass  # refused, or not there, or not there in no time
                except Exception as exc:
                    pytest.fail(f"{what}, value {place}: {exc!r}")
