"""Every event makes the trip to a store and back, and what cannot be read is told apart."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from trioflow.errors import HistoryError, UnknownEventKind
from trioflow.history import (
    EVENTS,
    ActivityCompleted,
    ActivityScheduled,
    CarriedCancel,
    CarriedEvent,
    Category,
    EncodedEvent,
    Event,
    EventCodec,
    EventReceived,
    Failure,
    OrchestrationFailed,
    OrchestrationStarted,
    ParentLink,
    Recorded,
    TimerCreated,
    TimerFired,
)

CODEC = EventCodec(json="stdlib")
FASTEST = EventCodec()  # with orjson, where it is installed

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
payloads = st.sampled_from([b"1", b'{"a":"\xc3\xa4"}', b"null", b'"x"'])
numbers = st.integers(0, 10**6)
failures = st.recursive(
    st.builds(
        Failure,
        type=texts,
        message=texts,
        category=st.sampled_from(Category),
        retryable=st.booleans(),
        attempts=numbers,
        details=st.none() | payloads,
        traceback=st.none() | texts,
        extra=st.dictionaries(st.sampled_from(["later", "new"]), numbers),
    ),
    lambda inner: st.builds(
        Failure, type=texts, message=texts, members=st.lists(inner, max_size=2).map(tuple), cause=st.none() | inner
    ),
    max_leaves=4,
)
carried = st.builds(CarriedEvent, name=texts, payload=payloads)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers,
    float: st.floats(0, 1e12, allow_nan=False),
    str: texts,
    bytes: payloads,
    str | None: st.none() | texts,
    bytes | None: st.none() | payloads,
    Failure: failures,
    Failure | None: st.none() | failures,
    ParentLink | None: st.none() | st.builds(ParentLink, instance=texts, execution=numbers, event_id=numbers),
    CarriedCancel | None: st.none() | st.builds(CarriedCancel, reason=st.none() | texts),
    tuple[CarriedEvent, ...]: st.lists(carried, max_size=2).map(tuple),
    Mapping[str, str]: st.dictionaries(texts, texts, max_size=2),
    Mapping[str, float]: st.dictionaries(texts, st.floats(0, 1e12, allow_nan=False), max_size=2),
    Mapping[str, bytes]: st.dictionaries(texts, payloads, max_size=2),
    Mapping[str, Any]: st.dictionaries(st.sampled_from(["later", "new"]), st.none() | numbers | st.lists(texts)),
}


def any_event(cls: type[Event]) -> st.SearchStrategy[Event]:
    """Instances of a kind of event, by the types of its fields."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: BY_TYPE[hints[field.name]] for field in attrs.fields(cls)})


def there_and_back(codec: EventCodec, event: Event) -> Event:
    """The event after a trip to a store."""
    return codec.decode(event.id, event.at, *codec.encode(event))


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
@settings(max_examples=20, deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_every_kind_comes_back_as_it_was(cls: type[Event], data: st.DataObject) -> None:
    """All fields, those of later releases too."""
    event = data.draw(any_event(cls))
    assert there_and_back(CODEC, event) == event


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.__name__)
@settings(max_examples=20, deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_either_library_reads_what_the_other_wrote(cls: type[Event], data: st.DataObject) -> None:
    """A store may be shared by workers with and without the extra."""
    event = data.draw(any_event(cls))
    for writer, reader in ((CODEC, FASTEST), (FASTEST, CODEC)):
        assert reader.decode(event.id, event.at, *writer.encode(event)) == event


GOLDEN: list[tuple[Event, EncodedEvent]] = [
    (
        ActivityCompleted(id=6, at=2.0, answers=5, payload=b'"r"'),
        ("ActivityCompleted", b'{"answers":5}', b'"r"'),
    ),
    (TimerFired(id=7, at=2.0), ("TimerFired", b"{}", None)),
    (
        TimerCreated(id=7, place="0@1", deadline=2.5),
        ("TimerCreated", b'{"place":"0@1","deadline":2.5}', None),
    ),
    (
        ActivityScheduled(id=5, at=1.0, place="0.1#2", name="charge", payload=b"{}", tag="gpu"),
        ("ActivityScheduled", b'{"place":"0.1#2","name":"charge","tag":"gpu"}', b"{}"),
    ),
    (Recorded(id=8, place="0#1", name="f"), ("Recorded", b'{"place":"0#1","name":"f"}', None)),
    (
        OrchestrationFailed(
            id=9,
            failure=Failure(type="a", message="b", details=b'{"x":1}', cause=Failure(type="c", message="d")),
            unread=(CarriedEvent(name="n", payload=b"1"),),
        ),
        (
            "OrchestrationFailed",
            (
                b'{"failure":{"type":"a","message":"b","details":"{\\"x\\":1}","cause":{"type":"c","message":"d"}},'
                b'"unread":[{"name":"n","payload":"1"}]}'
            ),
            None,
        ),
    ),
    (
        OrchestrationStarted(
            id=1,
            instance="i",
            name="checkout",
            payload=b"{}",
            seed="00",
            parent=ParentLink(instance="p", execution=1, event_id=4),
            carried_kv={"k": b"1"},
            carried_status=b'"s"',
            carried_cancel=CarriedCancel(reason="r"),
        ),
        (
            "OrchestrationStarted",
            (
                b'{"instance":"i","name":"checkout","seed":"00","parent":{"instance":"p","execution":1,"event_id":4},'
                b'"carried_kv":{"k":"1"},"carried_status":"\\"s\\"","carried_cancel":{"reason":"r"}}'
            ),
            b"{}",
        ),
    ),
]


@pytest.mark.parametrize(("event", "encoded"), GOLDEN, ids=lambda case: type(case).__name__)
def test_what_is_written_is_small_and_stays_the_same(event: Event, encoded: EncodedEvent) -> None:
    """Golden bytes: fields at their default are left out, the payload is untouched."""
    assert CODEC.encode(event) == encoded
    assert there_and_back(CODEC, event) == event


def test_the_semantics_version_is_written_once_it_is_another() -> None:
    """A default of today must not be mistaken for one of tomorrow, so a worker can tell what it may replay."""
    event = OrchestrationStarted(instance="i", name="n", payload=b"{}", seed="00", semantics=2)
    assert b'"semantics":2' in CODEC.encode(event)[1]


def test_unknown_fields_are_kept_and_written_back() -> None:
    """An older reader passes over what a newer release says, in events and in their failures."""
    event = CODEC.decode(3, 1.0, "ActivityCompleted", b'{"later":[1],"answers":5,"extra":{"x":1}}', b"1")
    assert event == ActivityCompleted(id=3, at=1.0, answers=5, payload=b"1", extra={"later": [1], "extra": {"x": 1}})
    assert CODEC.encode(event)[1] == b'{"later":[1],"extra":{"x":1},"answers":5}'
    data = b'{"failure":{"type":"a","message":"b","hint":"c"}}'
    failed = CODEC.decode(3, 1.0, "OrchestrationFailed", data, None)
    assert isinstance(failed, OrchestrationFailed)
    assert failed.failure.extra == {"hint": "c"}
    assert CODEC.encode(failed)[1] == b'{"failure":{"hint":"c","type":"a","message":"b"}}'
    parent = b'{"instance":"i","name":"n","seed":"","parent":{"instance":"p","execution":1,"event_id":2,"x":1}}'
    started = CODEC.decode(1, 0.0, "OrchestrationStarted", parent, b"{}")
    assert isinstance(started, OrchestrationStarted)
    assert started.parent == ParentLink(instance="p", execution=1, event_id=2)


def test_columns_win_over_data() -> None:
    """Id, time and payload are the store's columns, whatever the data say."""
    event = CODEC.decode(3, 1.0, "ActivityCompleted", b'{"answers":5,"id":99,"at":9.0,"payload":"x"}', b"1")
    assert event == ActivityCompleted(id=3, at=1.0, answers=5, payload=b"1")


def test_an_unknown_kind_is_an_error_of_its_own() -> None:
    """By it an instance is parked until the worker is upgraded."""
    with pytest.raises(UnknownEventKind, match=r"event 7 is of kind 'MoonLanded'.*upgrade this worker") as caught:
        CODEC.decode(7, 0.0, "MoonLanded", b"not even json", None)
    assert (caught.value.kind, caught.value.schema) == ("MoonLanded", None)


def test_a_newer_schema_is_an_error_of_its_own() -> None:
    """The kind is known, its meaning is not."""
    with pytest.raises(UnknownEventKind, match=r"schema version 2, and this release knows 1") as caught:
        CODEC.decode(7, 0.0, "TimerFired", b'{"v":2}', None)
    assert (caught.value.kind, caught.value.schema) == ("TimerFired", 2)


def test_an_older_schema_is_lifted_step_by_step() -> None:
    """Each upcaster makes the next version; what is written says its version once it is not 1."""
    codec = EventCodec(
        upcasters={
            ("ActivityCompleted", 1): lambda data: {"reply_to": data["answer"]},
            ("ActivityCompleted", 2): lambda data: {"answers": data["reply_to"]},
        }
    )
    wanted = ActivityCompleted(id=3, at=1.0, answers=5, payload=b"1")
    for data in (b'{"answer":5}', b'{"v":2,"reply_to":5}', b'{"v":3,"answers":5}'):
        assert codec.decode(3, 1.0, "ActivityCompleted", data, b"1") == wanted
    assert codec.encode(wanted)[1] == b'{"answers":5,"v":3}'
    assert there_and_back(codec, wanted) == wanted
    assert there_and_back(codec, TimerFired(id=1)) == TimerFired(id=1)


@pytest.mark.parametrize(
    ("kind", "data", "payload", "says"),
    [
        ("TimerFired", b"", None, "was raised"),
        ("TimerFired", b"[]", None, "was raised"),
        ("TimerFired", b"[" * 100_000, None, "was raised"),
        ("TimerFired", b'{"v":"x"}', None, "schema version from 1 on"),
        ("TimerFired", b'{"v":0}', None, "schema version from 1 on"),
        ("ActivityCompleted", b"{}", b"1", "the field 'answers' is missing"),
        ("ActivityCompleted", b'{"answers":"5"}', b"1", "expected int, got str"),
        ("ActivityCompleted", b'{"answers":5}', "1", "expected bytes as its payload, got str"),
        ("TimerCreated", b'{"place":"0@1","deadline":"soon"}', None, "expected float, got str"),
        (
            "OrchestrationStarted",
            b'{"instance":"i","name":"n","seed":"","carried_kv":{"k":5}}',
            b"{}",
            "was raised",
        ),
        ("OrchestrationFailed", b'{"failure":[]}', None, "expected Failure, got list"),
        ("OrchestrationFailed", b'{"failure":{"type":"a","message":"b","details":5}}', None, r"None, got int"),
        ("OrchestrationFailed", b'{"failure":{"type":"a","message":"b","category":"x"}}', None, "a member of Category"),
    ],
)
@pytest.mark.parametrize("json", ["stdlib", "orjson"])
def test_a_damaged_row_is_a_history_error(json: Any, kind: str, data: bytes, payload: Any, says: str) -> None:
    """The message says which event, of what kind, and why, but repeats nothing of it."""
    with pytest.raises(HistoryError, match=rf"^event 7 \({kind}\) cannot be read: .*{says}") as caught:
        EventCodec(json=json).decode(7, 0.0, kind, data, payload)
    assert not isinstance(caught.value, UnknownEventKind)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (TimerCreated(id=7, place="x", deadline=float("inf")), "expected a finite float"),
        (TimerCreated(id=7, place=5, deadline=1.0), "expected str, got int"),  # type: ignore[arg-type]
        (OrchestrationFailed(id=7, failure="x"), "expected Failure, got str"),  # type: ignore[arg-type]
        (OrchestrationFailed(id=7, failure=Failure(type="x", message="", details="y")), "None, got str"),  # type: ignore[arg-type]
        (EventReceived(id=7, name="\ud800", payload=b""), "was raised"),
    ],
)
def test_an_event_with_a_wrong_field_cannot_be_written(event: Event, says: str) -> None:
    """A mistake of ours is caught before it is recorded."""
    with pytest.raises(HistoryError, match=rf"^event 7 \(.*\) cannot be written: {says}|{says}"):
        CODEC.encode(event)


def test_only_events_of_the_catalogue_can_be_written() -> None:
    """A class of somebody else's is no kind."""

    @attrs.frozen(kw_only=True)
    class Invented(Event):
        """Not in EVENTS."""

    with pytest.raises(HistoryError, match="Invented is not a kind of event"):
        CODEC.encode(Invented())
