"""trio's own tests of parking lots, on `durable`: all of them."""

from __future__ import annotations

from tests.trio_own.loading import trio_tests

globals().update(trio_tests("trio._core._tests.test_parking_lot"))
