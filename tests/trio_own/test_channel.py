"""trio's own tests of memory channels, on `durable`: all of them."""

from __future__ import annotations

from tests.trio_own.loading import trio_tests

globals().update(trio_tests("trio._tests.test_channel"))
