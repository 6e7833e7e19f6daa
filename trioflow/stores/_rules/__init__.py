"""What every store does, decided once: rules over tables, without a clock, a thread or a file.

A rule is a function of the work at hand and a request; it answers with a record or raises, and a store runs it inside
one transaction. Read first: `_rows.py`, `_tables.py`, `_work.py`; then `_turns.py`.
"""

from trioflow.stores._rules._activities import (
    commit_activities as commit_activities,
    lock_activities as lock_activities,
    release_activity as release_activity,
    renew_activities as renew_activities,
)
from trioflow.stores._rules._administration import (
    READS as READS,
    ReadExecutions as ReadExecutions,
    delete_instances as delete_instances,
    list_instances as list_instances,
    prune_executions as prune_executions,
    read_depths as read_depths,
    read_executions as read_executions,
    read_metrics as read_metrics,
)
from trioflow.stores._rules._checks import (
    check_commit as check_commit,
    check_message as check_message,
    check_start as check_start,
    is_id as is_id,
)
from trioflow.stores._rules._needs import Needs as Needs, asks_for_several as asks_for_several
from trioflow.stores._rules._reads import (
    ReadHistory as ReadHistory,
    read_clock as read_clock,
    read_history as read_history,
    read_instance as read_instance,
    read_kv as read_kv,
)
from trioflow.stores._rules._rows import (
    ACTIVITY_COLUMNS as ACTIVITY_COLUMNS,
    CANCEL as CANCEL,
    INSTANCE_COLUMNS as INSTANCE_COLUMNS,
    START as START,
    ActivityRow as ActivityRow,
    Inbox as Inbox,
    InstanceRow as InstanceRow,
    Remembered as Remembered,
    SessionRow as SessionRow,
    StoredMessage as StoredMessage,
)
from trioflow.stores._rules._sessions import (
    release_sessions as release_sessions,
    renew_sessions as renew_sessions,
)
from trioflow.stores._rules._starts import post_message as post_message, start_instance as start_instance
from trioflow.stores._rules._steady import SteadyClock as SteadyClock
from trioflow.stores._rules._tables import Sessions as Sessions, Tables as Tables
from trioflow.stores._rules._turns import (
    commit_turn as commit_turn,
    lock_turns as lock_turns,
    release_turn as release_turn,
    renew_turns as renew_turns,
)
from trioflow.stores._rules._work import (
    MEMORY_OF_REQUESTS as MEMORY_OF_REQUESTS,
    TIDY_EVERY as TIDY_EVERY,
    Rule as Rule,
    Tidying as Tidying,
    Work as Work,
)

__all__ = (
    "ACTIVITY_COLUMNS",
    "CANCEL",
    "INSTANCE_COLUMNS",
    "MEMORY_OF_REQUESTS",
    "READS",
    "START",
    "TIDY_EVERY",
    "ActivityRow",
    "Inbox",
    "InstanceRow",
    "Needs",
    "ReadExecutions",
    "ReadHistory",
    "Remembered",
    "Rule",
    "SessionRow",
    "Sessions",
    "SteadyClock",
    "StoredMessage",
    "Tables",
    "Tidying",
    "Work",
    "asks_for_several",
    "check_commit",
    "check_message",
    "check_start",
    "commit_activities",
    "commit_turn",
    "delete_instances",
    "is_id",
    "list_instances",
    "lock_activities",
    "lock_turns",
    "post_message",
    "prune_executions",
    "read_clock",
    "read_depths",
    "read_executions",
    "read_history",
    "read_instance",
    "read_kv",
    "read_metrics",
    "release_activity",
    "release_sessions",
    "release_turn",
    "renew_activities",
    "renew_sessions",
    "renew_turns",
    "start_instance",
)
