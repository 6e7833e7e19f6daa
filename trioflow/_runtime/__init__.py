"""What runs orchestrations and activities: dispatchers, leases, live executions. Floor 4.

Read first: `_worker.py`.
"""

from trioflow._runtime._options import RuntimeOptions as RuntimeOptions
from trioflow._runtime._worker import Worker as Worker

__all__ = ("RuntimeOptions", "Worker")
