"""What tests of orchestrations and of stores need. Floor 5.

Read first: `_run_durable.py`.
"""

from trioflow._kernel import wait_all_tasks_blocked as wait_all_tasks_blocked
from trioflow.testing._check_replay import check_replay as check_replay
from trioflow.testing._check_store import check_store as check_store
from trioflow.testing._checkpoints import (
    assert_checkpoints as assert_checkpoints,
    assert_no_checkpoints as assert_no_checkpoints,
)
from trioflow.testing._failpoints import (
    Crash as Crash,
    FailpointEnv as FailpointEnv,
    FaultyStore as FaultyStore,
)
from trioflow.testing._run_durable import run_durable as run_durable
from trioflow.testing._sequencer import Sequencer as Sequencer
from trioflow.testing._store_contract import (
    ContractBroken as ContractBroken,
    Part as Part,
    StoreFactory as StoreFactory,
    Twins as Twins,
)

__all__ = (
    "ContractBroken",
    "Crash",
    "FailpointEnv",
    "FaultyStore",
    "Part",
    "Sequencer",
    "StoreFactory",
    "Twins",
    "assert_checkpoints",
    "assert_no_checkpoints",
    "check_replay",
    "check_store",
    "run_durable",
    "wait_all_tasks_blocked",
)
