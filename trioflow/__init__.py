"""trioflow: durable orchestrations inside a trio application.

An orchestration is an ordinary ``async`` function whose every step is recorded, so that it survives crashes, restarts
and deploys.

General layout, from the top: `_open` joins a worker (`_runtime`) and a client (`_client`) on a store (`stores`); the
worker evaluates turns with `_engine`, which drives the deterministic scheduler `_kernel` over a `history`; authors
write with `app`, `durable` and `activity`; `abc` holds the contracts between them, `errors` every error, `testing` what
tests need. `stores`, `telemetry` and `testing` are loaded when somebody asks for them: a program that imports trioflow
pays for no database, no OpenTelemetry and no test harness. Read next: `app`, `durable`, then `_open`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trioflow import (
    activity as activity,
    durable as durable,
)
from trioflow._client import (
    Client as Client,
    ExecutionEnd as ExecutionEnd,
    ExecutionInfo as ExecutionInfo,
    Handle as Handle,
    InstanceFilter as InstanceFilter,
    InstanceInfo as InstanceInfo,
    InstanceTree as InstanceTree,
    ListPage as ListPage,
    Metrics as Metrics,
)
from trioflow._kernel import (
    TreeBranch as TreeBranch,
    TreeScope as TreeScope,
    TreeWait as TreeWait,
)
from trioflow._open import (
    Runtime as Runtime,
    connect as connect,
    open_runtime as open_runtime,
    serve as serve,
)
from trioflow._runtime import (
    RuntimeOptions as RuntimeOptions,
)
from trioflow.abc import (
    QueueDepth as QueueDepth,
    QueueDepths as QueueDepths,
    State as State,
)
from trioflow.app import (
    App as App,
    Retry as Retry,
)
from trioflow.errors import (
    ActivityFailed as ActivityFailed,
    ActivityPoisoned as ActivityPoisoned,
    ActivityTimedOut as ActivityTimedOut,
    ChildCancelled as ChildCancelled,
    ChildFailed as ChildFailed,
    ChildTerminated as ChildTerminated,
    ConfigurationError as ConfigurationError,
    DecodeError as DecodeError,
    DuplicateRequestError as DuplicateRequestError,
    EncodeError as EncodeError,
    EventTypeError as EventTypeError,
    ForeignAwaitError as ForeignAwaitError,
    HistoryError as HistoryError,
    InstanceExists as InstanceExists,
    InstanceFinished as InstanceFinished,
    InstanceNotFinished as InstanceNotFinished,
    InstanceNotFound as InstanceNotFound,
    InstanceParked as InstanceParked,
    LimitExceeded as LimitExceeded,
    LockLost as LockLost,
    MailboxFull as MailboxFull,
    NondeterminismError as NondeterminismError,
    NotInOrchestration as NotInOrchestration,
    OperationFailed as OperationFailed,
    OrchestrationCancelled as OrchestrationCancelled,
    OrchestrationFailed as OrchestrationFailed,
    OrchestrationTerminated as OrchestrationTerminated,
    OutcomeUnknown as OutcomeUnknown,
    PayloadError as PayloadError,
    SpinError as SpinError,
    StoreClosed as StoreClosed,
    StoreCorrupt as StoreCorrupt,
    StoreError as StoreError,
    StoreFull as StoreFull,
    StoreReadOnly as StoreReadOnly,
    StoreSchemaNewer as StoreSchemaNewer,
    StoreUnavailable as StoreUnavailable,
    TrioflowError as TrioflowError,
    UnknownEventKind as UnknownEventKind,
    UnregisteredError as UnregisteredError,
)
from trioflow.history import (
    Limits as Limits,
)

if TYPE_CHECKING:
    from trioflow import (
        stores as stores,
        telemetry as telemetry,
        testing as testing,
    )

__all__ = (
    "ActivityFailed",
    "ActivityPoisoned",
    "ActivityTimedOut",
    "App",
    "ChildCancelled",
    "ChildFailed",
    "ChildTerminated",
    "Client",
    "ConfigurationError",
    "DecodeError",
    "DuplicateRequestError",
    "EncodeError",
    "EventTypeError",
    "ExecutionEnd",
    "ExecutionInfo",
    "ForeignAwaitError",
    "Handle",
    "HistoryError",
    "InstanceExists",
    "InstanceFilter",
    "InstanceFinished",
    "InstanceInfo",
    "InstanceNotFinished",
    "InstanceNotFound",
    "InstanceParked",
    "InstanceTree",
    "LimitExceeded",
    "Limits",
    "ListPage",
    "LockLost",
    "MailboxFull",
    "Metrics",
    "NondeterminismError",
    "NotInOrchestration",
    "OperationFailed",
    "OrchestrationCancelled",
    "OrchestrationFailed",
    "OrchestrationTerminated",
    "OutcomeUnknown",
    "PayloadError",
    "QueueDepth",
    "QueueDepths",
    "Retry",
    "Runtime",
    "RuntimeOptions",
    "SpinError",
    "State",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreSchemaNewer",
    "StoreUnavailable",
    "TreeBranch",
    "TreeScope",
    "TreeWait",
    "TrioflowError",
    "UnknownEventKind",
    "UnregisteredError",
    "activity",
    "connect",
    "durable",
    "open_runtime",
    "serve",
    "stores",
    "telemetry",
    "testing",
)


def __getattr__(name: str) -> Any:
    """Load `stores`, `telemetry` or `testing`."""
    if name not in ("stores", "telemetry", "testing"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"trioflow.{name}")
