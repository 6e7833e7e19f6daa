"""Whether today's code still agrees with a recorded history.

Who calls it: tests, before a deploy.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioflow._engine import Execution
from trioflow.app import App
from trioflow.errors import HistoryError
from trioflow.history import Event, OrchestrationStarted


def check_replay(app: App, history: Sequence[Event], *, version: str | None = None) -> None:
    """Replay a history, as `client.history` gives it, with the code of `app`; returns if they agree.

    Args:
        app: the code.
        history: the events of one execution.
        version: which version of the orchestration to replay with; the recorded one if not given.

    Raises:
        NondeterminismError: the code asks for something else than it asked for then.
        HistoryError: it is not the history of an execution.
        UnregisteredError: the app does not have that orchestration or version.
    """
    started = next((event for event in history if isinstance(event, OrchestrationStarted)), None)
    if started is None:
        raise HistoryError("a history begins with OrchestrationStarted; this one does not hold it")
    live = Execution(app, app.find_orchestration(started.name, version or started.version))
    try:
        for _ in live.replay(history):
            pass
    finally:
        live.close()
