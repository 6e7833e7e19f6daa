"""Which instances a client asks for: conditions that all have to hold, checked where they are written.

Laws: what makes no sense is refused here, before a store is asked; what is not said holds for every instance. A filter
that names nothing at all fits everything, and verbs that change things refuse it.

Must never know: how a store searches. Who calls it: users; `_listing.py`, `_bulk.py`. Read next: `_listing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

import attrs

from trioflow._client._checks import check_switch, check_text, checked_attributes
from trioflow._util import FAR, shown
from trioflow.abc import InstanceQuery, State
from trioflow.errors import ConfigurationError

Moment = float | datetime
"""Seconds since the Unix epoch, or a datetime that knows its offset."""


def _states(states: State | str | Iterable[State | str] | None) -> tuple[State, ...] | None:
    if states is None:
        return None
    known = ", ".join(State)
    try:
        named = tuple(dict.fromkeys(map(State, [states] if isinstance(states, str) else states)))
    except (TypeError, ValueError):
        raise ConfigurationError(f"states= takes states or their names ({known}), not {shown(states)}") from None
    if not named:  # all that fits would surprise whoever found no state to name
        raise ConfigurationError(f"states= names no state, which nothing fits; leave it out for all of {known}")
    return named


def _seconds(moment: Moment | None) -> float | None:
    if not isinstance(moment, datetime):
        return None if moment is None else _finite(moment)
    if moment.utcoffset() is None:
        raise ConfigurationError(
            f"the time {moment!r} does not say in which part of the world: give a datetime with tzinfo=, such as "
            "datetime.UTC"
        )
    return moment.timestamp()


def _finite(moment: object) -> float:
    if isinstance(moment, bool) or not isinstance(moment, (int, float)) or not -FAR < moment < FAR:
        raise ConfigurationError(f"a time is an aware datetime, or seconds since the Unix epoch, not {shown(moment)}")
    return float(moment)


def _text_if_any(instance: object, attribute: attrs.Attribute[Any], text: object) -> None:
    if text is not None:
        check_text(attribute.name, text)


def _text(instance: object, attribute: attrs.Attribute[Any], text: object) -> None:
    check_text(attribute.name, text)


def _is_bool(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    check_switch(attribute.name, value)


class FilterFields(TypedDict, total=False):
    """The fields of an `InstanceFilter`, as keyword arguments of the verbs that take one."""

    states: State | str | Iterable[State | str] | None
    name: str | None
    version: str | None
    prefix: str
    parent: str | None
    roots: bool
    attributes: Mapping[str, str] | None
    created_after: Moment | None
    created_before: Moment | None
    updated_after: Moment | None
    updated_before: Moment | None
    ended_after: Moment | None
    ended_before: Moment | None


@attrs.frozen(kw_only=True)
class InstanceFilter:
    """Instances that one is interested in: everything that is said has to hold.

    Times are given as aware datetimes or in seconds since the Unix epoch, on the store's clock; an `after` includes its
    moment, a `before` does not.

    Attributes:
        states: any of these; a `State`, its name ("failed"), or several. None is all of them.
        name: of the orchestration.
        version: that it is pinned to, or was started with.
        prefix: how the id begins.
        parent: the id of the instance whose children are wanted.
        roots: only those that no other instance waits for.
        attributes: pairs that were given to `start`; it may have others beside.
        created_after, created_before: when it was started.
        updated_after, updated_before: when something last happened to it.
        ended_after, ended_before: when it ended; one that has not ended does not fit.

    Raises:
        ConfigurationError: a state that there is not, or none at all; a time that is none.
        EncodeError: a text that is none.
    """

    states: tuple[State, ...] | None = attrs.field(default=None, converter=_states)
    name: str | None = attrs.field(default=None, validator=_text_if_any)
    version: str | None = attrs.field(default=None, validator=_text_if_any)
    prefix: str = attrs.field(default="", validator=_text)
    parent: str | None = attrs.field(default=None, validator=_text_if_any)
    roots: bool = attrs.field(default=False, validator=_is_bool)
    attributes: Mapping[str, str] = attrs.field(factory=dict, converter=checked_attributes)
    created_after: float | None = attrs.field(default=None, converter=_seconds)
    created_before: float | None = attrs.field(default=None, converter=_seconds)
    updated_after: float | None = attrs.field(default=None, converter=_seconds)
    updated_before: float | None = attrs.field(default=None, converter=_seconds)
    ended_after: float | None = attrs.field(default=None, converter=_seconds)
    ended_before: float | None = attrs.field(default=None, converter=_seconds)

    def query(self) -> InstanceQuery:
        """As a store is asked."""
        return InstanceQuery(**{**attrs.asdict(self, recurse=False), "states": self.states or ()})

    def only(self, *states: State) -> InstanceFilter | None:
        """Those of these states; None where it names other states only."""
        left = tuple(state for state in states if not self.states or state in self.states)
        return attrs.evolve(self, states=left) if left else None


def filter_of(filter: InstanceFilter | None, fields: Mapping[str, Any]) -> InstanceFilter:
    """A filter, with further fields. Raises TypeError where it has no such field, or is no filter."""
    known = attrs.fields_dict(InstanceFilter)
    for name in fields:
        if name not in known:
            raise TypeError(f"a filter has no field {name!r}; it has {', '.join(known)}")
    if not isinstance(filter, InstanceFilter | None):
        raise TypeError(f"a filter is an InstanceFilter, not {filter!r}; give its fields by keyword: name='checkout'")
    return attrs.evolve(filter or InstanceFilter(), **fields)


def narrow_filter_of(
    filter: InstanceFilter | None, fields: Mapping[str, Any], *, everything: bool, now: float
) -> InstanceFilter:
    """As `filter_of`, for a verb that changes what it finds. Raises ConfigurationError where that is everything.

    Everything is also what all states, roots with their descendants, or times leave over that exclude nothing: those
    from the epoch on, and those up to a moment that has not come, as `now` says, the store's time.
    """
    check_switch("everything", everything)
    found = filter_of(filter, fields)
    said = {name: value for name, value in attrs.asdict(found, recurse=False).items() if not _is_open(name, value, now)}
    if said.get("states") is not None and len(said["states"]) == len(State):
        del said["states"]
    if not everything and InstanceFilter(**{**said, "roots": False}) == InstanceFilter():
        raise ConfigurationError("this filter fits every instance of the store; if that is meant, say everything=True")
    return found


def _is_open(name: str, bound: Any, now: float) -> bool:
    """Whether it is a time that every instance is after, or before."""
    if bound is None:
        return False
    return (name.endswith("_after") and bound <= 0) or (name.endswith("_before") and bound > now)
