"""The parts of the contract stand in an order: a check needs nothing but its own part and those before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trioflow.abc import (
    CommitTurn,
    DeleteInstances,
    ListInstances,
    PruneExecutions,
    ReleaseActivity,
    ReleaseTurn,
    RenewSessions,
    TagFilter,
)
from trioflow.stores import MemoryStore
from trioflow.testing import FaultyStore, check_store
from trioflow.testing._check_store import run_check
from trioflow.testing._store_contract import CHECKS, Check, Examined, Part, chosen, part_of

A = TypeVar("A")
PARTS = list(Part)
VERBS = ("start_", "post_", "lock_", "commit_", "delete_", "list_", "prune_", "re")

ASKS: dict[Part, Callable[[Any], object]] = {
    Part.DELAYS: lambda request: (
        getattr(request, "delay", 0) and not isinstance(request, ReleaseTurn | ReleaseActivity)
    ),
    Part.HEARTBEATS: lambda request: getattr(request, "heartbeats", {}),
    Part.CANCELLING: lambda request: (
        getattr(request, "cancel_activities", ()) or getattr(request, "cancel_all_activities", False)
    ),
    Part.CHILDREN: lambda request: getattr(request, "starts", ()) or getattr(request, "messages", ()),
    Part.EXECUTIONS: lambda request: getattr(request, "next_execution", None),
    Part.REPLACING: lambda request: getattr(request, "if_exists", "fail") != "fail",
    Part.CAPABILITIES: lambda request: getattr(request, "can_run", None),
    Part.TAGS: lambda request: getattr(request, "tags", TagFilter()) != TagFilter(),
    Part.EXPIRY: lambda request: any(new.start_within for new in getattr(request, "activities", ())),
    Part.SESSIONS: lambda request: getattr(request, "sessions", None) or isinstance(request, RenewSessions),
    Part.MANAGEMENT: lambda request: isinstance(request, DeleteInstances | ListInstances | PruneExecutions),
    Part.FUSED: lambda request: (
        (isinstance(request, CommitTurn) and (request.settle or request.keep))
        or any(new.born for new in getattr(request, "activities", ()))
    ),
}
"""What a request asks of each part that can be told from requests."""


class Narrow:
    """A memory store that refuses what later parts ask for, and lets a lease run out that was given back too early."""

    def __init__(self, clock: Callable[[], float], part: Part) -> None:
        self.inner, self.core = MemoryStore(clock), part is Part.CORE
        self.later = [ask for other, ask in ASKS.items() if PARTS.index(other) > PARTS.index(part)]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return self.narrowed(found) if name.startswith(VERBS) else found

    def narrowed(self, verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def asked(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else None
            if self.core and isinstance(request, ReleaseTurn | ReleaseActivity):
                return await trio.lowlevel.checkpoint()
            if attrs.has(type(request)):
                assert not any(ask(request) for ask in self.later), f"{request!r} is for a later part"
            return await verb(*args, **kwargs)

        return asked

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(None, None, None)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_needs_no_later_one(part: Part, autojump_clock: Any) -> None:
    """Whoever has written a part and those before it passes its checks, whatever later parts would ask for."""
    examined = Examined(factory=lambda clock: Narrow(clock, part))  # type: ignore[arg-type, return-value]  # a proxy
    needy: list[str] = []
    for check in chosen([part]):
        if examined.lacks(check) is None:
            try:
                await run_check(check, examined)
            except AssertionError as exc:
                needy.append(f"{check.__name__}: {exc}")
    assert needy == []


class Talkative(FaultyStore):
    """A memory store whose hints come once more before each of the first verbs, as those of a connection may."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(MemoryStore(clock))
        self.late = 5

    async def _through(self, verb: str, call: Callable[[], Awaitable[A]]) -> A:
        if self.late:
            self.late -= 1
            self.signals.bump_all()
            await wait_all_tasks_blocked()
        return await super()._through(verb, call)


async def test_late_hints_break_no_promise(autojump_clock: Any) -> None:
    """A hint too many costs whoever hears it a look, and no check takes it for the one that it waits for."""
    ran = await check_store(Talkative)
    assert len(ran) < len(CHECKS) / 10  # those that need twins


def test_each_check_belongs_to_one_part() -> None:
    """The parts together are the contract, each check once, and none of them is empty."""
    by_part = {part: chosen([part]) for part in Part}
    assert sorted(check.__name__ for checks in by_part.values() for check in checks) == sorted(
        check.__name__ for check in CHECKS
    )
    assert [part for part, checks in by_part.items() if not checks] == []
    assert chosen(None) == CHECKS
    assert chosen(None, core_only=True) == by_part[Part.CORE]


async def test_a_check_may_be_of_another_part_than_its_theme(autojump_clock: Any) -> None:
    """Its own mark counts more than its theme; without either it is of the core."""
    by_name = {check.__name__: check for check in CHECKS}

    def part(name: str) -> Part:
        check: Check = by_name[name]
        return part_of(check)

    assert part("check_start_creates_execution_one") is Part.CORE
    assert part("check_a_free_item_is_removed") is Part.CANCELLING
    assert part("check_termination_cancels_everything") is Part.FUSED
    assert await check_store(MemoryStore, parts=["children", Part.FUSED]) == ()


@pytest.mark.parametrize("asked", [{"parts": ["childs"]}, {"parts": ["core"], "core_only": True}])
async def test_a_part_that_is_not_there_is_refused(asked: dict[str, Any]) -> None:
    """Another name than those of the parts, or parts beside `core_only`, is a mistake, and the error names them all."""
    with pytest.raises(ValueError, match="The parts are core, releases, delays"):
        await check_store(MemoryStore, **asked)
