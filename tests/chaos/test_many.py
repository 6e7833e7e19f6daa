"""Many processes on one store: nothing is lost, nothing is done twice without reason, whoever is killed."""

from __future__ import annotations

import pathlib

import pytest

from tests.chaos.many import Plan, run
from tests.chaos.many_verdict import Notes, Summary, explain, judge, recoveries


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_crowd_under_fire(url: str, tmp_path: pathlib.Path, seed: int) -> None:
    """Four workers and two clients are killed and stopped for twenty seconds; what holds all the same is in
    `many_verdict.py`.
    """
    plan = Plan(
        store=url,
        ledger=tmp_path / "ledger",
        workers=4,
        clients=2,
        seconds=20,
        fact_kills=None,
        kill_every=0.7,
        stops=0.15,
        client_kills=0.1,
        lease=2.0,
        seed=seed,
    )
    summary = await run(plan)
    assert not summary.violations, summary
    assert summary.kills > 10
    assert summary.extra_runs


async def test_two_workers_that_die(url: str, tmp_path: pathlib.Path) -> None:
    """Two workers work for a client and die at named moments; the verdict is good, and would not be if a result, a
    run's reason or an attempt's number were missing.
    """
    plan = Plan(store=url, ledger=tmp_path / "ledger", instances=24, fact_kills=2, facts=60, lease=1.0, seed=4)
    summary = await run(plan)
    assert not summary.violations, summary
    assert (summary.instances, summary.lost, summary.kills_at_facts) == (24, 0, 2)
    lines = [line.split() for line in plan.ledger.read_text("utf-8").splitlines()]
    no_result = [words for words in lines if words[1:] != ["right", "5"]]
    assert "unwinding-5 was lost" in (await judge(url, no_result, 1.0, [], 0.0)).violations
    never_run = [words for words in lines if "chain-0/1/2" not in words]
    assert "chain-0/1/2 has ended and was never run" in (await judge(url, never_run, 1.0, [], 0.0)).violations


def noted(*lines: str) -> Notes:
    """A ledger."""
    notes = Notes()
    for line in lines:
        notes.add(line.split())
    return notes


def test_a_run_without_reason_is_found() -> None:
    """A second run has to be explained by a declared retry, a death, a stop or a lost lease; an attempt is run once."""
    first, second = "1.0 run w-1 chain-0/1/2 1", "3.0 run w-2 chain-0/1/2 2"
    assert explain(noted(first, second), Summary()) == [
        "chain-0/1/2: attempt 1 by w-1 was followed by another without reason"
    ]
    for reason in (
        "2.0 died w-1 turn.locked",
        "2.0 stopped w-1 outside",
        "2.0 failed w-1 chain-0/1/2 1",
        "2.0 lost w-1 chain-0 2",
        "2.0 lost w-1 chain-0 all",
    ):
        assert not explain(noted(first, reason, second), Summary())
    for no_reason in ("0.5 lost w-1 chain-0 2", "2.0 lost w-2 chain-0 2", "2.0 lost w-1 chain-0 3"):
        assert explain(noted(no_reason, first, second), Summary())
    assert explain(noted(first, first), Summary())


def test_a_late_recovery_is_found() -> None:
    """A lease and a second after a death is too late if somebody worked all the time, unless somebody was stopped
    meanwhile or another has died with it, too.
    """
    lines = ["0.5 ready w-2", "1.0 run w-1 chain-0/1/2 1", "2.0 killed w-1 outside", "8.5 run w-2 chain-0/1/2 2"]
    summary = Summary()
    assert recoveries(noted(*lines), summary, 5.0) == ["chain-0/1/2: w-1 died and it was run again only 6.50 s later"]
    assert summary.recovery_max == 6.5
    assert not recoveries(noted(*lines), Summary(), 6.0)
    assert not recoveries(noted(*lines, "3.0 stopped w-3 outside"), Summary(), 5.0)
    assert not recoveries(noted(*lines, "4.0 killed w-2 outside"), Summary(), 5.0)
    assert not recoveries(noted(*lines[1:]), Summary(), 5.0)
    lines[-1] = "8.5 run w-3 chain-0/1/2 3"
    assert not recoveries(noted(*lines), Summary(), 5.0)
