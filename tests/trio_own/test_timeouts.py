"""trio's own tests of sleeping and deadlines, on `durable`: all of them, with the time of the orchestration."""

from __future__ import annotations

from tests.trio_own.loading import trio_tests

globals().update(trio_tests("trio._tests.test_timeouts"))
