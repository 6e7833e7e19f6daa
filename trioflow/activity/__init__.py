"""For use inside an activity's body: what is running, heartbeats, a client, a logger.

Read next: `_context.py`.
"""

from trioflow.activity._context import (
    ActivityInfo as ActivityInfo,
    client as client,
    heartbeat as heartbeat,
    info as info,
)
from trioflow.activity._logger import logger as logger

__all__ = ("ActivityInfo", "client", "heartbeat", "info", "logger")
