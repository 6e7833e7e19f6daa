"""Programs that together use everything, and the bytes of their histories: ``python -m tests.generated.corpus``.

Law: what is printed depends on the programs alone, never on hash seeds or on which JSON library there is. With the
argument ``plain`` orjson cannot be imported. Who calls it: `test_hash_seeds.py`, in processes of their own.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "plain" in sys.argv:
    sys.modules["orjson"] = None  # type: ignore[assignment]

import datetime
import decimal
import enum
import hashlib
import uuid
from typing import Any

import attrs

from tests.generated.language import (
    Act,
    Again,
    Case,
    Catch,
    Child,
    Detach,
    Finally,
    Flag,
    Generate,
    Guarded,
    Happening,
    Many,
    Nursery,
    Pipe,
    Saga,
    Say,
    Scope,
    Seq,
    Shield,
    Sleep,
    Spawn,
    Start,
    Take,
    Timeout,
)
from tests.generated.world import play_out
from trioflow import durable
from trioflow._engine import Execution, Message
from trioflow.app import App
from trioflow.history import ActivityCompleted, ActivityScheduled, Event, EventCodec, OrchestrationStarted

SAYINGS = (
    "checkpoint",
    "random",
    "uuid4",
    "now",
    "status",
    "kv",
    "forget",
    "record",
    "record an error",
    "log",
    "raise",
)

CASES = (
    Case(Seq(tuple(Catch("Exception", Say(what, 3), Act(1)) for what in SAYINGS))),
    Case(Many("gather", (Act(1, 2), Seq((Say("random"), Act(2, 1))), Child(Act(3)), Detach()))),
    Case(Seq((Catch("Exception", Child(Say("raise")), Child(Act(1, fails=True))),))),
    Case(Many("race", (Act(1, 5, stops=1), Sleep(2), Take("never"), Shield(Act(2, 3))))),
    Case(Many("map", (Act(1, 3), Act(2, 1, fails=True), Act(3, 2, stops=None)), 2)),
    Case(Nursery((Start(Act(1), Act(2, 4), 0, True), Spawn(Sleep(2)), Flag(0, True)), Flag(0, False))),
    Case(Timeout("move_on_after", 2, Saga(Seq((Act(1), Act(2, 9))), Act(3)))),
    Case(Timeout("move_on_after", 2, Timeout("move_on_at", 1, Act(1, 9, stops=4)))),
    Case(Timeout("fail_after", 2, Finally(Act(1, 9, stops=3), Nursery((Act(2), Act(3)), Say("uuid4"))))),
    Case(Seq(tuple(Scope(change, 1, Act(1, 6, stops=2)) for change in ("cancel", "later", "sooner", "shield")))),
    Case(Seq((Generate((Act(1), Act(2), Act(3)), Say("kv", 2), 2), Pipe(1, 3, Act(4)), Guarded("lock", Act(5))))),
    Case(Seq((Take("a"), Say("kv", 1), Again(), Take("b"))), (Happening(1, "a"), Happening(1, "b"), Happening(2, "a"))),
    Case(Nursery((Child(Seq((Act(1, 8), Act(2)))), Take("a")), Sleep(4)), (Happening(2, "cancel"),)),
)


class Colour(enum.Enum):
    """A value that travels."""

    RED = "red"


@attrs.frozen
class Everything:
    """Payloads of all kinds; sets and dicts are what a hash seed could reorder."""

    words: frozenset[str] = frozenset({"beta", "alpha", "gamma", "ä", "delta", "epsilon"})
    pairs: frozenset[tuple[str, int]] = frozenset({("x", 2), ("y", 1), ("x", 1)})
    table: dict[str, set[str]] = attrs.Factory(lambda: {"z": {"two", "one", "three"}, "a": set[str]()})
    numbers: tuple[float, ...] = (0.1, 1e16, 1e-7, -0.0, 2.0**53)
    when: datetime.datetime = datetime.datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=datetime.UTC)
    price: decimal.Decimal = decimal.Decimal("10.50")
    key: uuid.UUID = attrs.field(factory=lambda: uuid.UUID(int=7))
    colour: Colour = Colour.RED
    raw: bytes = b"\x00\xff"
    text: str = 'quoted " \\ \u2028 \x7f \U0001f600'


app = App("corpus")


@app.activity
async def handle(what: Everything, words: set[str]) -> set[str]:
    """Never runs here."""
    return words


@app.orchestration
async def payloads(what: Everything) -> dict[str, set[str]]:
    """Sends everything across every border."""
    words = await handle(what, {str(number) for number in range(20)})
    durable.set_status(what)
    durable.kv["all"] = what
    durable.kv["words"] = sorted(words)
    again = await durable.record(lambda_free, "a b c d e f g h")
    return {"words": words | again}


def lambda_free(text: str) -> set[str]:
    """Recorded."""
    return set(text.split())


def payload_history() -> list[Event]:
    """The history of `payloads`."""
    live = Execution(app, payloads)
    arguments = app.codec.encode_arguments(payloads.spec, (Everything(),), {}, what="corpus")
    start = OrchestrationStarted(instance="payloads", name="payloads", payload=arguments, seed="5eed")
    events = list(live.run([Message(1, 1.0, start)], 1.0).events)
    (asked,) = (event for event in events if isinstance(event, ActivityScheduled))
    answer = app.codec.encode({"w", "v", "u", "t"}, set[str], what="corpus")
    events += live.run([Message(2, 2.0, ActivityCompleted(answers=asked.id, payload=answer))], 2.0).events
    assert live.ended
    live.close()
    return events


def histories() -> dict[str, list[Event]]:
    """All of them, by name."""
    found: dict[str, Any] = {"payloads": payload_history()}
    for number, case in enumerate(CASES):
        for (instance, execution), history in play_out(case).histories.items():
            found[f"{number} {instance} {execution}"] = history
    return found


def main() -> None:
    """Print a line for each history: its name, how long it is, and a digest of its bytes."""
    codec = EventCodec()
    for name, history in histories().items():
        rows = [codec.encode(event) for event in history]
        data = b"\n".join(b"%s %s %s" % (kind.encode(), data, payload or b"") for kind, data, payload in rows)
        print(name, len(rows), hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
