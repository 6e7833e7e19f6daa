"""What a runtime does, for those who watch it: traces and metrics through OpenTelemetry, and logs that tell who logs.

Traces follow an orchestration through processes, crashes and retries. `open_runtime` and `connect` tell OpenTelemetry
by themselves where the process has configured it; an instrument of one's own derives from `trioflow.abc.Instrument`.
Read next: `_opentelemetry.py`.
"""

from trioflow.telemetry._logs import (
    CorrelationFilter as CorrelationFilter,
    add_correlation as add_correlation,
)
from trioflow.telemetry._opentelemetry import (
    OpenTelemetry as OpenTelemetry,
    configured as configured,
)
from trioflow.telemetry._otlp import open_otlp as open_otlp

__all__ = (
    "CorrelationFilter",
    "OpenTelemetry",
    "add_correlation",
    "configured",
    "open_otlp",
)
