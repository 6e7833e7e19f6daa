"""Trace contexts become headers, and headers become trace contexts."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import TraceState, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.telemetry.seeing import SAMPLED, UNSAMPLED
from trioflow.telemetry._context import LINK, beneath, beside, context_of, first, headers_of, link_of


@pytest.mark.parametrize("text", [SAMPLED, UNSAMPLED])
def test_a_context_survives_its_headers(text: str) -> None:
    """Trace, span and the decision come back as they were."""
    found = context_of({"traceparent": text})
    assert found is not None
    assert headers_of(found) == {"traceparent": text}


def test_the_state_of_a_trace_is_kept() -> None:
    """What vendors have put into `tracestate` goes along, also to another span of the trace."""
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=x"}
    found = context_of(headers)
    assert found is not None
    assert headers_of(found) == headers
    assert beside(found, 1).trace_state == TraceState([("vendor", "x")])


def test_a_long_state_is_left_out() -> None:
    """A caller outside may send as much as it likes: that is not to be stored with each step, nor to be refused."""
    found = context_of({"traceparent": SAMPLED, "tracestate": ",".join(f"a{n}=" + "x" * 250 for n in range(32))})
    assert found is not None
    assert len(found.trace_state) == 32
    assert headers_of(found) == {"traceparent": SAMPLED}


TEXTS = [
    *(
        SAMPLED,
        UNSAMPLED,
        f"  {SAMPLED}\t",
        SAMPLED.upper(),
        SAMPLED[:-2] + "ff",
        SAMPLED[:-2] + "03",
        "01" + SAMPLED[2:],
    ),
    *("01" + SAMPLED[2:] + "-more", "ff" + SAMPLED[2:], SAMPLED + "-more", SAMPLED[:36] + "0" * 16 + "-01", "x" * 600),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("state", [None, "", "vendor=x,other=y", "no state", "v=" + "x" * 255])
def test_headers_mean_what_the_propagator_says(text: str, state: str | None) -> None:
    """Whatever they are, also when they come again; and what it would write is what is written."""
    headers = {"traceparent": text} if state is None else {"traceparent": text, "tracestate": state}
    propagator = TraceContextTextMapPropagator()
    expected = get_current_span(propagator.extract(headers, Context())).get_span_context()
    for _ in range(2):
        found = context_of(headers)
        assert found == (expected if expected.is_valid else None)
    written: dict[str, str] = {}
    propagator.inject(written, beneath(expected))
    assert headers_of(expected) == written


@pytest.mark.parametrize("text", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", SAMPLED + "x"])
def test_what_cannot_be_read_is_no_context(text: str) -> None:
    """A header may come from anywhere."""
    assert context_of({"traceparent": text}) is None
    assert link_of({LINK: text}) is None


def test_there_may_be_no_headers() -> None:
    """As of an execution that began where nobody traced."""
    assert context_of({}) is None
    assert link_of({"traceparent": SAMPLED}) is None


def test_a_link_is_a_header_of_its_own() -> None:
    """The span that a new trace comes from is found again."""
    origin = context_of({"traceparent": SAMPLED})
    assert origin is not None
    headers = headers_of(first(1, 2, sampled=False), origin)
    assert headers == {"traceparent": f"00-{1:032x}-{2:016x}-00", LINK: SAMPLED}
    assert link_of(headers) == origin
