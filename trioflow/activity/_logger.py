"""The logger of activities: an ordinary one that says for whom it logs.

Laws: a record carries `instance`, `execution`, `activity`, `attempt`, `worker`, `trace_id` and `span_id`, as far as
they are known; what the body itself gives as `extra` wins. Never a payload, unless the body writes one into the record.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from trioflow._util import log_extra


class ActivityLogger(logging.LoggerAdapter[logging.Logger]):
    """A `logging.Logger` whose records know the attempt they come from."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the attempt to the record's fields."""
        return msg, {**kwargs, "extra": log_extra(kwargs.get("extra"))}


logger = ActivityLogger(logging.getLogger("trioflow.activity"), {})
"""The logger of the running activity. Holds nothing of it."""
