"""Every kernel that a test makes through `World` is closed behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.helpers import World


@pytest.fixture(autouse=True)
def _close_worlds() -> Iterator[None]:
    yield
    while World.made:
        World.made.pop().kernel.close()
