"""Arguments are stored by parameter name and come back for the code of today."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.history.payload_types import Order
from trioflow.errors import ConfigurationError, DecodeError, EncodeError
from trioflow.history import ArgumentSpec, PayloadCodec

CODEC = PayloadCodec()


async def charge(order: Order, times: int = 1, *, note: str | None = None) -> str:
    """An activity like any other."""
    return order.id


def test_position_and_keyword_make_no_difference() -> None:
    """The same call in two spellings gives the same bytes."""
    spec = ArgumentSpec.of(charge)
    order = Order("o")
    expected = b'{"order":{"id":"o","amount":0,"tags":[]},"times":2}'
    assert CODEC.encode_arguments(spec, (order, 2)) == expected
    assert CODEC.encode_arguments(spec, (order,), {"times": 2}) == expected
    assert CODEC.encode_arguments(spec, (), {"times": 2, "order": order}) == expected


def test_what_is_stored_calls_the_function_again() -> None:
    """Decoded arguments have the declared types; a default that was not given is not stored."""
    spec = ArgumentSpec.of(charge)
    data = CODEC.encode_arguments(spec, (Order("o"),), {"note": "x"})
    assert data == b'{"order":{"id":"o","amount":0,"tags":[]},"note":"x"}'
    assert CODEC.decode_arguments(spec, data) == ((Order("o"), 1), {"note": "x"})


def test_the_return_type_is_read_too() -> None:
    """Results are encoded by what the function declares."""
    assert ArgumentSpec.of(charge).returns is str
    assert ArgumentSpec.of(lambda: None).returns is Any


def test_every_kind_of_parameter_is_kept() -> None:
    """Positional-only, *args, keyword-only and **kwargs come back where they were."""

    def everything(a: int, /, b: int, *rest: float, c: int, d: int = 4, **more: str) -> None:
        """Take all kinds."""

    spec = ArgumentSpec.of(everything)
    data = CODEC.encode_arguments(spec, (1, 2, 3, 4), {"c": 5, "x": "y"})
    assert data == b'{"a":1,"b":2,"rest":[3.0,4.0],"c":5,"more":{"x":"y"}}'
    assert CODEC.decode_arguments(spec, data) == ((1, 2, 3.0, 4.0), {"c": 5, "x": "y"})
    data = CODEC.encode_arguments(spec, (1, 2), {"c": 5})
    assert data == b'{"a":1,"b":2,"c":5}'
    assert CODEC.decode_arguments(spec, data) == ((1, 2), {"c": 5})


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "missing a required argument: 'order'"),
        ((Order("o"), 1, 2), {}, "too many positional arguments"),
        ((Order("o"),), {"order": 1}, "multiple values for argument 'order'"),
        ((Order("o"),), {"gone": 1}, "unexpected keyword argument 'gone'"),
    ],
)
def test_a_call_that_cannot_be_made_is_a_type_error(args: Any, kwargs: Any, says: str) -> None:
    """As for a plain call, and it names the function."""
    with pytest.raises(TypeError, match=rf"^.*charge\(\): .*{says}"):
        CODEC.encode_arguments(ArgumentSpec.of(charge), args, kwargs)


def test_an_argument_of_another_type_is_refused_by_name() -> None:
    """The error at the border names parameter, expected and actual type, and place."""
    spec = ArgumentSpec.of(charge)
    with pytest.raises(EncodeError, match=r"charge: argument 'order': expected Order, got int\."):
        CODEC.encode_arguments(spec, (5,))
    with pytest.raises(EncodeError, match=r"^activity 'x': argument 'order': expected int, got str at \$.amount"):
        CODEC.encode_arguments(spec, (Order("o", "x"),), what="activity 'x'")  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match=r"type Order at \$.x, which is not plain"):
        CODEC.encode_arguments(ArgumentSpec.of(lambda x: x), (Order("o"),))


def test_a_new_parameter_with_a_default_is_harmless() -> None:
    """Yesterday's arguments call today's function."""

    def today(order: Order, colour: str = "red", times: int = 1, *, note: str = "", loud: bool = False) -> None:
        """Have two more parameters than yesterday."""

    data = CODEC.encode_arguments(ArgumentSpec.of(charge), (Order("o"), 2))
    assert CODEC.decode_arguments(ArgumentSpec.of(today), data) == ((Order("o"), "red", 2), {})


def test_a_parameter_that_is_gone_is_named() -> None:
    """Recorded arguments that nobody takes any more are not dropped silently."""
    with pytest.raises(
        DecodeError, match="charge: the recorded arguments hold 'colour', a parameter that the code no longer has"
    ):
        CODEC.decode_arguments(ArgumentSpec.of(charge), b'{"order":{"id":"o"},"colour":"red"}')


def test_a_new_parameter_without_a_default_is_named() -> None:
    """Recorded arguments cannot call a function that needs more."""
    with pytest.raises(DecodeError, match="recorded without 'order'"):
        CODEC.decode_arguments(ArgumentSpec.of(charge), b'{"times":1}')


def test_arguments_that_are_no_object_are_refused() -> None:
    """A list is no arguments."""
    with pytest.raises(DecodeError, match="recorded as list"):
        CODEC.decode_arguments(ArgumentSpec.of(charge), b"[]", what="arguments of the start")


def test_recorded_arguments_of_another_type_are_refused_by_name() -> None:
    """The message names the parameter and the place in it."""
    with pytest.raises(DecodeError, match=r"charge: argument 'order' does not fit .* expected str, got int @ \$.id"):
        CODEC.decode_arguments(ArgumentSpec.of(charge), b'{"order":{"id":1}}')


def test_a_hint_that_cannot_be_found_is_found_at_definition() -> None:
    """The error says which function and which name, and where it has to be."""

    def broken(x: NoSuchThing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Have an annotation of nothing."""

    with pytest.raises(ConfigurationError, match=r"^mine: the annotation .* names 'NoSuchThing'"):
        ArgumentSpec.of(broken, name="mine")


def test_a_hint_that_is_no_type_is_found_at_definition() -> None:
    """Any other trouble with annotations is told at the same moment."""

    def broken(x: 1 / 0) -> None:  # type: ignore[valid-type]
        """Have an annotation that raises."""

    with pytest.raises(ConfigurationError, match="annotations cannot be read"):
        ArgumentSpec.of(broken)


def test_a_local_class_is_found_through_the_closure() -> None:
    """A function that uses a local class in its body may use it in its annotations, too."""

    class Local:
        """A class of this function."""

    def take(x: Local) -> Local:
        """Use the class."""
        return later(Local(), x)

    assert ArgumentSpec.of(take).types == {"x": Local}

    def later(first: Local, second: Local) -> Local:
        """Exist from here on."""
        return first


def test_callables_of_other_kinds_have_specs() -> None:
    """A partial, a bound method and an object with `__call__` are read like functions."""

    class Caller:
        def __call__(self, x: int) -> str:
            return str(x)

        def method(self, y: int) -> str:
            return str(y)

    assert ArgumentSpec.of(Caller()).types == {"x": int}
    assert ArgumentSpec.of(Caller().method).types == {"y": int}
    assert list(ArgumentSpec.of(functools.partial(charge, times=1)).types) == ["order", "times", "note"]
    with pytest.raises(ConfigurationError, match="no signature"):
        ArgumentSpec.of(5)  # type: ignore[arg-type]
