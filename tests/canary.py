"""A text that is planted wherever a program has values of its own, and an ear that hears it in trioflow's log records.

`Watch` listens in the whole suite: no test passes in which one of them tells the canary, or an exception with its
message. `tests/telemetry/net.py` hears everything that one test emits.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from trioflow._util import log_context

CANARY: Final = "cAnArY-8f3a61"
OURS: Final = ("async_generator_errors", "instruments", "runtime", "stores", "telemetry")
"""trioflow's loggers, but for those that users write to."""

_FORMAT: Final = logging.Formatter("%(name)s %(levelname)s %(message)s")


def rendered(record: logging.LogRecord) -> str:
    """All that a handler could make of a record: message, traceback, and every field."""
    return f"{_FORMAT.format(record)}\n{vars(record)}"


class Watch(logging.Handler):
    """Notes what trioflow's own loggers must not say."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.caught: list[str] = []
        for name in OURS:
            logger = logging.getLogger(f"trioflow.{name}")
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record."""
        if log_context.get().messages:
            return
        if record.exc_info or _tells_exceptions(record.args) or CANARY in rendered(record):
            self.caught.append(rendered(record))

    def take(self) -> list[str]:
        """What was caught since the last call."""
        caught, self.caught = self.caught, []
        return caught


def _tells_exceptions(args: Any) -> bool:
    """Whether an argument of a record is an exception, and is told with its message thereby."""
    return isinstance(args, tuple) and any(isinstance(each, BaseException) for each in args)
