"""The statements: one for each verb, a call of its function that spreads the answer into plain columns.

Laws: what is asked is in `_requests.py`, what comes back in `_answers.py`; nothing but the schema's name is ever put
into the text.

Who calls it: `_store.py`.
"""

from __future__ import annotations

INBOX = "(t.messages).seqs, (t.messages).ats, (t.messages).kinds, (t.messages).data, (t.messages).payloads"
TURN = (
    "t.instance, t.execution, t.token, t.name, t.version, t.state, t.revision, t.history_length, t.history_bytes, "
    "t.attempts, t.wake_at"
)
COMMITTED = (
    "t.verdict, t.at_fault, t.now, t.revision, t.execution, t.kept, t.hurt_events, t.hurt_tokens, t.reached, t.turns"
)
# ruff: noqa: S608 - constants of this module, and a schema's name that was checked
STATEMENTS = {
    "start_instance": f"SELECT r.verdict, r.execution, r.state, r.other, {TURN}, {INBOX} "
    "FROM {}.start_instance(%s::jsonb, %s, %s) r LEFT JOIN LATERAL unnest(ARRAY[r.turn]) t ON true",
    "post_message": "SELECT * FROM {}.post_message(%s::jsonb, %s, %s)",
    "lock_turns": f"SELECT r.now, r.next_due, r.reached, {TURN}, {INBOX} FROM {{}}.lock_turns(%s::jsonb) r "
    "LEFT JOIN LATERAL unnest(r.turns) t ON true",
    "commit_turn": f"SELECT {COMMITTED}, {INBOX} FROM {{}}.commit_turn(%s::jsonb, %s::bytea, "
    + "%s::bytea[], " * 12
    + "%s::bytea, %s::bytea, %s::bytea[], %s::bytea[], %s::bytea[], %s::bigint[], %s::text[]) t",
    "release_turn": "SELECT {}.release_turn(%s::jsonb)",
    "renew_turns": "SELECT {}.renew_turns(%s::jsonb)",
    "lock_activities": "SELECT r.now, r.next_due, r.reached, t.* FROM {}.lock_activities(%s::jsonb) r "
    "LEFT JOIN LATERAL unnest(r.activities) t ON true",
    "commit_activities": "SELECT * FROM {}.commit_activities(%s::jsonb, %s::bytea[], %s::bytea[], %s::bytea[])",
    "release_activity": "SELECT * FROM {}.release_activity(%s::jsonb)",
    "renew_activities": "SELECT * FROM {}.renew_activities(%s::jsonb, %s::bytea[])",
    "renew_sessions": "SELECT * FROM {}.renew_sessions(%s::jsonb)",
    "release_sessions": "SELECT {}.release_sessions(%s)",
    "delete_instances": "SELECT * FROM {}.delete_instances(%s::jsonb, %s::bytea[], %s::bytea[])",
    "prune_executions": "SELECT * FROM {}.prune_executions(%s, %s, %s, %s)",
    "list_instances": "SELECT * FROM {}.list_instances(%s::jsonb)",
    "read_executions": "SELECT * FROM {}.read_executions(%s, %s, %s)",
    "read_depths": "SELECT * FROM {}.read_depths()",
    "read_metrics": "SELECT * FROM {}.read_metrics()",
    "read_instance": "SELECT * FROM {}.read_instance(%s)",
    "read_history": "SELECT * FROM {}.read_history(%s, %s, %s, %s)",
    "read_kv": "SELECT * FROM {}.read_kv(%s)",
    "clock": "SELECT {}.clock()",
    "forget_before": "SELECT {0}.forget_before({0}.clock() - %s)",
}
