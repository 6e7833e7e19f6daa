"""Clients and handles: start, wait, ask, steer. Floor 4.

Read first: `_client.py`.
"""

from trioflow._client._client import POLL_INTERVAL as POLL_INTERVAL, Client as Client
from trioflow._client._handle import Handle as Handle, StatusChanges as StatusChanges
from trioflow._client._info import InstanceInfo as InstanceInfo, UnreadEvent as UnreadEvent
from trioflow._client._tree import InstanceTree as InstanceTree

__all__ = ("POLL_INTERVAL", "Client", "Handle", "InstanceInfo", "InstanceTree", "StatusChanges", "UnreadEvent")
