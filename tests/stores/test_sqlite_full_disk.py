"""A runtime whose disk is really full: typed errors, nothing that was answered is lost, nobody hangs, and it goes on by
itself when there is room.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("full_disk.py")
MOUNT = 'mount -t tmpfs -o size=1m none "$0"'


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """What the program said at its end."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_files_may_not_grow(tmp_path: Path) -> None:
    """A limit on the size of files, as on every POSIX system: the kernel refuses each write beyond it."""
    said = outcome(run(sys.executable, str(PROGRAM), str(tmp_path), "limit"))
    assert said == "limit: a write was told OutcomeUnknown"


def test_a_file_system_is_full(tmp_path: Path) -> None:
    """A file system of one megabyte, mounted where nobody else sees it, that is full to the last block.

    Where no file system may be mounted, tests/crash_images/test_failing_disk.py still has the kernel's answer.
    """
    tried = run("unshare", "-rm", "sh", "-c", MOUNT, str(tmp_path))
    if tried.returncode != 0:
        assert not os.environ.get("CI"), f"CI has to mount a file system of its own: {tried.stderr.strip()}"
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    program = (str(tmp_path), sys.executable, str(PROGRAM), str(tmp_path), "disk")
    said = outcome(run("unshare", "-rm", "sh", "-c", f'{MOUNT} && exec "$@"', *program))
    assert said.startswith("disk: a write was told OutcomeUnknown")
