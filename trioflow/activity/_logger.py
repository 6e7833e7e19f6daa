"""The logger of activities: an ordinary one that says for whom it logs.

Law: a record carries `instance`, `execution`, `activity` and `attempt`; never a payload, unless the body writes one
into the message.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from trioflow.activity._context import describe


class ActivityLogger(logging.LoggerAdapter[logging.Logger]):
    """A `logging.Logger` whose records know the attempt they come from."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the attempt to the record's fields."""
        extra = dict(kwargs.get("extra") or {})
        describe(extra)
        return msg, {**kwargs, "extra": extra}


logger = ActivityLogger(logging.getLogger("trioflow.activity"), {})
"""The logger of the running activity. Holds nothing of it."""
