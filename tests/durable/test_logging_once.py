"""`durable.logger`: each line once, after the commit, however often the code is replayed."""

from __future__ import annotations

import logging

import pytest

from tests.engine.driving import Driven
from trioflow import durable
from trioflow._engine import run_turn
from trioflow.app import App

app = App("logging")


@app.activity
async def step(value: int = 0) -> int:
    """Never runs here."""
    return value


def test_a_line_belongs_to_the_turn_that_made_it() -> None:
    """A replay is silent, so every line is part of exactly one turn's result."""

    async def program() -> None:
        durable.logger.info("before %s", 1, extra={"k": "v"})
        await step()
        durable.logger.warning("after")

    driven = Driven(program, app=app)
    first = driven.start()
    second = driven.complete(driven.scheduled[0])
    (entry,) = first.logs
    assert (entry.logger, entry.level, entry.message, entry.args) == (
        "trioflow.orchestration",
        logging.INFO,
        "before %s",
        (1,),
    )
    assert entry.extra == {"k": "v"}
    assert [line.message for line in second.logs] == ["after"]
    assert run_turn(driven.definition, driven.history, [], driven.now, app=app).logs == ()
    driven.close()


def test_every_level_has_its_method() -> None:
    """As a `logging.Logger` has; another name goes to another logger."""

    async def program() -> None:
        logger = durable.DurableLogger("mine")
        logger.debug("d")
        logger.info("i")
        logger.warning("w")
        logger.error("e")
        logger.critical("c")
        logger.log(7, "seven")

    driven = Driven(program)
    result = driven.start()
    assert [entry.level for entry in result.logs] == [10, 20, 30, 40, 50, 7]
    assert {entry.logger for entry in result.logs} == {"mine"}
    driven.close()


@pytest.mark.parametrize("how", ["exception", "true", "given", "tuple", "nothing"])
def test_the_exception_goes_along(how: str) -> None:
    """`exc_info` is True, an exception, or what `sys.exc_info` gives, as with `logging`."""

    async def program() -> None:
        try:
            raise KeyError("k")
        except KeyError as exc:
            match how:
                case "exception":
                    durable.logger.exception("failed")
                case "true":
                    durable.logger.error("failed", exc_info=True)
                case "given":
                    durable.logger.error("failed", exc_info=exc)
                case "tuple":
                    durable.logger.error("failed", exc_info=(type(exc), exc, exc.__traceback__))
                case _:
                    durable.logger.error("failed", exc_info=False)

    driven = Driven(program)
    (entry,) = driven.start().logs
    assert isinstance(entry.exc_info, type(None) if how == "nothing" else KeyError)
    assert entry.level == logging.ERROR
    driven.close()


def test_an_option_that_logging_does_not_have_is_refused() -> None:
    """The error names it."""

    async def program() -> str:
        try:
            durable.logger.info("x", colour="red")
        except TypeError as exc:
            return str(exc)
        return ""

    driven = Driven(program)
    driven.start()
    assert "colour" in driven.result()
    assert repr(durable.logger) == "<DurableLogger 'trioflow.orchestration'>"
    driven.close()


def test_a_dropped_execution_is_silent() -> None:
    """What its `finally` blocks log belongs to no turn."""
    reached: list[str] = []

    async def program() -> None:
        try:
            await step()
        finally:
            reached.append("finally")
            durable.logger.info("never")
            reached.append("beyond")

    driven = Driven(program, app=app)
    driven.start()
    driven.live.close()
    assert "finally" in reached
    assert "beyond" not in reached
