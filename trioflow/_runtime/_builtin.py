"""The activities that every runtime has by itself: they read what other instances say of themselves.

Laws: they belong to no app and have names that no app can take; what they give is JSON text, so that whoever asked
decodes it as the type it wants.

Must never know: stores. Who calls it: `_activities.py` and `testing.run_durable`, each with its own way to read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trioflow._ambient import READ_KV, READ_STATUS
from trioflow.app import ActivityDefinition, App
from trioflow.history import ArgumentSpec

Builtins = Mapping[str, ActivityDefinition[..., Any]]
"""By name."""


def builtins_of(
    read_kv: Callable[[str], Awaitable[Mapping[str, bytes]]], read_status: Callable[[str], Awaitable[bytes | None]]
) -> Builtins:
    """The definitions, for somebody who can read an instance's values and its status by its id."""

    async def value_of(instance: str, key: str) -> str | None:
        return _text((await read_kv(instance)).get(key))

    async def status_of(instance: str) -> str | None:
        return _text(await read_status(instance))

    app = App("trioflow")
    return {
        name: ActivityDefinition(app=app, name=name, fn=fn, spec=ArgumentSpec.of(fn))
        for name, fn in ((READ_KV, value_of), (READ_STATUS, status_of))
    }


def _text(payload: bytes | None) -> str | None:
    return None if payload is None else payload.decode()
