"""trio's own tests of events, limits, semaphores, locks and conditions, on `durable`: all of them."""

from __future__ import annotations

from tests.trio_own.loading import trio_tests

# A semaphore belongs to the orchestration that made it, so it cannot be made outside of all.
globals().update(trio_tests("trio._tests.test_sync", inside=("test_Semaphore_bounded",)))
