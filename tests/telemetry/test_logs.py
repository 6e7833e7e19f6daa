"""Log records tell who logs: in turns, in attempts, in their tasks and threads; through `logging` and structlog."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import queue
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

import trioflow
from trioflow import activity, durable
from trioflow._util import FIELDS
from trioflow.telemetry import CorrelationFilter, add_correlation
from trioflow.testing import run_durable

library = logging.getLogger("some.library")
app = trioflow.App("logs")


@app.activity(retry=trioflow.Retry(max_attempts=2, initial=0.001))
async def charge() -> None:
    """Logs in every way that an activity has, and fails once."""
    activity.logger.info("from its logger")
    library.info("from a library")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log, "from a task")
    await trio.to_thread.run_sync(library.info, "from a thread")
    if activity.info().attempt == 1:
        raise ConnectionError


@app.activity
def pack() -> None:
    """A plain function."""
    library.info("from a plain function")


async def log(text: str) -> None:
    """Log something."""
    library.info(text)


async def branch() -> None:
    """A branch of an orchestration."""
    library.info("from a branch")


@app.orchestration(version="2.1.0")
async def order() -> None:
    """Logs in every way that an orchestration has."""
    durable.logger.info("from the first turn")
    library.info("from its code")
    async with durable.open_nursery() as nursery:
        nursery.start_soon(branch)
    await charge()
    durable.logger.info("from a later turn")
    await pack()


@app.orchestration
async def other() -> None:
    """Somebody else."""
    durable.logger.info("from another")


class Lines(logging.Handler):
    """Keeps records, as whoever formats them finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def of(self, message: str) -> list[dict[str, Any]]:
        """The fields of records with that message."""
        return [fields(record) for record in self.records if record.getMessage() == message]


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Those of ours that a record has."""
    return {name: value for name, value in vars(record).items() if name in FIELDS}


@pytest.fixture
def bare() -> Iterator[Lines]:
    """A handler on the root logger, without a filter."""
    handler, root = Lines(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


@pytest.fixture
def lines(bare: Lines) -> Lines:
    """The same, with the filter."""
    bare.addFilter(CorrelationFilter())
    return bare


async def run(*, fuse: bool = True, **headers: str) -> None:
    """One order, and somebody else beside it, on a worker called w1."""

    class Gives(trioflow.abc.Instrument):
        def headers(self, start: trioflow.abc.Start) -> dict[str, str]:
            return headers

        def activity_headers(self, subject: trioflow.abc.Subject, within: str) -> dict[str, str]:
            return {"traceparent": f"00-{'c' * 32}-{'d' * 16}-01"} if headers else {}

    options = trioflow.RuntimeOptions(worker="w1", fuse=fuse, born_leased=fuse)
    async with trioflow.open_runtime(app, "memory:", options=options, instruments=[Gives()]) as runtime:
        handles = [await runtime.client.start(each, id=each.name) for each in (order, other)]
        for handle in handles:
            await handle.result(timeout=20)


TURN = {"instance": "order", "execution": 1, "orchestration": "order", "version": "2.1.0", "worker": "w1"}
ATTEMPT = {"instance": "order", "execution": 1, "activity": "charge", "worker": "w1"}
NOTHING: dict[str, Any] = dict.fromkeys(FIELDS)


@pytest.mark.parametrize("fuse", [True, False])
async def test_whatever_is_logged_in_a_turn_or_an_attempt_is_stamped(lines: Lines, fuse: bool) -> None:
    """By whichever logger, in child tasks, branches and threads; attempts take nothing over from turns."""
    await run(fuse=fuse)
    for message in ("from the first turn", "from its code", "from a branch", "from a later turn"):
        assert lines.of(message) == [{**NOTHING, **TURN}], message
    for message in ("from its logger", "from a library", "from a task", "from a thread"):
        assert lines.of(message) == [{**NOTHING, **ATTEMPT, "attempt": number} for number in (1, 2)], message
    assert lines.of("from a plain function") == [{**NOTHING, **ATTEMPT, "activity": "pack", "attempt": 1}]
    assert [line["instance"] for line in lines.of("from another")] == ["other"]


async def test_our_own_loggers_tell_it_without_a_filter(bare: Lines) -> None:
    """As extra fields, those that are known; other loggers are left as they are."""
    await run(traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    ours = {"trace_id": "a" * 32, "span_id": "b" * 16}
    assert bare.of("from the first turn") == [{**TURN, **ours}]
    assert bare.of("from a later turn") == [{**TURN, **ours}]
    attempts = {"trace_id": "c" * 32, "span_id": "d" * 16}
    assert bare.of("from its logger") == [{**ATTEMPT, "attempt": number, **attempts} for number in (1, 2)]
    assert bare.of("from a library") == [{}, {}]


async def test_run_durable_tells_it_too(lines: Lines) -> None:
    """What is under test logs as it will in production; what the test logs itself is not stamped."""
    library.info("before")
    await run_durable(order, app=app)
    library.info("after")
    where = {**NOTHING, "instance": "run_durable", "execution": 1}
    assert lines.of("from the first turn") == [{**where, "orchestration": "order", "version": "2.1.0"}]
    assert lines.of("from a branch") == [{**where, "orchestration": "order", "version": "2.1.0"}]
    assert lines.of("from a library") == [{**where, "activity": "charge", "attempt": number} for number in (1, 2)]
    assert lines.of("before") == lines.of("after") == [NOTHING]


async def test_each_execution_tells_its_own_number(lines: Lines) -> None:
    """After `continue_as_new`, too."""
    again = trioflow.App("again")

    @again.orchestration
    async def count(left: int) -> None:
        durable.logger.info("round")
        if left:
            durable.continue_as_new(left - 1)

    async with trioflow.open_runtime(again, "memory:") as runtime:
        await (await runtime.client.start(count, 2)).result(timeout=20)
    assert [line["execution"] for line in lines.of("round")] == [1, 2, 3]
    lines.records.clear()
    await run_durable(count, 2)
    assert [line["execution"] for line in lines.of("round")] == [1, 2, 3]


async def test_an_error_that_parks_an_instance_says_whose_it_is(lines: Lines) -> None:
    """Trioflow's own loggers are stamped as well."""
    before, after = trioflow.App("before"), trioflow.App("after")

    @before.orchestration(name="order")
    async def waits() -> None:
        durable.set_status("waiting")
        await durable.wait_event("go")

    @after.orchestration(name="order")
    async def sleeps() -> None:
        await durable.sleep(1)

    store = trioflow.stores.MemoryStore()
    async with store:
        async with trioflow.open_runtime(before, store) as runtime:
            handle = await runtime.client.start(waits, id="it")
            await handle.wait_status(lambda status: status == "waiting")
        async with trioflow.open_runtime(after, store, options=trioflow.RuntimeOptions(worker="w2")) as runtime:
            handle = runtime.client.handle("it")
            await handle.raise_event("go")
            with pytest.raises(trioflow.InstanceParked):
                await handle.result(timeout=20)
    (record,) = [record for record in lines.records if "cannot go on" in record.getMessage()]
    where = {"instance": "it", "execution": 1, "orchestration": "order", "version": "1.0.0", "worker": "w2"}
    assert fields(record) == {**NOTHING, **where}


# -- formats ----------------------------------------------------------------------------------------------------------


def formatted(formatter: logging.Formatter) -> tuple[logging.Handler, io.StringIO]:
    """A handler as an application sets it up."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(CorrelationFilter())
    handler.setFormatter(formatter)
    return handler, stream


async def test_one_text_for_formats_that_are_read_by_people(bare: Lines) -> None:
    """`%(trioflow)s` says who logs in short, and "-" elsewhere; every field can be named in a format."""
    everything = " ".join(f"{name}=%({name})s" for name in FIELDS)
    handler, stream = formatted(logging.Formatter(f"[%(trioflow)s] %(message)s | {everything}"))
    logging.getLogger().addHandler(handler)
    try:
        await run()
        library.info("outside")
    finally:
        logging.getLogger().removeHandler(handler)
    said = [line.split(" | ") for line in stream.getvalue().splitlines()]
    texts = [text for text, _ in said]
    assert "[order/1 order] from the first turn" in texts
    assert "[order/1 charge#2] from a thread" in texts
    assert "[-] outside" in texts
    assert said[texts.index("[-] outside")][1] == " ".join(f"{name}=None" for name in FIELDS)


class Json(logging.Formatter):
    """As structured formatters do it: everything that a record has beyond the usual."""

    usual = frozenset((*vars(logging.makeLogRecord({})), "message"))

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        more = {name: value for name, value in vars(record).items() if name not in self.usual}
        return json.dumps({"message": record.getMessage(), **more})


async def test_json_lines_have_numbers_and_nulls(bare: Lines) -> None:
    """A field has one type, and null where there is no such thing."""
    handler, stream = formatted(Json())
    logging.getLogger().addHandler(handler)
    try:
        await run()
    finally:
        logging.getLogger().removeHandler(handler)
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    (first, second) = [line for line in said if line["message"] == "from a task"]
    assert first == {**NOTHING, **ATTEMPT, "attempt": 1, "trioflow": "order/1 charge#1", "message": "from a task"}
    assert second["attempt"] == 2


async def test_a_queue_handler_takes_it_along() -> None:
    """The filter belongs on the handler that is called in the task that logs."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    handler.addFilter(CorrelationFilter())
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        await run()
    finally:
        library.removeHandler(handler)
        library.setLevel(logging.NOTSET)
    heard = Lines()
    heard.addFilter(CorrelationFilter())  # once more, elsewhere: what is known stays
    while not waiting.empty():
        heard.handle(waiting.get())
    assert [line["attempt"] for line in heard.of("from a thread")] == [1, 2]


async def test_structlog(bare: Lines) -> None:
    """A processor adds what is known to structlog's events, in threads, too; fields that an event has are kept."""
    structured = trioflow.App("structured")
    capture = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[add_correlation, capture])

    @structured.activity
    async def talk() -> None:
        await trio.to_thread.run_sync(logger.info, "in a thread")
        logger.info("in its own words", instance="mine")

    @structured.orchestration
    async def main() -> None:
        await talk()

    async with trioflow.open_runtime(structured, "memory:", options=trioflow.RuntimeOptions(worker="w1")) as runtime:
        await (await runtime.client.start(main, id="it")).result(timeout=20)
    logger.info("outside")
    who = {"log_level": "info", "execution": 1, "activity": "talk", "attempt": 1, "worker": "w1"}
    assert capture.entries == [
        {"event": "in a thread", "instance": "it", **who},
        {"event": "in its own words", "instance": "mine", **who},
        {"event": "outside", "log_level": "info"},
    ]


async def test_structlog_renders_records_of_logging_with_it() -> None:
    """`ProcessorFormatter` runs the same processor on records that did not come from structlog."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[add_correlation], processors=processors)
    )
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        await run()
    finally:
        library.removeHandler(handler)
        library.setLevel(logging.NOTSET)
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {"event": "from a thread", **ATTEMPT, "attempt": 2} in said


def test_the_documentation_lists_the_fields() -> None:
    """Each, and no other."""
    page = Path(__file__).parents[2].joinpath("docs", "telemetry.md").read_text("utf-8")
    section = page[page.index("## Logs") : page.index("## An instrument")]
    named = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(named)) == [*FIELDS, "trioflow"]
