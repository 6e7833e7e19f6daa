"""The contract has teeth: stores with one mistake each are found, by the checks that are about it, and none is idle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.stores.sabotages import activities, administration, entering, races, rows, sessions, turns, twins
from tests.stores.sabotages._kit import Sabotage, Sabotaged
from trioflow.stores import MemoryStore
from trioflow.testing import check_store
from trioflow.testing._check_store import run_check
from trioflow.testing._store_contract import CHECKS, Examined, Part, part_of

BY_NAME = {check.__name__: check for check in CHECKS}
IN_MEMORY = [
    one for theme in (turns, entering, activities, sessions, administration, rows, races) for one in theme.SABOTAGES
]


async def passed(examined: Examined, *names: str) -> list[str]:
    """The checks that find nothing."""
    found = []
    for name in names:
        try:
            await run_check(BY_NAME[name], examined)
        except Exception:
            continue
        found.append(name)
    return found


@pytest.mark.parametrize("sabotage", IN_MEMORY, ids=lambda one: one.name)
async def test_a_mistake_is_found(
    sabotage: Sabotage, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each check that is about a mistake fails for a store that makes it."""
    assert sabotage.breaks
    assert await passed(sabotage.apply(monkeypatch, tmp_path), *sabotage.breaks) == []


@pytest.mark.parametrize(
    ("sabotage", "name"),
    [
        pytest.param(one, name, marks=[pytest.mark.slow] if part_of(BY_NAME[name]) is Part.PROCESSES else [])
        for one in twins.SABOTAGES
        for name in one.breaks
    ],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
async def test_a_mistake_of_twins_is_found(
    sabotage: Sabotage, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each check that is about twins fails for a store whose twins do not share what they should."""
    assert await passed(sabotage.apply(monkeypatch, tmp_path), name) == []


def test_every_check_has_found_a_mistake() -> None:
    """There is no check that finds nothing: each is named by a sabotage."""
    named = dict.fromkeys(name for one in (*IN_MEMORY, *twins.SABOTAGES) for name in one.breaks)
    assert [check.__name__ for check in CHECKS if check.__name__ not in named] == []
    assert [name for name in named if name not in BY_NAME] == []


class ConsumesEverything(Sabotaged):
    """Empties the inbox with each commit."""

    async def commit_turn(self, request):
        return await self.inner.commit_turn(attrs.evolve(request, consumed=tuple(range(1, 1000))))


async def test_check_store_reports_all_that_it_found(autojump_clock: Any) -> None:
    """The public entry goes on after a failure, names each check that failed and its part, and counts by part."""
    with pytest.raises(ExceptionGroup, match=r"checks failed \(core \d+\)") as caught:
        await check_store(ConsumesEverything, core_only=True)
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    for name in ("check_messages_during_a_turn_wait", "check_commit_removes_exactly_what_was_consumed"):
        assert any(f"found by {name}, of the part core:" in note for note in notes)


async def test_check_store_tells_what_it_left_out(autojump_clock: Any) -> None:
    """A good store passes, and the answer names the checks that it was spared, which are those about twins."""
    others = [check.__name__ for check in CHECKS if part_of(check) in (Part.TWINS, Part.PROCESSES)]
    assert list(await check_store(MemoryStore)) == others
    assert await check_store(MemoryStore, core_only=True) == ()
