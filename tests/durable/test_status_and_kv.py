"""`set_status` and `kv`: what clients may read, durable per instance."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

import attrs
import pytest

from tests.engine.driving import Driven
from trioflow import durable
from trioflow.app import App
from trioflow.errors import EncodeError, LimitExceeded
from trioflow.history import Limits

app = App("kv", limits=Limits(kv_keys=3, kv_value_size=100, status_size=100, kv_key_length=10))


@attrs.frozen
class Point:
    """A typed value."""

    x: int
    y: int


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


def run(body: Callable[[], object]) -> Driven:
    """Run a body to its end, in an app with small limits."""

    async def program() -> object:
        return body()

    driven = Driven(program, app=app)
    driven.start()
    driven.close()
    return driven


def test_a_turn_says_what_it_has_changed() -> None:
    """Only the last value of a key, and what was removed; a turn that changes nothing says nothing."""

    async def program() -> list[object]:
        durable.kv["a"] = 1
        durable.kv["a"] = 2
        durable.kv["b"] = [1]
        durable.set_status("going")
        await step()
        del durable.kv["a"]
        await step()
        return [*durable.kv, durable.get_status()]

    driven = Driven(program, app=app)
    first = driven.start()
    assert (first.kv_set, first.kv_cleared, first.status) == ({"a": b"2", "b": b"[1]"}, (), b'"going"')
    second = driven.complete(driven.scheduled[0])
    assert (second.kv_set, second.kv_cleared, second.status) == ({}, ("a",), None)
    third = driven.complete(driven.scheduled[1])
    assert (third.kv_set, third.kv_cleared) == ({}, ())
    assert driven.result() == ["b", "going"]
    driven.close()


def test_a_value_is_a_fresh_copy_and_only_assignment_stores() -> None:
    """Changing what was read, or what was written, changes nothing that is kept."""

    def body() -> object:
        written = [1]
        durable.kv["k"] = written
        written.append(2)
        read = durable.kv["k"]
        read.append(3)
        return [durable.kv["k"], durable.kv["k"] is durable.kv["k"]]

    assert run(body).result() == [[1], False]


def test_it_is_a_mapping() -> None:
    """Length, iteration in order of first assignment, membership, deletion, `get`."""

    def body() -> object:
        kv = durable.kv
        kv["b"], kv["a"] = 1, None
        present = ["b" in kv, "c" in kv, 5 in kv, len(kv), list(kv), kv.get("a", 7), kv.get("c", 7), kv.get("c")]
        for key in kv:
            del kv[key]
        return [present, len(kv), list(kv)]

    assert run(body).result() == [[True, False, False, 2, ["b", "a"], None, 7, None], 0, []]


def test_it_has_all_the_methods_of_a_mapping() -> None:
    """It can be copied, compared, updated, popped from and cleared like a dict."""

    def body() -> object:
        kv = durable.kv
        kv.update({"a": 1}, b=[2])
        found: list[object] = [isinstance(kv, MutableMapping), dict(kv), list(kv.items()), list(kv.keys())]
        found += [list(kv.values()), kv == {"a": 1, "b": [2]}, kv.setdefault("a", 9), kv.setdefault("c", 3)]
        found += [kv.pop("a"), kv.pop("a", 7), kv.popitem(), sorted(kv)]
        kv.clear()
        return [*found, len(kv)]

    assert run(body).result() == [
        *(True, {"a": 1, "b": [2]}, [["a", 1], ["b", [2]]], ["a", "b"]),
        *([1, [2]], True, 1, 3),
        *(1, 7, ["b", [2]], ["c"]),
        0,
    ]


@pytest.mark.parametrize("how", ["read", "delete"])
def test_a_missing_key_is_a_key_error(how: str) -> None:
    """As with any mapping."""

    def body() -> object:
        try:
            if how == "read":
                return durable.kv["nothing"]
            del durable.kv["nothing"]
        except KeyError as exc:
            return exc.args[0]
        return None

    assert run(body).result() == "nothing"


def test_typed_values_come_back_as_the_type_asked_for() -> None:
    """A record is stored as itself; read without a type it is plain JSON."""

    def body() -> object:
        durable.kv["p"] = Point(1, 2)
        durable.set_status(Point(3, 4))
        plain = durable.kv["p"]
        assert durable.kv.get("p", type=Point) == Point(1, 2)
        assert durable.get_status(Point) == Point(3, 4)
        return [plain, durable.get_status()]

    assert run(body).result() == [{"x": 1, "y": 2}, {"x": 3, "y": 4}]


def test_a_status_never_set_is_none() -> None:
    """And one that is None is None, too."""

    def body() -> object:
        before = durable.get_status()
        durable.set_status(None)
        return [before, durable.get_status()]

    assert run(body).result() == [None, None]


def test_the_mapping_has_a_quiet_repr() -> None:
    """It is asked for by debuggers where no orchestration runs."""
    assert repr(durable.kv) == "<trioflow.durable.kv>"


def _assign(key: object, value: object) -> None:
    durable.kv[key] = value  # type: ignore[index]


def _fill(count: int) -> None:
    for number in range(count):
        durable.kv[str(number)] = number


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (lambda: _assign("k", "x" * 200), "kv_value_size"),
        (lambda: _assign("k" * 20, 1), "kv_key_length"),
        (lambda: _assign("", 1), "kv_key_length"),
        (lambda: _fill(4), "kv_keys"),
        (lambda: durable.set_status("x" * 200), "status_size"),
    ],
)
def test_limits_are_kept_with_typed_errors(body: Callable[[], None], limit: str) -> None:
    """The error names the limit; nothing is stored."""

    def guarded() -> object:
        try:
            body()
        except LimitExceeded as exc:
            return [exc.limit, exc.allowed, exc.actual is not None]
        return None

    driven = run(guarded)
    assert driven.result()[0] == limit
    assert driven.result()[2] is True


def test_a_key_that_is_there_may_be_set_at_the_limit() -> None:
    """Only new keys count."""

    def body() -> object:
        _fill(3)
        durable.kv["0"] = "changed"
        return durable.kv["0"]

    assert run(body).result() == "changed"


def test_what_cannot_be_serialized_is_refused() -> None:
    """Keys have to be text, values serializable."""

    def body() -> object:
        found = []
        for key, value in ((5, 1), ("k", object())):
            try:
                _assign(key, value)
            except EncodeError:
                found.append(key)
        return [*found, len(durable.kv)]

    assert run(body).result() == [5, "k", 0]


def test_what_is_read_on_replay_is_what_was_read_then() -> None:
    """A read-modify-write gives the same on every replay, starting from what the execution before had left."""

    async def program() -> int:
        for _ in range(3):
            durable.kv["n"] = durable.kv["n"] + 1
            await step()
        return durable.kv["n"]  # type: ignore[no-any-return]

    driven = Driven(program, app=app)
    driven.start(carried_kv={"n": b"10"})
    for number in range(3):
        driven.complete(driven.scheduled[number])
    assert driven.result() == 13
    driven.close()
