"""What the engine's tests clean up, these clean up, too."""

from __future__ import annotations

from tests.engine.conftest import closed_after_use as closed_after_use
