"""An expense that must be approved: both reviewers in time, or the manager in time, or not at all.

Prints:
    asked Ada and Bob about laptop
    paid laptop
    laptop: approved by Ada and Bob
    asked Ada and Bob about desk
    desk is late: asked Grace
    paid desk
    desk: approved by Grace
    asked Ada and Bob about yacht
    withdrew the request for yacht
    yacht: rejected by Bob
    asked Ada and Bob about moon
    moon is late: asked Grace
    withdrew the request for moon
    moon: nobody decided
"""

import attrs
import trio

import trioflow
from trioflow import durable

app = trioflow.App("expenses")


@attrs.frozen
class Decision:
    """What a reviewer says."""

    by: str
    approved: bool


@app.exception
class Rejected(Exception):
    """Somebody said no."""


@app.activity
async def ask(what: str, names: list[str], late: bool = False) -> None:
    """Write to people."""
    print(f"{what} is late: asked {names[0]}" if late else f"asked {' and '.join(names)} about {what}")


@app.activity
async def withdraw(what: str) -> None:
    """Tell everybody that no answer is needed any more."""
    print(f"withdrew the request for {what}")


@app.activity
async def pay(what: str) -> None:
    """The money goes out."""
    print(f"paid {what}")


async def approval_by(name: str) -> str:
    """Wait for one person's decision."""
    decision = await durable.wait_event(f"decision of {name}", Decision)
    if not decision.approved:
        raise Rejected(f"rejected by {decision.by}")
    return decision.by


async def decide(what: str, patience: float) -> str:
    """Who approved it. Two deadlines: one for the reviewers, then one for their manager."""
    await ask(what, ["Ada", "Bob"])
    with durable.move_on_after(patience):
        both = await durable.gather(approval_by("Ada"), approval_by("Bob"))  # one "no" ends the wait for the other
        return " and ".join(both)
    await ask(what, ["Grace"], late=True)
    with durable.fail_after(patience):
        return await approval_by("Grace")


async def decide_or_withdraw(what: str, patience: float) -> str:
    """Who approved it. Without an approval the request is withdrawn, whatever went wrong, cancellation included."""
    try:
        return await decide(what, patience)
    except BaseException:
        with durable.CancelScope(shield=True):  # a durable step, also where everything around it was cancelled
            await withdraw(what)
        raise


@app.orchestration
async def expense(what: str, patience: float) -> str:
    """Approve and pay, or say why not."""
    try:
        names = await decide_or_withdraw(what, patience)
    except* Rejected as rejected:
        verdict = str(rejected.exceptions[0])
    except* durable.TooSlowError:
        verdict = "nobody decided"
    else:
        await pay(what)
        return f"{what}: approved by {names}"
    return f"{what}: {verdict}"


async def main() -> None:
    async with trioflow.open_runtime(app, "memory:") as runtime:

        async def try_it(what: str, patience: float, *decisions: Decision) -> None:
            handle = await runtime.client.start(expense, what, patience, id=what)
            for decision in decisions:
                await handle.raise_event(f"decision of {decision.by}", decision)
            print(await handle.result())

        await try_it("laptop", 3600, Decision("Ada", approved=True), Decision("Bob", approved=True))
        await try_it("desk", 0.1, Decision("Ada", approved=True), Decision("Grace", approved=True))
        await try_it("yacht", 3600, Decision("Bob", approved=False))
        await try_it("moon", 0.1)


if __name__ == "__main__":
    trio.run(main)
