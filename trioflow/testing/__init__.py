"""What tests of orchestrations and of stores need. Floor 5.

Read first: `_run_durable.py`.
"""

from trioflow.testing._check_replay import check_replay as check_replay
from trioflow.testing._check_store import check_store as check_store
from trioflow.testing._failpoints import (
    Crash as Crash,
    FailpointEnv as FailpointEnv,
    FaultyStore as FaultyStore,
)
from trioflow.testing._run_durable import run_durable as run_durable

__all__ = ("Crash", "FailpointEnv", "FaultyStore", "check_replay", "check_store", "run_durable")
