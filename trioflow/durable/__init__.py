"""What authors write with: trio's vocabulary, made durable, and the durable verbs. Floor 2.

A person who knows trio needs no other page for the first part. Read first: `_events.py`, `_combinators.py`.
"""

from trioflow._ambient import OrchestrationInfo as OrchestrationInfo
from trioflow._kernel import (
    TASK_STATUS_IGNORED as TASK_STATUS_IGNORED,
    CancelScope as CancelScope,
    Cancelled as Cancelled,
    Nursery as Nursery,
    TaskStatus as TaskStatus,
    current_effective_deadline as current_effective_deadline,
    current_time as current_time,
    fail_after as fail_after,
    fail_at as fail_at,
    move_on_after as move_on_after,
    move_on_at as move_on_at,
    open_nursery as open_nursery,
    sleep as sleep,
    sleep_forever as sleep_forever,
    sleep_until as sleep_until,
)
from trioflow._util import (
    BrokenResourceError as BrokenResourceError,
    BusyResourceError as BusyResourceError,
    ClosedResourceError as ClosedResourceError,
    EndOfChannel as EndOfChannel,
    TooSlowError as TooSlowError,
    WouldBlock as WouldBlock,
)
from trioflow.durable import lowlevel as lowlevel
from trioflow.durable._channels import (
    MemoryChannelStatistics as MemoryChannelStatistics,
    MemoryReceiveChannel as MemoryReceiveChannel,
    MemorySendChannel as MemorySendChannel,
    open_memory_channel as open_memory_channel,
)
from trioflow.durable._combinators import gather as gather, map as map, race as race  # noqa: A004  # the verb's name
from trioflow.durable._determinism import (
    info as info,
    now as now,
    patched as patched,
    random as random,
    record as record,
    rng as rng,
    uuid4 as uuid4,
)
from trioflow.durable._events import (
    Events as Events,
    events as events,
    wait_event as wait_event,
    wait_event_nowait as wait_event_nowait,
)
from trioflow.durable._executions import continue_as_new as continue_as_new, start_detached as start_detached
from trioflow.durable._limits import (
    CapacityLimiter as CapacityLimiter,
    CapacityLimiterStatistics as CapacityLimiterStatistics,
    Semaphore as Semaphore,
)
from trioflow.durable._locks import (
    Condition as Condition,
    ConditionStatistics as ConditionStatistics,
    Lock as Lock,
    LockStatistics as LockStatistics,
    StrictFIFOLock as StrictFIFOLock,
)
from trioflow.durable._logger import DurableLogger as DurableLogger, logger as logger
from trioflow.durable._others import read_kv as read_kv, read_status as read_status
from trioflow.durable._progress import (
    KeyValues as KeyValues,
    get_status as get_status,
    kv as kv,
    set_status as set_status,
)
from trioflow.durable._safe_channels import SafeChannel as SafeChannel, as_safe_channel as as_safe_channel
from trioflow.durable._saga import Saga as Saga, saga as saga
from trioflow.durable._sync import Event as Event, EventStatistics as EventStatistics

__all__ = (
    "TASK_STATUS_IGNORED",
    "BrokenResourceError",
    "BusyResourceError",
    "CancelScope",
    "Cancelled",
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "ClosedResourceError",
    "Condition",
    "ConditionStatistics",
    "DurableLogger",
    "EndOfChannel",
    "Event",
    "EventStatistics",
    "Events",
    "KeyValues",
    "Lock",
    "LockStatistics",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "Nursery",
    "OrchestrationInfo",
    "SafeChannel",
    "Saga",
    "Semaphore",
    "StrictFIFOLock",
    "TaskStatus",
    "TooSlowError",
    "WouldBlock",
    "as_safe_channel",
    "continue_as_new",
    "current_effective_deadline",
    "current_time",
    "events",
    "fail_after",
    "fail_at",
    "gather",
    "get_status",
    "info",
    "kv",
    "logger",
    "lowlevel",
    "map",
    "move_on_after",
    "move_on_at",
    "now",
    "open_memory_channel",
    "open_nursery",
    "patched",
    "race",
    "random",
    "read_kv",
    "read_status",
    "record",
    "rng",
    "saga",
    "set_status",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "start_detached",
    "uuid4",
    "wait_event",
    "wait_event_nowait",
)
