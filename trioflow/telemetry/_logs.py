"""Log records that tell who logs: a filter for `logging`, and the same as a processor for structlog.

Laws: whatever logs in a turn or in an activity is stamped, in child tasks and threads, too: trioflow's own loggers, the
application's, those of libraries; what a record has already is left as it is; nothing is ever filtered out.

Who calls it: `logging` handlers, structlog. Read next: `trioflow._util._log_context`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from trioflow._util import FIELDS, log_fields

NOBODY: Final = "-"


class CorrelationFilter(logging.Filter):
    """Gives each log record the fields `instance`, `execution`, `orchestration`, `version`, `activity`, `attempt`,
    `worker`, `trace_id` and `span_id`, and all that matters of them in one text, `trioflow`.

    A field is None where there is no such thing; the text is "-" where nothing is known. Fields of the same name that a
    record brings along are kept. It belongs on a handler, since the filters of a logger are not asked about the records
    of other loggers; where records go through a `QueueHandler`, on that one, which is called in the task that logs.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp a record; always True."""
        known, told = log_fields(), vars(record)
        for name in FIELDS:
            told.setdefault(name, known.get(name))
        told.setdefault("trioflow", _text({name: told[name] for name in FIELDS if isinstance(told[name], str | int)}))
        return True


def add_correlation(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that adds the same fields to an event, as far as they are known; those it has are kept."""
    for name, value in log_fields().items():
        event_dict.setdefault(name, value)
    return event_dict


def _text(told: Mapping[str, str | int]) -> str:
    """Such as "order-7/1 charge#2", of an attempt; "order-7/1 checkout", of a turn; a worker's name."""
    if "instance" not in told:
        return str(told.get("worker", NOBODY))
    what = f"{told['activity']}#{told.get('attempt')}" if "activity" in told else told.get("orchestration", NOBODY)
    return f"{told['instance']}/{told.get('execution')} {what}"
