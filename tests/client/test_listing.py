"""Lists of instances: filters, order, pages, cursors, and what makes no sense."""

from __future__ import annotations

import datetime
import json
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import trioflow
from tests.client.managed import listed, make_yard, until_state
from tests.runtime.programs import EPOCH, running, virtual_store
from trioflow import InstanceFilter, State
from trioflow._client import _listing
from trioflow.abc import Store


async def fill(client: trioflow.Client) -> None:
    """A few instances, in this order."""
    await (await client.start("echo", 1, id="a-1", attributes={"region": "eu", "tier": "gold"})).result()
    with pytest.raises(trioflow.OrchestrationFailed):
        await (await client.start("fail", "bad", id="a-2", attributes={"region": "us"})).result()
    await until_state(await client.start("parent", "b-2", id="b-1"), State.WAITING)
    await client.start("echo", 2, id="b-3", delay=3600)


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({}, ["b-3", "b-2", "b-1", "a-2", "a-1"]),
        ({"states": "failed"}, ["a-2"]),
        ({"states": State.COMPLETED}, ["a-1"]),
        ({"states": ["completed", State.FAILED, "failed"]}, ["a-2", "a-1"]),
        ({"states": None}, ["b-3", "b-2", "b-1", "a-2", "a-1"]),
        ({"name": "echo"}, ["b-3", "a-1"]),
        ({"name": "echo", "states": "pending"}, ["b-3"]),
        ({"version": "1.0.0", "name": "echo"}, ["a-1"]),
        ({"prefix": "a-"}, ["a-2", "a-1"]),
        ({"prefix": "%"}, []),
        ({"parent": "b-1"}, ["b-2"]),
        ({"roots": True}, ["b-3", "b-1", "a-2", "a-1"]),
        ({"attributes": {"region": "eu"}}, ["a-1"]),
        ({"attributes": {"region": "eu", "tier": "lead"}}, []),
        ({"created_before": 5.0}, []),
        ({"ended_after": 5}, ["a-2", "a-1"]),
        (dict.fromkeys(attrs.fields_dict(InstanceFilter)), None),
    ],
)
async def test_a_filter_finds_what_fits(store: Store, fields: dict[str, Any], ids: list[str] | None) -> None:
    """Every condition narrows the list, which is newest first; a field that is None says nothing."""
    fields = {name: value for name, value in fields.items() if not (ids is None and name in ("prefix", "roots"))}
    async with running(make_yard().app, store) as client:
        await fill(client)
        ids = ["b-3", "b-2", "b-1", "a-2", "a-1"] if ids is None else ids
        assert await listed(client, **fields) == ids
        assert await listed(client, InstanceFilter(**fields)) == ids
        assert [info async for info in client.list(prefix="a-1")] == [await client.get("a-1")]


async def test_keywords_add_to_a_filter(store: Store) -> None:
    """A filter that is kept may be narrowed where it is used; what the keywords say counts."""
    kept = InstanceFilter(prefix="a", states="completed")
    async with running(make_yard().app, store) as client:
        await fill(client)
        assert await listed(client, kept, states="failed") == ["a-2"]
        assert await listed(client, kept, name="fail") == []


async def test_times_are_datetimes_or_seconds(autojump_clock: MockClock) -> None:
    """Ranges take aware datetimes of any offset, and seconds; "after" includes its moment, "before" does not."""
    async with running(make_yard().app, virtual_store()) as client:
        for hour in range(3):
            await trio.sleep_until(hour * 3600)
            await client.start("wait", id=f"at-{hour}")
        one = (await client.get("at-1")).created_at
        east = datetime.timezone(datetime.timedelta(hours=5))
        for moment in (
            one,
            datetime.datetime.fromtimestamp(one, datetime.UTC),
            datetime.datetime.fromtimestamp(one, east),
        ):
            assert await listed(client, created_after=moment) == ["at-2", "at-1"]
            assert await listed(client, created_before=moment) == ["at-0"]
        await client.handle("at-0").raise_event("go")
        await client.handle("at-0").result()
        assert await listed(client, updated_after=EPOCH + 7199, ended_before=EPOCH + 7300) == ["at-0"]
        assert await listed(client, updated_before=EPOCH + 7199) == ["at-1"]


async def test_pages_stand_still_while_instances_come_and_go(store: Store) -> None:
    """A cursor is a place: what is started or deleted between two pages moves nothing. Any client may go on from it."""
    app = make_yard().app
    async with running(app, store) as client, trioflow.connect(store, app) as other:
        for number in range(7):
            await (await client.start("echo", id=f"i-{number}")).result()
        first = await client.page(limit=3)
        assert [info.id for info in first.instances] == ["i-6", "i-5", "i-4"]
        await (await client.start("echo", id="i-7")).result()
        await client.delete("i-4")
        await client.delete("i-2")
        assert first.cursor is not None
        cursor = json.loads(json.dumps(first.cursor))
        second = await other.page(limit=3, cursor=cursor)
        assert [info.id for info in second.instances] == ["i-3", "i-1", "i-0"]
        assert second.cursor is None
        assert await client.page(limit=3, cursor=cursor) == second
        assert (await client.page(limit=1, name="echo")).cursor is not None
        assert await client.page(limit=5, name="nobody") == trioflow.ListPage(instances=(), cursor=None)


async def test_a_list_reads_page_after_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterating reads no more than it needs and gives each instance once, wherever pages end."""
    monkeypatch.setattr(_listing, "PAGE", 3)
    async with running(make_yard().app, store) as client:
        for number in range(6):
            await client.start("wait", id=f"i-{number}")
        seen = []
        async for info in client.list():
            seen.append(info.id)
            if info.id == "i-4":
                await client.delete("i-1", force=True)
                await client.delete("i-3", force=True)  # its page has been read
                await client.start("wait", id="i-6")
        assert seen == ["i-5", "i-4", "i-3", "i-2", "i-0"]
        everything = client.list()
        assert [info.id async for info in everything] == ["i-6", "i-5", "i-4", "i-2", "i-0"]
        assert [info.id async for info in everything] == []


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"states": "done"}, trioflow.ConfigurationError, "pending, waiting, suspended"),
        ({"states": 5}, trioflow.ConfigurationError, "states="),
        ({"states": []}, trioflow.ConfigurationError, "names no state"),
        ({"states": ["failed", None]}, trioflow.ConfigurationError, "states="),
        ({"created_after": datetime.datetime(2026, 1, 1)}, trioflow.ConfigurationError, "tzinfo="),  # noqa: DTZ001
        ({"created_after": "yesterday"}, trioflow.ConfigurationError, "aware datetime"),
        ({"ended_before": float("nan")}, trioflow.ConfigurationError, "aware datetime"),
        ({"ended_before": True}, trioflow.ConfigurationError, "aware datetime"),
        ({"ended_before": 10**400}, trioflow.ConfigurationError, "aware datetime"),
        ({"updated_after": 1.7e12}, trioflow.ConfigurationError, "seconds since the Unix epoch"),
        ({"roots": "yes"}, trioflow.ConfigurationError, "roots="),
        ({"name": 5}, trioflow.EncodeError, "name="),
        ({"prefix": "\ud800"}, trioflow.EncodeError, "prefix="),
        ({"parent": "a\0"}, trioflow.EncodeError, "parent="),
        ({"attributes": ["a"]}, trioflow.EncodeError, "attributes="),
        ({"attributes": {"a": 1}}, trioflow.EncodeError, "attributes="),
        ({"attributes": {"a": "\ud800"}}, trioflow.EncodeError, "attributes="),
        ({"nam": "echo"}, TypeError, "'nam'.*name"),
        ({"filter": {"name": "echo"}}, TypeError, "name='checkout'"),
        ({"filter": "echo"}, TypeError, "InstanceFilter"),
    ],
)
async def test_nonsense_is_refused(store: Store, fields: dict[str, Any], error: type[Exception], text: str) -> None:
    """What makes no sense is a typed error that says so, before a store is asked."""
    async with trioflow.connect(store) as client:
        with pytest.raises(error, match=text):
            client.list(**fields)
        with pytest.raises(error, match=text):
            await client.page(**fields)
        with pytest.raises(error, match=text):
            await client.resume_all(**fields)


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "bnVsbA==", "WzEsMl0=", "WyJhIiwgImIiXQ==", "é", 7, b"W10=", "W10="]
)
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: Any) -> None:
    """Only what a page gave is taken."""
    async with trioflow.connect(store) as client:
        with pytest.raises(trioflow.ConfigurationError, match="cursor="):
            await client.page(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3", None])
async def test_a_page_has_a_size(store: Store, limit: Any) -> None:
    """A limit is a whole number from 1 on."""
    async with trioflow.connect(store) as client:
        with pytest.raises(trioflow.ConfigurationError, match="limit="):
            await client.page(limit=limit)
