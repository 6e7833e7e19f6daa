"""The private exception behind `continue_as_new`: it unwinds like trio code, so nurseries end their children on its way
out.
"""

from __future__ import annotations


class ContinueAsNew(BaseException):
    """End this execution and begin the next. Never caught by well-behaved code: it is not an `Exception`."""

    def __init__(self, payload: bytes, version: str | None) -> None:
        super().__init__("continue_as_new: this execution ends and the next begins")
        self.payload = payload
        self.version = version
