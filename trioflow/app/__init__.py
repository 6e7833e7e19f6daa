"""Applications and the typed definitions they hold. Read first: `_retry.py`, then `_definitions.py`."""

from trioflow.app._answers import TIMED_OUT as TIMED_OUT
from trioflow.app._app import App as App
from trioflow.app._definitions import (
    ActivityDefinition as ActivityDefinition,
    OrchestrationDefinition as OrchestrationDefinition,
)
from trioflow.app._options import (
    ActivityOptions as ActivityOptions,
    decode_options as decode_options,
    encode_options as encode_options,
)
from trioflow.app._retry import NO_RETRY as NO_RETRY, Retry as Retry

__all__ = (
    "NO_RETRY",
    "TIMED_OUT",
    "ActivityDefinition",
    "ActivityOptions",
    "App",
    "OrchestrationDefinition",
    "Retry",
    "decode_options",
    "encode_options",
)
