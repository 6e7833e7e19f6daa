"""Lists of instances, newest first, read page by page.

Laws: a cursor stands for a place between two instances, not for a number of them, so what comes and goes meanwhile
moves nothing: none is seen twice, and none is left out that fits all the time; a cursor is a text that anybody may keep
and hand back, to another process, too, and holds nothing of an instance but its id and when it was started.

Who calls it: `_management.py`, `_bulk.py`. Read next: `_info.py`.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs
import trio

from trioflow._client._checks import check_count
from trioflow._client._filter import InstanceFilter
from trioflow._client._info import InstanceInfo, describe
from trioflow._client._requests import until_answered
from trioflow._util import shown
from trioflow.abc import InstancePage, InstanceRecord, ListInstances, ListPlace
from trioflow.errors import ConfigurationError

if TYPE_CHECKING:
    from trioflow._client._steering import Steering

T = TypeVar("T")

PAGE: Final = 100
"""Instances that are read at once."""


@attrs.frozen(kw_only=True)
class ListPage:
    """Part of a list, newest first.

    Attributes:
        instances: up to as many as were asked for.
        cursor: give it to `client.page` to go on behind the last of them; None where the list ends.
    """

    instances: tuple[InstanceInfo, ...]
    cursor: str | None


async def page_of(client: Steering, filter: InstanceFilter, limit: int, cursor: str | None) -> ListPage:
    """See `Client.page`."""
    check_count("limit", limit)
    after = None if cursor is None else _place(cursor)
    page = await _read(client, filter, limit, after)
    return ListPage(
        instances=tuple(describe(record, client.app, client.codec) for record in page.instances),
        cursor=None if page.next is None else _cursor(page.next),
    )


@attrs.define(eq=False)
class Instances(Generic[T]):
    """Iterates over instances: see `Client.list`. One page of them is read at a time, when it is needed."""

    _client: Steering
    _filter: InstanceFilter
    _show: Callable[[InstanceRecord], T]
    _records: deque[InstanceRecord] = attrs.field(factory=deque, init=False)  # read, and not given yet
    _after: ListPlace | None = attrs.field(default=None, init=False)  # where the next page begins; None: at the top
    _over: bool = attrs.field(default=False, init=False)  # the last page was read

    def __aiter__(self) -> Instances[T]:
        return self

    async def __anext__(self) -> T:
        while not self._records and not self._over:
            page = await _read(self._client, self._filter, PAGE, self._after)
            self._records.extend(page.instances)
            self._after, self._over = page.next, page.next is None
        await trio.lowlevel.checkpoint()
        if not self._records:
            raise StopAsyncIteration
        return self._show(self._records.popleft())


async def _read(client: Steering, filter: InstanceFilter, limit: int, after: ListPlace | None) -> InstancePage:
    request = ListInstances(query=filter.query(), limit=limit, after=after)
    return await until_answered(client.store.list_instances, request)


# -- cursors: JSON, made a text that any address or form can carry -----------------------------------------------------


def _cursor(place: ListPlace) -> str:
    plain = json.dumps([place.created_at, place.instance]).encode()
    return base64.urlsafe_b64encode(plain).decode("ascii")


def _place(cursor: str) -> ListPlace:
    try:
        created_at, instance = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if isinstance(created_at, float) and isinstance(instance, str):
            return ListPlace(created_at, instance)
    except (TypeError, ValueError):
        pass
    raise ConfigurationError(f"cursor= takes the cursor of a page that `client.page` gave before, not {shown(cursor)}")
