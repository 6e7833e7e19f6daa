"""What processes that measure are told and print, and what is made of several runs."""

from __future__ import annotations

import json
import sys

import pytest

from tests.bench.figures import (
    MARK,
    Figure,
    Job,
    Result,
    Run,
    as_argument,
    as_json,
    asked_for,
    from_json,
    is_enough,
    medians,
    repeat,
    runs_in,
)


def test_a_job_reaches_its_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field goes through the command line."""
    job = Job("fan", 7, "sqlite", "there", 3, 2, 9.5, telemetry=True)
    monkeypatch.setattr(sys, "argv", ["program", as_argument(job)])
    assert asked_for() == job


def test_what_is_printed_is_read_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """A warm-up that is not told, then as many runs as were asked for, each with its figures and its time."""
    sizes: list[int] = []

    def once(size: int) -> list[Figure]:
        sizes.append(size)
        return [Figure("ms", 1.5), Figure("n/s", float(len(sizes)), True)]

    repeat(Job("fan", 10, warm_up=2, runs=2), once)
    runs = list(runs_in("noise\n" + capsys.readouterr().out + MARK + '[[["half"'))
    assert sizes == [2, 10, 10]
    assert [run.figures for run in runs] == [
        (Figure("ms", 1.5), Figure("n/s", 2.0, True)),
        (Figure("ms", 1.5), Figure("n/s", 3.0, True)),
    ]
    assert all(run.seconds >= 0 and not run.told for run in runs)


def test_telemetry_takes_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """Each run without it is followed by one with it, and both are warmed up."""
    calls: list[str] = []
    repeat(
        Job("fan", 10, warm_up=2, runs=2, telemetry=True),
        lambda size: calls.append(f"off {size}") or [Figure("ms", 1.0)],
        lambda size: calls.append(f"on {size}") or [Figure("ms", 2.0)],
    )
    assert calls == ["off 2", "on 2", "off 10", "on 10", "off 10", "on 10"]
    runs = list(runs_in(capsys.readouterr().out))
    assert [run.told for run in runs] == [False, True, False, True]
    assert medians(runs) == [Figure("ms", 1.0)]
    assert medians(runs, told=True) == [Figure("ms", 2.0)]


@pytest.mark.parametrize(
    ("done", "spent", "enough"), [(0, 99.0, False), (1, 99.0, True), (1, 5.0, False), (3, 5.0, True)]
)
def test_what_takes_long_is_not_repeated(done: int, spent: float, enough: bool) -> None:
    """One run there is always, more only while there is patience, and never more than wanted."""
    assert is_enough(done, 3, spent, 10.0) is enough


def test_a_figure_is_the_median_of_its_runs() -> None:
    """Each figure by itself; no run, no figure."""
    runs = [Run((Figure("ms", ms), Figure("n/s", rate, True)), 1.0) for ms, rate in ((1, 30), (9, 10), (2, 20))]
    assert medians(runs) == [Figure("ms", 2), Figure("n/s", 20, True)]
    assert medians([]) == []


def test_results_are_kept_as_they_are() -> None:
    """What was written to a file is read back equal, whatever became of it."""
    machine = {"Python": "3.11"}
    results = [
        Result("sqlite", "fan", 10, (Run((Figure("n/s", 2.0, True),), 0.5, told=True),)),
        Result("dbos", "fan", 10, (), "not to be had"),
    ]
    text = as_json(machine, results)
    assert from_json(text) == (machine, results)
    assert json.loads(text)["machine"] == machine
