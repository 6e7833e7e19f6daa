"""Raising an exception that was caught earlier, without spoiling it.

Law: an exception keeps the `__context__` it came with, and neither frame here nor the caller's keeps it alive
afterwards.
Who calls it: scopes and nurseries, when what leaves them is not what came in. Read next: `_scope.py`.
"""

from __future__ import annotations

from typing import NoReturn


def raise_as_it_was(exc: BaseException) -> NoReturn:
    """Raise `exc` with the context it has now, not the one that is being handled."""
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context
        del exc, context  # this frame is in the traceback: holding the exception here would make a cycle
