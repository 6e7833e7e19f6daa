"""trio's own tests of its core, on `durable`: tasks, nurseries, cancel scopes, deadlines, garbage."""

from __future__ import annotations

from tests.trio_own.loading import Excluded, trio_tests

NEVER_LAX = "exception groups are always strict"
SYSTEM = "there are no system tasks: nothing runs outside of a nursery that someone can point to"
TOKENS = "there are no tokens: what other threads have to say comes as durable events; the facade only imitates them"
DETACHING = "a coroutine is never detached from its task: every step of it has to be replayed"
WHOLE_RUN = "a run has no root task, clock object or statistics of its own"

EXCLUDED = (
    Excluded("time stands still while code runs", ("test_current_time",)),
    Excluded(WHOLE_RUN, ("test_current_clock", "test_current_statistics", "test_root_task")),
    Excluded(
        SYSTEM,
        (
            "test_spawn_system_task",
            "test_system_task_contexts",
            "test_system_task_crash",
            "test_system_task_crash_ExceptionGroup",
            "test_system_task_crash_plus_Cancelled",
        ),
    ),
    Excluded(
        SYSTEM + "; a KeyboardInterrupt would end the tests", ("test_system_task_crash_KeyboardInterrupt",), runs=False
    ),
    Excluded(
        TOKENS,
        (
            "test_TrioToken_identity",
            "test_TrioToken_run_sync_soon_after_main_crash",
            "test_TrioToken_run_sync_soon_basic",
            "test_TrioToken_run_sync_soon_crashes",
            "test_TrioToken_run_sync_soon_FIFO",
            "test_TrioToken_run_sync_soon_idempotent",
            "test_TrioToken_run_sync_soon_idempotent_requeue",
            "test_TrioToken_run_sync_soon_late_crash",
            "test_TrioToken_run_sync_soon_massive_queue",
            "test_TrioToken_run_sync_soon_starvation_resistance",
            "test_TrioToken_run_sync_soon_threaded_stress_test",
            "test_TrioToken_run_sync_soon_too_late",
        ),
        runs=False,
    ),
    Excluded(
        DETACHING,
        (
            "test_detach_and_reattach_coroutine_object",
            "test_detached_coroutine_cancellation",
            "test_permanently_detach_coroutine_object",
        ),
    ),
    Excluded("it breaks a private counter of trio's to see the run loop fail", ("test_error_in_run_loop",)),
    Excluded("it looks at how trio counts frames of its own", ("test_context_run_tb_frames",)),
    Excluded("whoever runs an orchestration is no part of it, nor are their contextvars", ("test_contextvar_support",)),
    Excluded("inside an orchestration no async library answers, so that none is used", ("test_sniffio_integration",)),
    Excluded(
        NEVER_LAX,
        ("test_setting_strict_exception_groups", "test_trio_run_strict_before_started"),
        ("run_strict", False),
    ),
    Excluded(NEVER_LAX, ("test_setting_strict_exception_groups",), ("open_nursery_strict", False)),
    Excluded(NEVER_LAX, ("test_trio_run_strict_before_started",), ("start_raiser_strict", False)),
    Excluded(NEVER_LAX, ("test_nursery_collapse",), ("strict", False)),
)

tests = trio_tests(
    "trio._core._tests.test_run", excluded=EXCLUDED, adapted={"^Trio was expecting": "^trioflow was expecting"}
)
globals().update(tests)
