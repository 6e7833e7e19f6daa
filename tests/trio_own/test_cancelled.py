"""trio's own tests of `Cancelled`, on `durable`: who cancelled, and why."""

from __future__ import annotations

from tests.trio_own.loading import Excluded, trio_tests

EXCLUDED = (
    Excluded(
        "a KeyboardInterrupt cancels nothing: it ends the turn, and is no part of the history",
        ("test_reason_delayed_ki",),
        runs=False,
    ),
)
# Names are ours, and a task is shown with its place where trio shows an address.
ADAPTED = {"^trio.Cancelled has": "^trioflow.durable.Cancelled has", r"at 0x\w*>": r"at [\d.]+>"}

globals().update(trio_tests("trio._core._tests.test_cancelled", excluded=EXCLUDED, adapted=ADAPTED))
