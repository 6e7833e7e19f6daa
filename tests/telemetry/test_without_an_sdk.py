"""Where the SDK is missing, or nobody has configured it, nothing happens, and nothing is imported for it."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, TracerProvider as AnyTracerProvider

from tests.telemetry.seeing import attempt, ended, start, started, subject, turn
from trioflow.telemetry import OpenTelemetry, configured


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), ProxyTracerProvider()])
def test_without_an_sdk_there_are_no_spans(provider: AnyTracerProvider, caplog: pytest.LogCaptureFixture) -> None:
    """That is said once; headers and surroundings are as if nobody traced."""
    with caplog.at_level(logging.WARNING, logger="trioflow.telemetry"):
        instrument = OpenTelemetry(provider, NoOpMeterProvider())
        assert instrument.headers(start("client")) == {}
        assert instrument.activity_headers(subject(), "") == {}
        one = attempt()
        with instrument.inside(one):
            assert not trace.get_current_span().get_span_context().is_valid
        instrument.saw(turn(started()))
        instrument.saw(ended(one))
    assert [record.getMessage() for record in caplog.records] == [
        f"there will be no spans: {type(provider).__name__} gives no tracer of OpenTelemetry's SDK"
    ]


@pytest.mark.parametrize(
    ("tracers", "meters", "so"),
    [
        (None, None, False),
        (NoOpTracerProvider(), NoOpMeterProvider(), False),
        (TracerProvider(), None, True),
        (None, MeterProvider(), True),
    ],
)
def test_a_process_is_configured_once_it_has_a_provider(
    monkeypatch: pytest.MonkeyPatch, tracers: object, meters: object, so: bool
) -> None:
    """Of the SDK or of anybody; those of the API itself do nothing."""
    if tracers is not None:
        monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_tracer_provider", lambda: tracers)
    if meters is not None:
        monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_meter_provider", lambda: meters)
    assert configured() is so


def test_the_globals_are_used_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for any other library."""
    provider = TracerProvider()
    monkeypatch.setattr("trioflow.telemetry._opentelemetry.get_tracer_provider", lambda: provider)
    assert OpenTelemetry().headers(start("worker"))
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)


@pytest.mark.slow
def test_trioflow_is_imported_without_opentelemetry() -> None:
    """It costs nothing until it is used; and the telemetry itself never imports the SDK."""
    program = (
        "import sys, trioflow\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "import trioflow.telemetry\n"
        "assert not trioflow.telemetry.configured()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
