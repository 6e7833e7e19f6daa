"""The branches of an execution, with names for what they wait for."""

from __future__ import annotations

from tests.engine.driving import Driven, define
from trioflow import App, durable
from trioflow.history import ActivityCancelled

app = App("trees")


@app.activity
async def charge(order: str) -> str:
    return order


@app.orchestration
async def ship(order: str) -> None: ...


@app.orchestration
async def main(order: str) -> None:
    async with durable.open_nursery() as nursery:
        nursery.start_soon(charge, order)
        nursery.start_soon(charge.options(on_cancel="request"), order)
        nursery.start_soon(ship, order)
        nursery.start_soon(ship.options(id="s-7"), order)
        nursery.start_soon(durable.start_detached, ship, order)
        nursery.start_soon(durable.wait_event, "approved", bool)


def test_operations_have_names() -> None:
    """Activities, children with their instances, detached starts and events; never what they were asked with."""
    driven = Driven(main, "secret", app=app)
    assert driven.live.branches() == ()
    driven.start()
    (root,) = driven.live.branches(driven.now)
    (nursery,) = root.scopes
    assert [str(branch.waits) for branch in nursery.branches] == [
        "waits for activity 'charge'",
        "waits for activity 'charge'",
        "waits for child 'ship' as 'i-1:1:0.3#1'",
        "waits for child 'ship' as 's-7'",
        "waits for detached start 'ship' as 'i-1:1:0.5#1'",
        "waits for event 'approved'",
    ]
    waits = [branch.waits for branch in nursery.branches if branch.waits is not None]
    assert [wait.on_cancel for wait in waits] == ["wait", "request", "wait", "wait", "wait", "request"]
    assert [branch.name for branch in nursery.branches][:4] == ["charge", "charge", "ship", "ship"]
    assert "secret" not in str(root)


def test_who_waits_for_a_real_end_says_so() -> None:
    """After a cancellation: an activity whose body is waited for, until it has ended."""

    async def program() -> None:
        await charge("a")

    driven = Driven(program, app=app)
    driven.start()
    driven.cancel("enough")
    (root,) = driven.live.branches()
    assert str(root.waits) == "was cancelled, and waits for the real end of activity 'charge', which was asked to end"
    assert (driven.live.kernel.cancel_called, driven.live.kernel.cancel_reason) == (True, "enough")
    driven.turn(ActivityCancelled(answers=2, how="ended"))
    assert driven.live.branches() == ()


def test_an_execution_has_a_label() -> None:
    """The instance once it is known, and the orchestration with its version, from the first moment on."""

    async def program() -> None: ...

    driven = Driven(define(program))
    assert driven.live.label == "orchestration 'program' 1.0.0"
    driven.start()
    assert driven.live.label == "instance 'i-1' (orchestration 'program' 1.0.0)"
