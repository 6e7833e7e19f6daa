"""The power fails at every moment of a run, and each disk that may be left is opened again. Needs a C compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.crash_images.account import lay_out
from tests.crash_images.machine import build_shim, judge, moments, record
from tests.crash_images.orders import finish

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("durability", ["full", "fast"])
async def test_what_was_acknowledged_is_there(tmp_path: Path, shim: Path, durability: str) -> None:
    """At "full" everything that was answered, at "fast" everything up to some moment; nothing is half there."""
    records = record(shim, tmp_path, "workload", durability, 3, 3)
    verdict = await judge(records, tmp_path, durability, share=0.3)
    print(f"{durability}: {len(records)} calls, {verdict}")
    assert verdict.broken == []
    assert verdict.images >= 1200, "both together are well over two thousand"
    assert verdict.lossy > 500, "the newest is missing in many, or they would prove nothing"


async def test_fast_is_not_full(tmp_path: Path, shim: Path) -> None:
    """The machine sees the difference: at "fast" the newest of what was acknowledged may be lost, and no more."""
    verdict = await judge(record(shim, tmp_path, "workload", "fast", 2, 1), tmp_path, "full", share=0.1)
    assert verdict.broken
    assert {text.partition(": ")[0] for text in verdict.broken} == {"lost"}


async def test_a_store_that_does_not_sync_is_found_out(tmp_path: Path, shim: Path) -> None:
    """With `synchronous=OFF` behind the store's back, acknowledged operations are lost, and files are damaged."""
    verdict = await judge(record(shim, tmp_path, "workload", "sabotaged", 2, 1), tmp_path, "full", share=0.1)
    assert [text for text in verdict.broken if text.startswith("lost: ")]


@pytest.mark.parametrize("durability", ["full", "fast"])
async def test_a_runtime_goes_on_from_what_is_left(tmp_path: Path, shim: Path, durability: str) -> None:
    """A runtime that opens what the power loss left finishes every order, each step recorded once."""
    records = record(shim, tmp_path, "orders", durability)
    finished = 0
    for asked, images in moments(records, 1, 0.1):
        facts = [asked.facts[number] for number in asked.answered] if durability == "full" else []
        path = lay_out(images[finished % len(images)], tmp_path / "image")
        with trio.fail_after(60):
            await finish(path, facts)
        finished += 1
    assert finished >= 15
    print(f"{durability}: {finished} runtimes went on")
