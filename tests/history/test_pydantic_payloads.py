"""pydantic models make the trip when pydantic is there, which a model proves."""

from __future__ import annotations

import datetime
import sys
from typing import Annotated, Any

import pydantic
import pytest

from tests.history.payload_types import Order
from trioflow.errors import DecodeError, EncodeError
from trioflow.history import ArgumentSpec, PayloadCodec

CODEC = PayloadCodec()


class Address(pydantic.BaseModel):  # type: ignore[name-defined, misc]
    street_name: str = pydantic.Field(alias="streetName")
    since: datetime.date | None = None
    ratios: list[float] = pydantic.Field(default_factory=list)


class Customer(pydantic.BaseModel):  # type: ignore[name-defined, misc]
    name: str
    address: Address
    note: str = pydantic.Field(default="", serialization_alias="out", validation_alias="in")


class Special(Customer):
    level: int = 1


CUSTOMER = Customer(name="Ann", address=Address(streetName="Main", since=datetime.date(2020, 1, 2)))


def test_a_model_comes_back_as_itself() -> None:
    """By field name, whatever its aliases; alone, in containers and in unions."""
    data = CODEC.encode(CUSTOMER, Customer)
    assert data == (b'{"name":"Ann","address":{"street_name":"Main","since":"2020-01-02","ratios":[]},"note":""}')
    assert CODEC.decode(data, Customer) == CUSTOMER
    for type_ in (list[Customer], list[Customer | Order | None]):
        assert CODEC.decode(CODEC.encode([CUSTOMER], type_), type_) == [CUSTOMER]


def test_a_model_that_does_not_fit_is_refused() -> None:
    """Another class, a subclass with more fields, and fields that were set to something else."""
    with pytest.raises(EncodeError, match="expected Customer, got Special"):
        CODEC.encode(Special(name="x", address=CUSTOMER.address), Customer)
    wrong = CUSTOMER.model_copy(update={"name": [5]})
    with pytest.raises(EncodeError, match="expected Customer, got one with fields that do not fit"):
        CODEC.encode(wrong, Customer)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"name":"secret"}', r"missing at address"),
        (b'{"name":"secret","address":{"street_name":5}}', r"string_type at address.street_name"),
        (b'"secret"', r"model_type at the top"),
    ],
)
def test_recorded_data_that_do_not_fit_are_refused_without_being_shown(data: bytes, says: str) -> None:
    """The kind and place of pydantic's errors, never its inputs."""
    with pytest.raises(DecodeError, match=says) as caught:
        CODEC.decode(data, Customer)
    assert "secret" not in str(caught.value)


def test_a_description_without_a_hash_is_looked_through() -> None:
    """`Annotated[int, Field(...)]` is an int to the codec."""

    def take(count: Annotated[int, pydantic.Field(gt=0)], many: list[Annotated[int, pydantic.Field(gt=0)]]) -> None:
        """Take described arguments."""

    spec = ArgumentSpec.of(take)
    assert CODEC.decode_arguments(spec, CODEC.encode_arguments(spec, (1, [2]))) == ((1, [2]), {})
    assert CODEC.encode([1], list[Annotated[int, pydantic.Field(gt=0)]]) == b"[1]"


def test_without_pydantic_nothing_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic is never imported by us."""
    monkeypatch.delitem(sys.modules, "pydantic")
    with pytest.raises(EncodeError, match="Customer cannot be stored"):
        PayloadCodec().encode(CUSTOMER, Customer)
    assert "pydantic" not in sys.modules


def test_a_field_may_hold_anything_that_pydantic_writes_as_json() -> None:
    """Within a model pydantic decides; limits hold all the same."""

    class Reading(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        values: dict[str, Any]

    data = CODEC.encode(Reading(values={"a": (1, 2)}), Reading)
    assert data == b'{"values":{"a":[1,2]}}'
