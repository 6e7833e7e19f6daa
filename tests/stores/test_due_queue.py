"""A queue of keys by time, in buckets."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trioflow.stores._due_queue import DueQueue

KEYS = st.sampled_from("abcdef")
BUCKETS = st.sampled_from(["x", "y", "z"])
TIMES = st.integers(0, 10).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, BUCKETS, TIMES, st.integers(0, 2)),
        st.tuples(st.just("drop"), KEYS),
        st.tuples(st.just("look"), TIMES, st.integers(0, 4), st.lists(BUCKETS)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_agrees_with_a_sorted_list(steps: list[tuple]) -> None:
    """Whatever is put, dropped and asked for, the answers are those of a list that is sorted each time."""
    queue: DueQueue[str, str] = DueQueue()
    model: dict[str, tuple[float, int, str, str]] = {}
    for step in steps:
        if step[0] == "put":
            _, key, bucket, at, tie = step
            queue.put(key, bucket, at, tie)
            model[key] = (at, tie, key, bucket)
        elif step[0] == "drop":
            queue.drop(step[1])
            model.pop(step[1], None)
        else:
            _, now, limit, buckets = step
            rows = sorted(row for row in model.values() if row[3] in buckets)
            due = [row[2] for row in rows if row[0] <= now][:limit]
            assert queue.due(now, limit, lambda bucket: bucket in buckets) == due
            after = min((row[0] for row in rows if row[0] > now), default=None)
            assert queue.next_after(now, lambda bucket: bucket in buckets) == after


def test_superseded_entries_do_not_pile_up() -> None:
    """A key that is moved again and again leaves a bounded number of entries behind."""
    queue: DueQueue[str, str] = DueQueue()
    for number in range(10_000):
        queue.put("a", "x", 1e9 + number, 0)
    assert len(queue._future) < 200
    assert queue.next_after(0.0, lambda bucket: True) == 1e9 + 9999


def test_what_nobody_accepts_does_not_pile_up() -> None:
    """Keys that were dropped leave a bounded number of entries behind, also in a bucket that nobody asks for."""
    queue: DueQueue[str, str] = DueQueue()
    for number in range(10_000):
        queue.put(f"k{number}", "nobody's", 0.0, 0)
        assert queue.due(1.0, 1, lambda bucket: bucket == "ours") == []
        queue.drop(f"k{number}")
    assert sum(map(len, queue._ready.values())) < 200
