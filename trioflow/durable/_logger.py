"""The logger of orchestrations: each line once, however often the code is replayed.

Laws: a record is part of the turn and is emitted after the turn is committed; replays and dropped executions are
silent. It carries `instance`, `execution`, `orchestration`, `version`, `worker`, `trace_id` and `span_id`, as far as
they are known; what the code itself gives as `extra` wins.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from trioflow._ambient import LogEntry, current_host


class DurableLogger:
    """Like a `logging.Logger`, for use inside orchestrations.

    Args:
        name: of the logger the records go to.
    """

    def __init__(self, name: str = "trioflow.orchestration") -> None:
        self.name = name

    def log(self, level: int, message: str, *args: Any, **options: Any) -> None:
        """Log at `level`. `exc_info` and `extra` mean what they mean to `logging`."""
        exc = _exception(options.pop("exc_info", None))
        extra = options.pop("extra", None) or {}
        if options:
            raise TypeError(f"durable.logger takes exc_info= and extra=, not {', '.join(options)}")
        current_host().log(
            LogEntry(logger=self.name, level=level, message=message, args=args, exc_info=exc, extra=extra)
        )

    def debug(self, message: str, *args: Any, **options: Any) -> None:
        """Log at DEBUG."""
        self.log(logging.DEBUG, message, *args, **options)

    def info(self, message: str, *args: Any, **options: Any) -> None:
        """Log at INFO."""
        self.log(logging.INFO, message, *args, **options)

    def warning(self, message: str, *args: Any, **options: Any) -> None:
        """Log at WARNING."""
        self.log(logging.WARNING, message, *args, **options)

    def error(self, message: str, *args: Any, **options: Any) -> None:
        """Log at ERROR."""
        self.log(logging.ERROR, message, *args, **options)

    def exception(self, message: str, *args: Any, **options: Any) -> None:
        """Log at ERROR, with the exception being handled."""
        self.log(logging.ERROR, message, *args, **{"exc_info": True, **options})

    def critical(self, message: str, *args: Any, **options: Any) -> None:
        """Log at CRITICAL."""
        self.log(logging.CRITICAL, message, *args, **options)

    def __repr__(self) -> str:
        return f"<DurableLogger {self.name!r}>"


def _exception(given: object) -> BaseException | None:
    match given:
        case BaseException():
            return given
        case (_, BaseException() as exc, _):
            return exc
    return sys.exc_info()[1] if given else None


logger = DurableLogger()
"""The logger of the running orchestration. Holds nothing of it."""
