"""trioflow's own errors come back as themselves from activities and children, like any that are registered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import trioflow
from tests.runtime.programs import running
from trioflow import activity
from trioflow.abc import Store
from trioflow.history import Limits

Ask = Callable[[trioflow.Client], Awaitable[object]]
CASES: dict[str, tuple[type[Exception], Ask]] = {
    "unknown": (trioflow.InstanceNotFound, lambda client: client.cancel("nobody")),
    "taken": (trioflow.InstanceExists, lambda client: client.start("over", id="parent")),
    "ended": (trioflow.InstanceFinished, lambda client: client.cancel("over")),
    "alive": (trioflow.InstanceNotFinished, lambda client: client.delete("parent")),
    "full": (trioflow.MailboxFull, lambda client: client.raise_event("parent", "go")),
    "large": (trioflow.LimitExceeded, lambda client: client.cancel("parent", "x" * 5_000)),
    "endless": (trioflow.LimitExceeded, lambda client: client.raise_event("parent", "go", float("nan"))),
    "odd": (trioflow.EncodeError, lambda client: client.raise_event("parent", "go", object())),
    "unregistered": (trioflow.UnregisteredError, lambda client: client.start("nothing")),
    "nonsense": (trioflow.ConfigurationError, lambda client: client.restart("parent", force=True)),
}


def office() -> trioflow.App:
    """An activity that asks its client for what cannot be, and orchestrations that ask it."""
    app = trioflow.App("office", limits=Limits(mailbox_events=0))

    @app.activity
    async def ask(case: str) -> None:
        await CASES[case][1](activity.client())

    @app.orchestration
    async def over() -> None: ...

    @app.orchestration
    async def child(case: str) -> None:
        await ask(case)

    @app.orchestration
    async def parent(case: str, through: bool) -> tuple[str, str, dict[str, Any]]:
        with pytest.raises(trioflow.TrioflowError) as caught:
            await (child(case) if through else ask(case))
        error = caught.value
        return type(error).__name__, type(error.__cause__).__name__, vars(error)

    @app.orchestration
    async def lets_it_through(case: str) -> None:
        await child(case)

    return app


@pytest.mark.parametrize("through", [False, True], ids=["activity", "child"])
@pytest.mark.parametrize("case", CASES)
async def test_an_error_of_ours_comes_back_as_itself(store: Store, case: str, through: bool) -> None:
    """With its facts, and the story behind it, through a child, too."""
    async with running(office(), store) as client:
        await (await client.start("over", id="over")).result(timeout=20)
        handle = await client.start("parent", case, through, id="parent")
        name, story, facts = await handle.result(timeout=20)
        assert name == CASES[case][0].__name__
        assert story == ("ChildFailed" if through else "ActivityFailed")
        if case == "large":
            assert (facts["limit"], facts["allowed"], facts["actual"]) == ("reason_length", 2048, 5000)
        if case == "unregistered":
            assert (facts["kind"], facts["name"]) == ("orchestration", "nothing")


async def test_a_client_gets_it_as_the_cause(store: Store) -> None:
    """`result()` raises what went wrong, and behind it the error itself."""
    async with running(office(), store) as client:
        handle = await client.start("lets_it_through", "unknown")
        with pytest.raises(trioflow.OrchestrationFailed, match="InstanceNotFound") as caught:
            await handle.result(timeout=20)
        assert type(caught.value.__cause__) is trioflow.InstanceNotFound


def test_what_ends_whoever_runs_it_does_not_come_back() -> None:
    """Errors of stores and of histories say something about the worker that met them, not about what was asked."""
    failures = trioflow.App("any").failures
    for cls in (trioflow.StoreError, trioflow.LockLost, trioflow.HistoryError, trioflow.SpinError):
        assert failures.to_exception(failures.to_failure(cls("x"))) is None
