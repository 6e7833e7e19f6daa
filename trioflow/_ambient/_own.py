"""Names that are trioflow's own: activities that every runtime has by itself, and the tag that every worker takes.

Laws: no app can register such a name; whatever tags a worker takes, it takes this one, so that what only trioflow can
do is never left lying. Who calls it: `durable` asks for them, `app` keeps the names free, `_runtime` and `testing` run
them. Read next: `trioflow.durable._others`.
"""

from __future__ import annotations

from typing import Final

OWN: Final = "trioflow:"
"""What such names begin with."""

READ_KV: Final = "trioflow:read_kv"
READ_STATUS: Final = "trioflow:read_status"

ANY_WORKER: Final = "trioflow:any-worker"
"""The tag of activities that any worker runs."""
