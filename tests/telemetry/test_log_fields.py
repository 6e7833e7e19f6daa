"""The fields of log records: which wins, what `logging` would refuse, and where ids of traces come from."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import trioflow
from trioflow import activity, durable
from trioflow._util import LogContext, log_context, log_extra, log_fields
from trioflow.telemetry import CorrelationFilter, OpenTelemetry

TRACE, SPAN = "a" * 32, "b" * 16
STORED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def tracer() -> Any:
    """Somebody's own."""
    return TracerProvider().get_tracer("mine")


def test_what_a_user_gives_wins() -> None:
    """Fields of ours stand behind those of the same name."""
    who = LogContext(instance="it", execution=1, worker="w1")
    assert log_extra({"instance": "mine", "order": 7}, of=who) == {
        "instance": "mine",
        "order": 7,
        "execution": 1,
        "worker": "w1",
    }


@pytest.mark.parametrize("name", ["message", "asctime", "name", "args", "levelname", "thread"])
async def test_a_name_that_logging_has_for_itself_is_no_error(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It gets an underscore behind, in orchestrations and activities; a plain logger raises KeyError."""
    app = trioflow.App("names")

    @app.activity
    async def talk() -> None:
        activity.logger.warning("in an activity", extra={name: 7})

    @app.orchestration
    async def main() -> None:
        durable.logger.warning("in a turn", extra={name: 7})
        await talk()

    async with trioflow.open_runtime(app, "memory:") as runtime:
        await (await runtime.client.start(main)).result(timeout=20)
    said = [record for record in caplog.records if record.getMessage() in ("in a turn", "in an activity")]
    assert [vars(record)[f"{name}_"] for record in said] == [7, 7]
    assert len(caplog.records) == 2


@pytest.fixture
def factory() -> Iterator[None]:
    """Records that have a field `worker` already."""
    before = logging.getLogRecordFactory()

    def make(*args: Any, **options: Any) -> logging.LogRecord:
        record = before(*args, **options)
        record.worker = "theirs"
        return record

    logging.setLogRecordFactory(make)
    yield
    logging.setLogRecordFactory(before)


async def test_fields_of_a_record_factory_are_left_alone(factory: None, caplog: pytest.LogCaptureFixture) -> None:
    """`logging` refuses to hide them, so ours is left out, and the record is emitted."""
    app = trioflow.App("names")

    @app.orchestration
    async def main() -> None:
        durable.logger.warning("hello")

    async with trioflow.open_runtime(app, "memory:") as runtime:
        await (await runtime.client.start(main, id="it")).result(timeout=20)
    (record,) = caplog.records
    assert (vars(record)["worker"], vars(record)["instance"]) == ("theirs", "it")


def test_a_filter_never_raises() -> None:
    """Whatever a record brings along."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

    record = logging.makeLogRecord({"instance": Hostile(), "attempt": Hostile(), "activity": "charge"})
    assert CorrelationFilter().filter(record)
    assert vars(record)["trioflow"] == "-"


@pytest.mark.parametrize(
    ("brought", "text"),
    [
        ({"worker": "w1"}, "w1"),
        ({"instance": "it", "execution": 2}, "it/2 -"),
        ({"instance": "it", "execution": 2, "orchestration": "order", "worker": "w1"}, "it/2 order"),
        ({"instance": "it", "execution": 2, "activity": "charge", "attempt": 3}, "it/2 charge#3"),
        ({"trioflow": "theirs"}, "theirs"),
    ],
)
def test_the_short_text(brought: dict[str, Any], text: str) -> None:
    """What matters most of it."""
    record = logging.makeLogRecord(brought)
    CorrelationFilter().filter(record)
    assert vars(record)["trioflow"] == text


# -- traces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        *("", "nonsense", f"00-{TRACE}", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"),
    ],
)
def test_a_header_that_cannot_be_read_is_none(header: str) -> None:
    """Headers are texts of whoever started the instance."""
    assert log_fields(LogContext(headers={"traceparent": header})) == {}


def test_the_stored_context_counts_in_a_turn(tracer: Any) -> None:
    """There a current span is only the one in which the whole runtime was opened."""
    turn = LogContext(instance="it", headers=STORED)
    with tracer.start_as_current_span("main"):
        assert log_fields(turn) == {"instance": "it", "trace_id": TRACE, "span_id": SPAN}


def test_the_current_span_counts_in_an_activity_and_elsewhere(tracer: Any) -> None:
    """In an activity it is the attempt's, or one of the body's own within it."""
    with tracer.start_as_current_span("own") as span:
        own = span.get_span_context()
        ids = {"trace_id": f"{own.trace_id:032x}", "span_id": f"{own.span_id:016x}"}
        assert log_fields() == ids
        assert log_fields(LogContext(activity="charge", headers=STORED)) == {"activity": "charge", **ids}
    assert log_fields() == {}
    stored = {"activity": "charge", "trace_id": TRACE, "span_id": SPAN}
    assert log_fields(LogContext(activity="charge", headers=STORED)) == stored


def test_without_opentelemetry_there_is_no_current_span(monkeypatch: pytest.MonkeyPatch, tracer: Any) -> None:
    """It is not imported to find out."""
    with tracer.start_as_current_span("own"):
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
        assert log_fields(LogContext(instance="it")) == {"instance": "it"}
        assert "opentelemetry.trace" not in sys.modules


async def test_spans_and_log_records_name_the_same_trace(caplog: pytest.LogCaptureFixture) -> None:
    """A record of an attempt has the ids of its span, in a thread, too; one of a turn has those of its trace."""
    app, provider, exporter = trioflow.App("traced"), TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    @app.activity
    async def talk() -> None:
        await trio.to_thread.run_sync(activity.logger.warning, "in a thread")

    @app.orchestration
    async def main() -> None:
        durable.logger.warning("in a turn")
        await talk()

    instruments = [OpenTelemetry(provider, metrics=False)]
    async with trioflow.open_runtime(app, "memory:", instruments=instruments) as runtime:
        await (await runtime.client.start(main)).result(timeout=20)
    turn, attempt = (vars(record) for record in caplog.records)
    ids = {span.name: span.get_span_context() for span in exporter.get_finished_spans()}
    assert turn["trace_id"] == attempt["trace_id"] == f"{ids['main'].trace_id:032x}"
    assert turn["span_id"] == f"{ids['start main'].span_id:016x}"
    assert attempt["span_id"] == f"{ids['talk'].span_id:016x}"


def test_nobody_is_known_at_first() -> None:
    """Outside of a runtime there is nothing to tell."""
    assert log_context.get() == LogContext()
    assert log_fields() == {}
    assert log_extra({"message": 1}) == {"message_": 1}
