"""Every call of the operating system fails in turn: a typed error or success, and nothing is wrong afterwards.

Needs a C compiler.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash_images.machine import ROOT, build_shim, environment

pytestmark = pytest.mark.slow


def run(folder: Path, program: str, *arguments: str) -> str:
    """Run a program on the shim; what it said last."""
    env = environment(build_shim(folder), folder / "disk" / "x.db")
    command = [sys.executable, "-m", f"tests.crash_images.{program}", str(folder / "disk"), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    print(last)
    return last


@pytest.mark.parametrize("mode", ["once", "on"])
@pytest.mark.parametrize("kind", ["EIO", "ENOSPC", "short"])
def test_the_kth_call_fails(tmp_path: Path, kind: str, mode: str) -> None:
    """Opening, starting, turns, activities, commits, checkpoints and closing, with each call failing once or for good:
    what a verb raises is a `StoreError`, and the same requests on a healthy disk bring the store to the same state.
    """
    calls = int(run(tmp_path, "failing_disk", kind, mode).split()[2])
    assert calls > 150


@pytest.mark.parametrize("kind", ["EIO", "ENOSPC"])
def test_a_runtime_outlives_a_disk_that_fails_for_a_while(tmp_path: Path, kind: str) -> None:
    """Orchestrations on a store whose disk fails go on when it is healthy again, and end as they should."""
    assert run(tmp_path, "failing_runtime", kind, "10") == f"{kind}: 10 runtimes, 10 of them met failures"
