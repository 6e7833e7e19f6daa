"""`App`: what has a name, and which."""

from __future__ import annotations

from typing import Any

import pytest

from trioflow.app import App, OrchestrationDefinition
from trioflow.errors import ConfigurationError, EncodeError, LimitExceeded, UnregisteredError
from trioflow.history import Failure, Limits


def app_with(name: str, *activities: str, orchestrations: tuple[tuple[str, str], ...] = ()) -> App:
    """An app that has these."""
    app = App(name)

    async def fn(value: int = 0) -> int:
        return value

    for activity in activities:
        app.activity(name=activity)(fn)
    for orchestration, version in orchestrations:
        app.orchestration(name=orchestration, version=version)(fn)
    return app


def test_an_app_tells_what_it_has() -> None:
    """In its repr, and one by one."""
    app = app_with("shop", "charge", "pack", orchestrations=(("checkout", "1.0.0"), ("checkout", "2.0.0")))
    assert repr(app) == "<App 'shop' [2 activities, 1 orchestrations]>"
    assert [key for key, _ in app.definitions()] == [
        ("activity", "charge"),
        ("activity", "pack"),
        ("orchestration", "checkout", "1.0.0"),
        ("orchestration", "checkout", "2.0.0"),
    ]


@pytest.mark.parametrize(("name", "error"), [("", LimitExceeded), ("x" * 600, LimitExceeded), (5, EncodeError)])
def test_a_name_can_be_seen_and_kept(name: Any, error: type[Exception]) -> None:
    """By people and by stores: of apps, activities and orchestrations."""

    async def fn() -> None: ...

    with pytest.raises(error):
        App(name)
    if name:  # an empty one is the function's
        with pytest.raises(error):
            App("a").activity(name=name)(fn)
        with pytest.raises(error):
            App("a").orchestration(name=name)(fn)


def test_a_name_is_taken_once() -> None:
    """An activity and an orchestration may share one; two activities may not."""
    app_with("a", "same", orchestrations=(("same", "1.0.0"),))
    with pytest.raises(ConfigurationError, match="activity 'same' already"):
        app_with("a", "same", "same")


@pytest.mark.parametrize("again", ["1.0.0", "1.0"])
def test_a_version_is_taken_once(again: str) -> None:
    """However it is written."""
    with pytest.raises(ConfigurationError, match=r"orchestration 'o' 1\.0\.0 already"):
        app_with("a", orchestrations=(("o", "1.0.0"), ("o", again)))


@pytest.mark.parametrize("version", ["new", "", None])
def test_a_version_can_be_compared(version: Any) -> None:
    """Anything else is refused when it is registered."""
    with pytest.raises(ConfigurationError, match="is not a version"):
        app_with("a", orchestrations=(("o", version),))


def test_the_newest_version_is_found_unless_one_is_named() -> None:
    """By number, not by text; a missing one is told with those there are."""
    app = app_with("a", orchestrations=(("o", "2.0.0"), ("o", "10.0.0"), ("o", "9.0.0")))
    assert app.find_orchestration("o").version == "10.0.0"
    assert app.find_orchestration("o", "9.0.0").version == "9.0.0"
    with pytest.raises(UnregisteredError, match=r"no version 3\.0\.0 .* it has 2\.0\.0, 9\.0\.0, 10\.0\.0") as info:
        app.find_orchestration("o", "3.0.0")
    assert (info.value.kind, info.value.name, info.value.version) == ("orchestration", "o", "3.0.0")


def test_versions_are_ordered_with_their_pre_releases() -> None:
    """A pre-release comes before its release, and after everything older."""
    numbers = ["1.9.0", "1.10.0", "2.0.0-alpha.1", "2.0.0-beta.2", "2.0.0-rc.1", "2.0.0"]
    for count in range(1, len(numbers) + 1):
        app = app_with("a", orchestrations=tuple(("o", number) for number in reversed(numbers[:count])))
        assert app.find_orchestration("o").version == numbers[count - 1]


def test_an_app_may_use_another_version_than_the_newest() -> None:
    """For whoever names none, until it is told to use the newest again."""
    app = app_with("a", orchestrations=(("o", "1.0.0"), ("o", "2.0.0"), ("p", "1.0.0")))
    app.use_version("o", "1.0.0")
    assert [app.find_orchestration("o", version).version for version in (None, "2.0.0")] == ["1.0.0", "2.0.0"]
    app.use_version("o", None)
    app.use_version("p", None)
    assert app.find_orchestration("o").version == "2.0.0"
    for name, version in (("o", "3.0.0"), ("q", "1.0.0"), ("q", None)):
        with pytest.raises(UnregisteredError):
            app.use_version(name, version)


def test_what_an_app_says_of_an_included_one_counts_more() -> None:
    """Each by the name under which it knows the orchestration."""
    outer, inner = App("outer"), app_with("inner", orchestrations=(("o", "1"), ("o", "2"), ("o", "3")))
    outer.include(inner, prefix="in.")
    inner.use_version("o", "1")
    assert outer.find_orchestration("in.o").version == "1"
    outer.use_version("in.o", "2")
    assert (outer.find_orchestration("in.o").version, inner.find_orchestration("o").version) == ("2", "1")


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    """Or with how to register it."""
    app = app_with("a", "charge", "change", orchestrations=(("checkout", "1.0.0"),))
    with pytest.raises(UnregisteredError, match="did you mean 'charge' or 'change'"):
        app.find_activity("chargee")
    with pytest.raises(UnregisteredError, match="did you mean 'checkout'"):
        app.find_orchestration("chekout")
    with pytest.raises(UnregisteredError, match=r"register it with @app\.activity"):
        app.find_activity("zzz")


def test_an_included_app_is_part_of_it() -> None:
    """Behind its prefix, and its parts behind theirs; what it gains later is there, too."""
    outer, middle, inner = app_with("outer", "x"), app_with("middle", "x"), app_with("inner", "x")
    middle.include(inner, prefix="in.")
    outer.include(middle, prefix="mid.")
    assert [key[1] for key, _ in outer.definitions()] == ["x", "mid.x", "mid.in.x"]
    assert outer.find_activity("mid.in.x") is inner.find_activity("x")

    @inner.orchestration
    async def later() -> None: ...

    assert outer.find_orchestration("mid.in.later") is later
    assert outer.name_of(later) == "mid.in.later"
    assert inner.name_of(later) == "later"
    with pytest.raises(UnregisteredError):
        outer.find_orchestration("later")


def test_the_same_app_may_come_by_two_ways() -> None:
    """A name still means one thing."""
    base, left, right, top = app_with("base", "x"), App("left"), App("right"), App("top")
    for side in (left, right):
        side.include(base)
        top.include(side)
    assert top.find_activity("x") is base.find_activity("x")
    assert top.name_of(base.find_activity("x")) == "x"


def test_a_clash_or_a_cycle_is_refused_and_changes_nothing() -> None:
    """With a prefix the first can be mended, the second cannot."""
    one, two = app_with("one", "same"), app_with("two", "same")
    with pytest.raises(ConfigurationError, match="activity same twice; include with prefix="):
        one.include(two)
    assert len(list(one.definitions())) == 1
    one.include(two, prefix="two.")
    for other in (one, two):
        with pytest.raises(ConfigurationError, match="which includes it"):
            two.include(other)
    assert one.find_activity("two.same") is two.find_activity("same")


def test_exceptions_of_an_included_app_come_back_as_themselves() -> None:
    """Also those it registers later; two that disagree about a name are not joined at all."""
    outer, inner = App("outer"), App("inner")
    outer.include(inner)

    @inner.exception
    class Rejected(Exception):
        """Registered later."""

    rebuilt = outer.failures.to_exception(inner.failures.to_failure(Rejected("no")))
    assert isinstance(rebuilt, Rejected)
    stranger = app_with("stranger", "act")
    stranger.exception(type("Rejected", (Exception,), {}))
    with pytest.raises(ConfigurationError, match="Rejected"):
        outer.include(stranger)
    assert list(outer.definitions()) == []


def test_an_exception_may_be_registered_under_another_name() -> None:
    """Which is what histories hold."""
    app = App("a")

    class Refused(Exception):
        """To be renamed."""

    assert app.exception(Refused, name="shop.Refused") is Refused
    failure: Failure = app.failures.to_failure(Refused("x"))
    assert failure.type == "shop.Refused"


def test_a_definition_of_another_app_is_answered_with_include() -> None:
    """The error says what is missing."""
    mine, other = App("mine"), app_with("other", "x")
    with pytest.raises(ConfigurationError, match=r"not part of the app 'mine'.*include"):
        mine.name_of(other.find_activity("x"))


def test_limits_are_those_of_the_app() -> None:
    """They hold for names, too."""
    app = App("a", limits=Limits(id_length=3))

    async def long_name() -> None: ...

    with pytest.raises(LimitExceeded):
        app.activity(long_name)
    definition: OrchestrationDefinition[[], None] = app.orchestration(name="ok")(long_name)
    assert definition.name == "ok"
