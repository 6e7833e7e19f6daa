"""Definitions: typed, lazy, and plain functions where no orchestration runs."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.engine.driving import Driven, kinds
from trioflow.app import ActivityDefinition, App, OrchestrationDefinition, Retry
from trioflow.errors import ConfigurationError, LimitExceeded, NotInOrchestration
from trioflow.history import ActivityScheduled, ChildScheduled, OrchestrationFailed

app = App("definitions")


@app.activity(retry=Retry(max_attempts=5), tag="gpu")
async def render(page: int, *, scale: float = 1.0) -> str:
    """Draw a page."""
    return f"{page}@{scale}"


@app.activity
def thread_name(value: int = 0) -> str:
    """Where it runs."""
    return f"{threading.current_thread() is threading.main_thread()} {value}"


@app.orchestration(version="2.0.0")
async def publish(pages: int) -> int:
    """Draw all pages."""
    return pages


async def test_an_activity_called_in_plain_code_simply_runs() -> None:
    """So it can be tested like any function; a variant does, too."""
    assert await render(3, scale=2.0) == "3@2.0"
    assert await render.options(tag=None)(4) == "4@1.0"


async def test_a_plain_function_runs_in_a_worker_thread() -> None:
    """Always awaited, as in an orchestration."""
    assert await thread_name(5) == "False 5"


def test_an_orchestration_called_in_plain_code_says_how_to_start_it() -> None:
    """At the call, with the names of the two ways and of the raw function."""
    with pytest.raises(NotInOrchestration) as info:
        call = publish(3)
        call.close()
    for text in ("client.start(publish", "trioflow.testing.run_durable(publish", "publish.fn"):
        assert text in str(info.value)


async def test_the_raw_function_is_there() -> None:
    """And runs as it is."""
    assert await publish.fn(3) == 3
    assert publish.__name__ == "publish"
    assert publish.__doc__ == "Draw all pages."
    assert render.__name__ == "render"
    assert render.__doc__ == "Draw a page."


def test_a_call_never_awaited_does_nothing() -> None:
    """It is a coroutine; it schedules at its first step, in the branch that awaits it."""

    async def program() -> str:
        call = render(1)
        call.close()
        return await render(2)

    driven = Driven(program, app=app)
    assert kinds(driven.start()) == ["OrchestrationStarted", "ActivityScheduled"]
    assert driven.scheduled[0].payload == b'{"page":2}'
    assert driven.scheduled[0].tag == "gpu"
    driven.close()


def test_variants_are_values_with_the_same_name() -> None:
    """What is not given stays; the original is not changed."""
    variant = render.options(timeout=5, on_cancel="request", session="s", schedule_timeout=9)
    assert variant is not render
    assert (variant.name, variant.fn, variant.spec) == (render.name, render.fn, render.spec)
    assert (variant.settings.tag, variant.settings.timeout) == ("gpu", 5)
    assert variant.settings.retry == Retry(max_attempts=5)
    assert variant.options(tag=None, timeout=None).settings.tag is None
    assert render.settings.timeout is None
    assert variant.options(name="draw").name == "draw"
    assert app.name_of(variant) == "render"


def test_a_variant_of_an_orchestration_says_how_it_runs_as_a_child() -> None:
    """Id, version, and what becomes of it when its parent is cancelled or ends."""

    async def program() -> None:
        variant = publish.options(id="p-1", version="2.0.0", on_cancel="request", on_parent_close="abandon")
        await variant.options(version=None)(7)

    driven = Driven(program, app=app)
    driven.start()
    scheduled = driven.last
    assert isinstance(scheduled, ChildScheduled)
    assert (scheduled.instance, scheduled.version) == ("p-1", None)
    assert (scheduled.on_cancel, scheduled.on_parent_close) == ("request", "abandon")
    assert (publish.options().child_id, publish.options().on_cancel) == (None, None)
    driven.close()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: publish.options(id=""), LimitExceeded),
        (lambda: publish.options(on_parent_close="kill"), ConfigurationError),  # type: ignore[arg-type]
        (lambda: publish.options(on_cancel="kill"), ConfigurationError),  # type: ignore[arg-type]
        (lambda: render.options(name=""), LimitExceeded),
        (lambda: render.options(timeout=0), ConfigurationError),
        (lambda: app.activity(retry=3), ConfigurationError),  # type: ignore[call-overload]
    ],
)
def test_an_option_that_makes_no_sense_is_refused_where_it_is_written(make: Any, error: type[Exception]) -> None:
    """Not when it is used."""
    with pytest.raises(error):
        make()


def generator() -> Iterator[int]:
    """No function of one value."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Nor this."""
    yield 1


class AsyncCallable:
    """An object that is called like an async function."""

    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        """A method is a function."""
        return 2


@pytest.mark.parametrize("fn", [generator, async_generator, int, 5, None.__class__, render, publish, AsyncCallable()])
@pytest.mark.parametrize("noun", ["activity", "orchestration"])
def test_what_is_no_function_is_refused(fn: Any, noun: str) -> None:
    """Generators, classes, definitions, objects."""
    with pytest.raises(ConfigurationError):
        getattr(App("a"), noun)(name="x")(fn)


def test_an_orchestration_is_async() -> None:
    """A plain function could not wait for anything."""
    with pytest.raises(ConfigurationError, match="write `async def`"):
        App("a").orchestration(lambda: 1)  # type: ignore[arg-type, return-value]


def test_a_function_without_a_name_needs_one() -> None:
    """A `functools.partial` has none of its own."""
    own = App("a")
    with pytest.raises(ConfigurationError, match="name="):
        own.activity(functools.partial(render.fn, 1))
    named: ActivityDefinition[..., Any] = own.activity(name="first")(functools.partial(render.fn, 1))
    assert named.name == named.__name__ == "first"
    method = own.orchestration(AsyncCallable().method)
    assert method.name == "method"


@pytest.mark.parametrize("noun", ["activity", "orchestration"])
def test_a_definition_of_an_app_that_is_not_included_raises_at_the_call(noun: str) -> None:
    """The error says `include`, and nothing is scheduled."""
    stranger = App("stranger")

    async def fn(value: int) -> int:
        return value

    definition = getattr(stranger, noun)(fn)

    async def program() -> str:
        try:
            await definition(1)
        except ConfigurationError as exc:
            return str(exc)
        return ""

    driven = Driven(program, app=app)
    driven.start()
    assert "include" in driven.result()
    assert driven.scheduled == []
    driven.close()


def test_a_prefix_is_part_of_the_name_in_histories() -> None:
    """What runs is found by the name under which the running app knows it."""
    outer = App("outer")
    outer.include(app, prefix="sub.")

    async def program() -> str:
        return await render(1)

    driven = Driven(program, app=outer)
    driven.start()
    assert isinstance(driven.last, ActivityScheduled)
    assert driven.last.name == "sub.render"
    driven.close()


def test_arguments_that_do_not_fit_the_signature_raise_at_the_call() -> None:
    """As with any function; nothing is scheduled."""

    async def program() -> None:
        await render(1, 2, 3)  # type: ignore[call-arg]

    driven = Driven(program, app=app)
    driven.start()
    assert isinstance(driven.last, OrchestrationFailed)
    assert driven.last.failure.type == "builtins.TypeError"
    driven.close()


def test_options_not_given_have_a_readable_default() -> None:
    """It is what `help` shows."""
    import inspect

    assert "<as defined>" in str(inspect.signature(OrchestrationDefinition.options))


async def test_a_definition_shows_what_it_is() -> None:
    """Its repr is short, and a call that was not awaited goes by the name of what was called."""
    assert repr(render) == "<Activity 'render' of 'definitions'>"
    assert repr(publish) == "<Orchestration 'publish' 2.0.0 of 'definitions'>"
    call = render(1)
    assert call.__qualname__ == "render"
    call.close()
