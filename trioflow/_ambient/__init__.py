"""What a running orchestration may ask of whoever runs it. Floor 1b, between the kernel and what authors write with.

Read first: `_asks.py`.
"""

from trioflow._ambient._asks import (
    Ask as Ask,
    AskActivity as AskActivity,
    AskChild as AskChild,
    AskDetached as AskDetached,
    AskEvent as AskEvent,
    Mode as Mode,
    OnCancel as OnCancel,
    OnParentClose as OnParentClose,
)
from trioflow._ambient._host import (
    Host as Host,
    LogEntry as LogEntry,
    OrchestrationInfo as OrchestrationInfo,
    current_host as current_host,
)
from trioflow._ambient._own import (
    ANY_WORKER as ANY_WORKER,
    OWN as OWN,
    READ_KV as READ_KV,
    READ_STATUS as READ_STATUS,
)
from trioflow._ambient._restart import ContinueAsNew as ContinueAsNew, essence_of as essence_of
from trioflow._ambient._spans import (
    How as How,
    Part as Part,
    PartClosed as PartClosed,
    PartOpened as PartOpened,
    Span as Span,
    SpanKind as SpanKind,
)

__all__ = (
    "ANY_WORKER",
    "OWN",
    "READ_KV",
    "READ_STATUS",
    "Ask",
    "AskActivity",
    "AskChild",
    "AskDetached",
    "AskEvent",
    "ContinueAsNew",
    "Host",
    "How",
    "LogEntry",
    "Mode",
    "OnCancel",
    "OnParentClose",
    "OrchestrationInfo",
    "Part",
    "PartClosed",
    "PartOpened",
    "Span",
    "SpanKind",
    "current_host",
    "essence_of",
)
