"""Clients and handles: start, wait, ask, steer, administer. Floor 4.

Read first: `_steering.py`, `_management.py`, `_client.py`.
"""

from trioflow._client._client import Client as Client
from trioflow._client._executions import ExecutionEnd as ExecutionEnd, ExecutionInfo as ExecutionInfo
from trioflow._client._figures import Metrics as Metrics
from trioflow._client._filter import InstanceFilter as InstanceFilter
from trioflow._client._handle import Handle as Handle, StatusChanges as StatusChanges
from trioflow._client._info import InstanceInfo as InstanceInfo, UnreadEvent as UnreadEvent
from trioflow._client._listing import Instances as Instances, ListPage as ListPage
from trioflow._client._steering import POLL_INTERVAL as POLL_INTERVAL
from trioflow._client._tree import InstanceTree as InstanceTree

__all__ = (
    "POLL_INTERVAL",
    "Client",
    "ExecutionEnd",
    "ExecutionInfo",
    "Handle",
    "InstanceFilter",
    "InstanceInfo",
    "InstanceTree",
    "Instances",
    "ListPage",
    "Metrics",
    "StatusChanges",
    "UnreadEvent",
)
