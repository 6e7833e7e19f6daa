"""Lists of instances, page by page. Read next: `_deleting.py`."""

from __future__ import annotations

from typing import Any

from trioflow.abc import InstancePage, InstanceQuery, ListInstances, ListPlace, Parent, State
from trioflow.testing._store_contract._marks import Part
from trioflow.testing._store_contract._subject import Subject, expect_equal

PART = Part.MANAGEMENT


async def page(s: Subject, limit: int = 100, after: ListPlace | None = None, **query: Any) -> InstancePage:
    """A page of a list."""
    return await s.store.list_instances(ListInstances(query=InstanceQuery(**query), limit=limit, after=after))


async def listed(s: Subject, **query: Any) -> list[str]:
    """The ids that a query finds, in the order of the list."""
    return [record.instance for record in (await page(s, **query)).instances]


async def started(s: Subject, *ids: str, **fields: Any) -> None:
    """Start instances, a second apart."""
    for name in ids:
        await s.start(name, **fields)
        s.advance(1)


async def check_a_list_is_newest_first(s: Subject) -> None:
    """Instances come by the time of their start, newest first; those of one moment by id, last first."""
    await started(s, "b", "c", "a")
    await s.start("x")
    await s.start("z")
    await s.start("y")
    await s.commit((await s.lock_turns(limit=1)).turns[0], "Started")
    expect_equal(await listed(s), ["z", "y", "x", "a", "c", "b"], "the list")


async def check_an_empty_store_lists_nothing(s: Subject) -> None:
    """There is nothing to list, and nothing to go on with."""
    found = await page(s)
    expect_equal((found.instances, found.next), ((), None), "the list")


async def check_a_list_shows_what_reading_shows(s: Subject) -> None:
    """A listed instance is told of as if it had been read alone."""
    await s.start("a", attributes={"k": "v"}, parent=Parent(instance="p", execution=1, event_id=2), delay=5.0)
    await s.ended("b", State.FAILED)
    await s.waiting("c", status=b"status", wake_at=s.clock.now + 100, unread=3)
    await s.post("c", control=True)
    for record in (await page(s)).instances:
        expect_equal(record, await s.record(record.instance), f"{record.instance} in the list")


async def check_pages_follow_each_other(s: Subject) -> None:
    """Going on from each page, every instance is seen once; the last page says that it is the last."""
    for number in range(10):
        await s.start(f"i{number}")
        s.advance(number % 2)
    seen, place = list[str](), None
    for _ in range(4):
        found = await page(s, limit=3, after=place)
        seen += [record.instance for record in found.instances]
        place = found.next
    expect_equal(seen, await listed(s), "all pages together")
    expect_equal((len(seen), place), (10, None), "how many, and what follows")


async def check_a_full_last_page_is_the_last(s: Subject) -> None:
    """A page that is full and behind which there is nothing is the last."""
    await started(s, "a", "b")
    expect_equal((await page(s, limit=2)).next, None, "what follows")


async def check_a_place_stays_where_it_is(s: Subject) -> None:
    """What starts, moves or ends between two pages neither hides nor repeats an instance."""
    await started(s, "a", "b", "c", "d")
    first = await page(s, limit=2)
    await started(s, "e", "f")
    for turn in (await s.lock_turns()).turns:
        await s.commit(turn, "Started", state=State.COMPLETED if turn.lock.instance in "ad" else State.WAITING)
    second = await page(s, limit=10, after=first.next)
    expect_equal([record.instance for record in second.instances], ["b", "a"], "the second page")


async def check_states_are_told_apart(s: Subject) -> None:
    """A query by states finds instances in any of these."""
    await s.ended("failed", State.FAILED)
    await s.ended("done")
    await s.waiting("parked", "Parked", state=State.PARKED)
    await s.waiting("waiting")
    await s.start("pending")
    expect_equal(await listed(s, states=(State.PARKED,)), ["parked"], "parked ones")
    expect_equal(sorted(await listed(s, states=(State.FAILED, State.PENDING))), ["failed", "pending"], "two states")
    expect_equal(len(await listed(s)), 5, "all")


async def check_names_and_versions_are_told_apart(s: Subject) -> None:
    """A query by name and version finds those to the letter; one that is not pinned has no version."""
    await started(s, "a", name="flow", version="1")
    await started(s, "b", name="flow", version="2")
    await started(s, "c", name="Flow", version="1")
    await started(s, "d", name="flow")
    expect_equal(await listed(s, name="flow"), ["d", "b", "a"], "by name")
    expect_equal(await listed(s, version="1"), ["c", "a"], "by version")
    expect_equal(await listed(s, name="flow", version="1"), ["a"], "by both")
    expect_equal(await listed(s, name="flo"), [], "by a part of a name")


async def check_a_prefix_is_no_pattern(s: Subject) -> None:
    """A query by prefix finds ids that begin with it, to the letter, whatever its letters mean elsewhere."""
    await started(s, "a_1", "a%1", "A_1", "ab1", "a_", "ba_1", "ä_1", "a\\1", "a*1")
    expect_equal(await listed(s, prefix="a_"), ["a_", "a_1"], "with an underscore")
    expect_equal(await listed(s, prefix="a%"), ["a%1"], "with a percent sign")
    expect_equal(await listed(s, prefix="a\\"), ["a\\1"], "with a backslash")
    expect_equal(await listed(s, prefix="a*"), ["a*1"], "with a star")
    expect_equal(await listed(s, prefix="ä"), ["ä_1"], "with an umlaut")
    expect_equal(await listed(s, prefix="zz"), [], "that nobody has")


async def check_children_are_found_by_their_parent(s: Subject) -> None:
    """A query by parent finds its children, of all its executions; one for roots finds those without a parent."""
    await started(s, "p", "q", 'p"')
    for number, parent in enumerate(("p", "p", "q", 'p"')):
        await started(s, f"c{number}", parent=Parent(instance=parent, execution=number + 1, event_id=1))
    expect_equal(await listed(s, parent="p"), ["c1", "c0"], "children of one")
    expect_equal(await listed(s, parent='p"'), ["c3"], "children of one with a quote in its id")
    expect_equal(await listed(s, parent="c0"), [], "children of one that has none")
    expect_equal(await listed(s, roots=True), ['p"', "q", "p"], "roots")


async def check_attributes_are_found(s: Subject) -> None:
    """A query by attributes finds instances that have each of these pairs, to the letter."""
    await started(s, "a", attributes={"city": "Rome", "age": "7"})
    await started(s, "b", attributes={"city": "Rome"})
    await started(s, "c", attributes={"city": "rome", "Rome": "city"})
    await started(s, "d", attributes={'q"u': "o'te", "city": ""})
    await started(s, "e")
    expect_equal(await listed(s, attributes={"city": "Rome"}), ["b", "a"], "one pair")
    expect_equal(await listed(s, attributes={"city": "Rome", "age": "7"}), ["a"], "two pairs")
    expect_equal(await listed(s, attributes={'q"u': "o'te"}), ["d"], "quotes")
    expect_equal(await listed(s, attributes={"city": ""}), ["d"], "an empty value")
    expect_equal(await listed(s, attributes={"ity": "Rome"}), [], "a part of a key")


async def check_times_are_ranges(s: Subject) -> None:
    """A query by times finds what lies from the first on and before the second; what has not ended has no such time."""
    begin = s.clock.now
    for name in ("a", "b", "c"):
        await s.ended(name)
        s.advance(10)
    await s.start("d")
    for what in ("created", "ended", "updated"):
        expect_equal(await listed(s, **{f"{what}_after": begin + 10, f"{what}_before": begin + 20}), ["b"], what)
    expect_equal(await listed(s, created_after=begin + 20), ["d", "c"], "created from a time on")
    expect_equal(await listed(s, ended_before=begin + 1000), ["c", "b", "a"], "ended before a time")
    expect_equal(await listed(s, ended_after=begin), ["c", "b", "a"], "ended from a time on")


async def check_all_that_is_said_has_to_hold(s: Subject) -> None:
    """A query with several parts finds what fits all of them, page by page as well."""
    for number in range(6):
        await started(s, f"x{number}", name="odd" if number % 2 else "even", attributes={"third": str(number % 3)})
    query: dict[str, Any] = {"name": "odd", "prefix": "x", "states": (State.PENDING,)}
    expect_equal(await listed(s, **query), ["x5", "x3", "x1"], "three parts")
    expect_equal(await listed(s, **query, attributes={"third": "0"}), ["x3"], "four parts")
    first = await page(s, limit=1, **query)
    second = await page(s, limit=1, after=first.next, **query)
    expect_equal([record.instance for record in second.instances], ["x3"], "the second page")


async def check_a_replacement_is_a_new_instance(s: Subject) -> None:
    """An instance that replaces another is listed at the time of its own start, with its own parent and attributes."""
    await s.start("a", attributes={"old": "v"})
    await s.run("a", "Started", state=State.COMPLETED)
    s.advance(1)
    await started(s, "b")
    await s.start("a", if_exists="replace_finished", attributes={"k": "v"})
    expect_equal(await listed(s), ["a", "b"], "the list")
    expect_equal(await listed(s, attributes={"k": "v"}), ["a"], "by its attributes")
    expect_equal(await listed(s, attributes={"old": "v"}), [], "by those of the old one")
