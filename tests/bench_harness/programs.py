"""A process as `running.py` starts them, that does what its job is called: measures, fails, hangs, says nothing, or
stops in the middle of a line.
"""

from __future__ import annotations

import os
import threading

from tests.bench.figures import MARK, Figure, asked_for, repeat


def main() -> None:
    """Do it."""
    job = asked_for()
    print("noise of a library")
    if job.workload == "fails":
        raise ValueError("no such thing")
    if job.workload == "silent":
        return
    repeat(job, lambda size: [Figure("pid", os.getpid()), Figure("sizes/s", size, True)])
    if job.workload == "hangs":
        print(MARK + '[[["half"', end="", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
