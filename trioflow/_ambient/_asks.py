"""What a branch of an orchestration may ask for and wait for: a small closed union.

Laws: an ask is what the program said, before anybody gave it an id. Nobody changes one; a frozen class or a tuple would
say so, and take its time at each step of each replay. The answer to an ask is always the event that answers it; what
that means to the program is read by whoever asked.
Who makes them: `app` (calls of definitions) and `durable` (verbs). Who reads them: `_engine`. Read next: `_host.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs

OnCancel = Literal["wait", "request", "abandon"]
OnParentClose = Literal["cancel", "wait", "abandon"]
Mode = OnCancel | Literal["stay"]
"""What cancelling a branch does to what it waits for; no author says "stay", it follows from `on_parent_close`."""


@final
@attrs.define
class AskActivity:
    """Run an activity. `options` is for whoever runs it, and is not compared on replay."""

    name: str
    payload: bytes
    on_cancel: OnCancel = "wait"
    tag: str | None = None
    session: str | None = None
    options: Mapping[str, Any] | None = None


@attrs.define
class AskChild:
    """Run another orchestration and wait for it. `instance=None`: an id made from the place."""

    name: str
    version: str | None
    instance: str | None
    payload: bytes
    on_cancel: Mode = "wait"
    on_parent_close: OnParentClose = "cancel"


@attrs.define
class AskDetached:
    """Start a new root instance."""

    name: str
    version: str | None
    instance: str | None
    payload: bytes


@attrs.define
class AskEvent:
    """Wait for the next event of a name."""

    name: str


Ask = AskActivity | AskChild | AskDetached | AskEvent
