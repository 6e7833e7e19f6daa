"""What is kept comes back to the letter, and what nobody could keep is refused. Read next: `_turn_locks.py`."""

from __future__ import annotations

from typing import Any

import attrs

from trioflow.abc import Draft, EventRow, OutMessage, ReleaseTurn, RenewActivities, RenewTurns, State, TagFilter
from trioflow.errors import LimitExceeded, LockLost, TrioflowError
from trioflow.testing._store_contract._marks import Part, belongs_to
from trioflow.testing._store_contract._subject import (
    LEASE,
    Subject,
    an_item,
    draft,
    expect,
    expect_equal,
    expect_raises,
)

BYTES = bytes(range(256))
BAD = ("", " ", "x" * 513, "nul\0", "half \ud800")
ODD = (
    "A",
    "a",
    " a ",
    "a'b\"c",
    "a%",
    "a_",
    "%s",
    "é",
    "e\u0301",
    "\U0001f40c",
    "x" * 256,
    "a\nb",
    "a\\b",
    "--",
    "NULL",
)
EXACT = 1_000_000.123456789  # a time that no rounding survives


async def check_a_start_is_untouched(s: Subject) -> None:
    """The start message comes out byte for byte, also where it is large, empty or no text."""
    starts = (Draft("Started", BYTES, BYTES * 4096), Draft("Started", b"", b""), Draft("Started", b"\x00", None))
    for number, start in enumerate(starts):
        await s.start(f"i{number}", start=start)
    turns = (await s.lock_turns()).turns
    found = {turn.lock.instance: turn.messages[0].draft for turn in turns}
    expect_equal(found, {f"i{number}": start for number, start in enumerate(starts)}, "the start messages")


async def check_odd_kinds_are_kept(s: Subject) -> None:
    """The kind of a message and of an event is kept to the letter."""
    await s.start()
    for kind in ODD:
        await s.post("a", kind)
    turn = await s.turn()
    expect_equal(tuple(message.draft.kind for message in turn.messages[1:]), ODD, "kinds of messages")
    await s.commit(turn, *ODD)
    expect_equal(tuple(event.kind for event in await s.store.read_history("a", 1)), ODD, "kinds of events")


async def check_values_of_all_bytes_are_kept(s: Subject) -> None:
    """Values come out byte for byte, also where they are large, empty or no text."""
    values = {"all": BYTES, "large": BYTES * 1024, "empty": b"", "nul": b"\x00"}
    await s.waiting("a", kv_set=values)
    expect_equal(await s.store.read_kv("a"), values, "values")


async def check_odd_keys_are_kept(s: Subject) -> None:
    """Keys are kept and told apart to the letter: case, spaces, quotes, wildcards, all of Unicode."""
    values = {key: b"%d" % number for number, key in enumerate(ODD)}
    await s.waiting("a", kv_set=values)
    expect_equal(await s.store.read_kv("a"), values, "values")
    await s.post("a")
    await s.run("a", kv_cleared=ODD[::2])
    left = {key: value for key, value in values.items() if key in ODD[1::2]}
    expect_equal(await s.store.read_kv("a"), left, "values that were not cleared")


@belongs_to(Part.REFUSALS)
async def check_bad_keys_are_refused(s: Subject) -> None:
    """Keys that are empty, endless or unprintable are refused with a typed error, and the commit writes nothing."""
    await s.start()
    turn = await s.turn()
    for bad in BAD:
        with expect_raises(TrioflowError, f"a key is to be {bad[:20]!r}"):
            await s.commit(turn, events=(), kv_set={"good": b"1", bad: b"2"})
    expect_equal((await s.record()).revision, 0, "the revision")
    expect_equal(await s.store.read_kv("a"), {}, "values")
    await s.commit(turn)


@belongs_to(Part.REFUSALS)
async def check_bad_names_are_refused(s: Subject) -> None:
    """Names of orchestrations that are empty, endless or unprintable are refused with a typed error."""
    for bad in BAD:
        with expect_raises(TrioflowError, f"an orchestration is to be called {bad[:20]!r}"):
            await s.start("a", name=bad)
    expect_equal(await s.store.read_instance("a"), None, "what was refused")


async def check_odd_names_are_kept(s: Subject) -> None:
    """Names and versions of orchestrations are kept to the letter."""
    for number, name in enumerate(ODD):
        await s.start(f"i{number}", name=name, version=name[::-1])
    for turn in (await s.lock_turns(limit=len(ODD))).turns:
        name = ODD[int(turn.lock.instance[1:])]
        expect_equal((turn.name, turn.version), (name, name[::-1]), "a name and a version")


@belongs_to(Part.REFUSALS)
async def check_bad_children_are_refused(s: Subject) -> None:
    """A commit that starts an instance under an id that nobody could keep is refused as a whole."""
    await s.start()
    turn = await s.turn()
    for bad in BAD:
        with expect_raises(TrioflowError, f"a child is to be called {bad[:20]!r}"):
            await s.commit(turn, events=(), starts=(s.a_start("good"), s.a_start(bad)))
    expect_equal(await s.store.read_instance("good"), None, "the child beside it")
    await s.commit(turn)


@belongs_to(Part.REFUSALS)
async def check_a_post_to_a_bad_id_is_refused(s: Subject) -> None:
    """A message to an id that nobody could keep is refused with a typed error, not with one of the driver."""
    for bad in BAD:
        with expect_raises(TrioflowError, f"a message is for {bad[:20]!r}"):
            await s.post(bad)


@belongs_to(Part.REFUSALS)
async def check_a_turn_may_write_to_a_bad_id(s: Subject) -> None:
    """A turn's message to an id that nobody could have is dropped, like any that nobody can take."""
    await s.waiting("b")
    await s.start("a")
    out = tuple(OutMessage(instance=name, draft=draft()) for name in (*BAD, "b"))
    await s.run("a", messages=out)
    expect_equal((await s.record("b")).queued, 1, "messages in the other inbox")


async def check_odd_attributes_are_kept(s: Subject) -> None:
    """Attributes are kept to the letter, keys and values."""
    attributes = {name: name[::-1] for name in ODD} | {"empty": ""}
    await s.start("a", attributes=attributes)
    expect_equal(dict((await s.record()).attributes), attributes, "attributes")


async def check_a_status_of_all_bytes_is_kept(s: Subject) -> None:
    """The status comes out byte for byte."""
    await s.waiting("a", status=BYTES * 64)
    expect_equal((await s.record()).status, BYTES * 64, "the status")


async def check_an_items_contents_are_untouched(s: Subject) -> None:
    """Options and arguments of an item come out byte for byte, also where they are empty."""
    await s.scheduled(an_item(1, data=b"", payload=b""), an_item(2, data=BYTES, payload=BYTES * 1024))
    found = [(item.data, item.payload) for item in (await s.lock_items()).activities]
    expect_equal(found, [(b"", b""), (BYTES, BYTES * 1024)], "options and arguments")


async def check_an_outcome_of_all_bytes_is_kept(s: Subject) -> None:
    """What a settlement says arrives byte for byte, an absent payload apart from an empty one."""
    drafts = [Draft("A", BYTES, BYTES * 256), Draft("B", b"", b""), Draft("C", b"\x00", None)]
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    for item, one in zip((await s.lock_items()).activities, drafts, strict=True):
        await s.settle(item.lock, message=one)
    expect_equal([message.draft for message in (await s.turn()).messages], drafts, "the inbox")


@belongs_to(Part.HEARTBEATS)
async def check_a_heartbeat_of_all_bytes_is_kept(s: Subject) -> None:
    """A heartbeat comes out byte for byte, an empty one apart from none."""
    await s.scheduled(an_item(1), an_item(2), an_item(3))
    one, two, _ = locks = [item.lock for item in (await s.lock_items()).activities]
    beats = {one.token: BYTES, two.token: b""}
    await s.store.renew_activities(RenewActivities(locks=tuple(locks), lease=LEASE, heartbeats=beats))
    s.advance(LEASE)
    found = [item.heartbeat for item in (await s.lock_items()).activities]
    expect_equal(found, [BYTES, b"", None], "heartbeats")


@belongs_to(Part.TAGS)
async def check_tags_are_told_apart_to_the_letter(s: Subject) -> None:
    """A tag is the very text that was given; an empty one is not the same as none."""
    tags = ("gpu", "GPU", "", "g%", "é", "e\u0301")
    await s.scheduled(*(an_item(number, tag=tag) for number, tag in enumerate(tags, 1)), an_item(7))
    for tag in tags:
        item = await s.item(tags=TagFilter(untagged=False, tags=(tag,)))
        expect_equal(item.tag, tag, "the tag of what was taken")
    expect_equal((await s.item()).tag, None, "the item without a tag")


async def check_odd_tokens_hold_nothing(s: Subject) -> None:
    """A token that the store never gave is no one's, whatever is written in it."""
    await s.start()
    turn = await s.turn()
    for token in ("", "%", "' OR 1=1 --", "é", turn.lock.token.upper() + " "):
        forged = attrs.evolve(turn.lock, token=token)
        with expect_raises(LockLost, f"the token is {token!r}"):
            await s.commit(attrs.evolve(turn, lock=forged))
        await s.store.release_turn(ReleaseTurn(lock=forged))
        answer = await s.store.renew_turns(RenewTurns(locks=(forged,), lease=LEASE))
        expect_equal(answer.lost, (forged,), "locks lost")
    await s.nothing_eligible("the lock is held")


@belongs_to(Part.REPEATS)
async def check_request_ids_are_told_apart_to_the_letter(s: Subject) -> None:
    """Two request ids that differ at all belong to two requests."""
    await s.waiting()
    for request_id in ODD:
        await s.post("a", request_id=request_id)
    expect_equal((await s.record()).queued, len(ODD), "messages in the inbox")
    for request_id in ODD:
        await s.post("a", request_id=request_id)
    expect_equal((await s.record()).queued, len(ODD), "messages in the inbox after repeats")


@belongs_to(Part.REFUSALS)
async def check_reading_a_bad_id_finds_nothing(s: Subject) -> None:
    """Reading under an id that nobody could keep answers with nothing, not with an error of the driver."""
    await s.start()
    for bad in BAD:
        expect_equal(await s.store.read_instance(bad), None, f"the instance {bad[:20]!r}")
        expect_equal(await s.store.read_history(bad, 1), (), f"the history of {bad[:20]!r}")
        expect_equal(await s.store.read_kv(bad), {}, f"the values of {bad[:20]!r}")


async def check_times_are_kept_exactly(s: Subject) -> None:
    """Times are kept to the last bit: of events, of waking, of messages and of items."""
    s.clock.now = EXACT
    await s.start()
    turn = await s.turn()
    expect_equal(turn.messages[0].at, EXACT, "when the message entered")
    events = (EventRow(1, EXACT / 3, "A", b"", None),)
    await s.commit(turn, events=events, wake_at=EXACT + 1 / 3, activities=(an_item(1),))
    expect_equal(await s.store.read_history("a", 1), events, "the history")
    expect_equal((await s.record()).wake_at, EXACT + 1 / 3, "when it is woken")
    expect_equal((await s.item()).scheduled_at, EXACT, "when the item was scheduled")


async def _refused(s: Subject, where: str, **fields: Any) -> None:
    with expect_raises(LimitExceeded, f"the {where} is endless"):
        await s.commit(await s.turn(), events=(), **fields)
    s.advance(LEASE)


@belongs_to(Part.REFUSALS)
async def check_endless_payloads_are_refused(s: Subject) -> None:
    """What is larger than any payload may be is refused with an error that names the limit, and nothing is kept."""
    endless = bytes(64 * 1024 * 1024 + 1)
    with expect_raises(LimitExceeded, "the start is endless"):
        await s.start("b", start=draft(payload=endless))
    await s.start("a")
    with expect_raises(LimitExceeded, "the message is endless"):
        await s.post("a", draft=draft(payload=endless))
    await _refused(s, "status", status=endless)
    await _refused(s, "value", kv_set={"k": endless})
    await _refused(s, "arguments", activities=(an_item(1, payload=endless),))
    record = await s.record()
    expect_equal((record.queued, record.revision, record.status), (1, 0, None), "the instance")
    expect_equal(await s.store.read_instance("b"), None, "the start that was refused")


async def check_a_commit_of_many_events(s: Subject) -> None:
    """One commit may bring thousands of events."""
    rows = tuple(EventRow(number, 0.0, f"E{number}", b"x", None) for number in range(1, 2501))
    await s.start()
    await s.commit(await s.turn(), events=rows)
    expect_equal(await s.store.read_history("a", 1), rows, "the history")
    expect_equal(await s.store.read_history("a", 1, after=2498), rows[2498:], "its end")


async def check_a_commit_of_many_values(s: Subject) -> None:
    """One commit may set a thousand values, and one may clear them."""
    values = {f"key-{number}": b"%d" % number for number in range(1000)}
    await s.waiting("a", kv_set=values)
    expect_equal(await s.store.read_kv("a"), values, "values")
    await s.post("a")
    await s.run("a", kv_cleared=tuple(values)[1:])
    expect_equal(await s.store.read_kv("a"), {"key-0": b"0"}, "values that were not cleared")


@belongs_to(Part.CHILDREN)
async def check_a_commit_of_many_messages(s: Subject) -> None:
    """One commit may send a thousand messages to one inbox; all come, in order, in one turn, and one commit takes
    them.
    """
    await s.waiting("b")
    await s.start("a")
    out = tuple(OutMessage(instance="b", draft=draft(f"N{number}")) for number in range(1000))
    await s.run("a", messages=out)
    turn = await s.turn("b")
    expect_equal([message.draft for message in turn.messages], [message.draft for message in out], "the inbox")
    await s.commit(turn)
    await s.nothing_eligible("everything was consumed")


@belongs_to(Part.CHILDREN)
async def check_a_commit_of_many_starts(s: Subject) -> None:
    """One commit may start a hundred instances."""
    await s.start("a")
    await s.run("a", "Ended", state=State.COMPLETED, starts=tuple(s.a_start(f"c{number}") for number in range(100)))
    turns = (await s.lock_turns(limit=200)).turns
    expect_equal(len(turns), 100, "instances that were started")
    expect(all(len(turn.messages) == 1 for turn in turns), "each has its start message")
