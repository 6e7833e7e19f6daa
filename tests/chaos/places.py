"""Where the stores of the process tests are: each kind of store that several processes can share, by its name.

Who calls it: `conftest.py`. Another kind of store is one entry more.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Final

PLACES: Final[dict[str, Callable[[pathlib.Path], str]]] = {
    "sqlite": lambda folder: f"sqlite:{folder / 'store.db'}",
}
"""A function of an empty folder that gives the URL of an empty store."""

NOTICES_DEATHS: Final = ("sqlite",)
"""Those in which a dead worker's leases expire at once, as everybody lives on one machine."""
