"""What the documentation shows of a tree is what one gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import trio

import trioflow
from tests.runtime.programs import running, virtual_store

PAGE = Path(__file__).parents[2] / "docs" / "running.md"


async def test_the_printed_tree(autojump_clock: trio.testing.MockClock) -> None:
    """The example of "Looking inside" prints the text below it, but for the dates."""
    section = PAGE.read_text("utf-8").partition("## Looking inside\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (text,) = re.findall(r"^```text\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(compile(code, "shop.py", "exec"), shop)
    async with running(shop["app"], virtual_store(), untagged=False) as client:  # nobody packs
        handle = await client.start(shop["checkout"], "o-7", id="order-7")
        while (await handle.info()).state is trioflow.State.PENDING:
            await trio.lowlevel.checkpoint()
        printed = str(await client.tree("order-7"))
        await handle.terminate()
    dates = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
    assert len(dates.findall(printed)) == 3
    assert dates.sub("WHEN", printed) == dates.sub("WHEN", text.strip())
