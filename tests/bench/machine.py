"""On what machine: what a reader of figures has to know of it.

Law: what is measured here is the disk that stores are on. Called by `__main__.py`.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SYNCS = 200
BLOCK = b"x" * 4096


def facts(syncs: int = SYNCS) -> dict[str, str]:
    """By name, in the order in which to tell them; the disk is asked so many times."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores",
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "one sync of the disk": f"{sync_time(syncs) * 1000:.2f} ms",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "trio": version("trio"),
    }


def processor() -> str:
    """What the processor calls itself, where Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def sync_time(count: int) -> float:
    """Seconds until 4 KiB behind the end of a file are on the disk, the median of some."""
    times = []
    with tempfile.TemporaryFile(prefix="trioflow-bench-") as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)
