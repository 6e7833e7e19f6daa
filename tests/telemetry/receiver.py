"""An OTLP/HTTP receiver in this process, as a collector is one in another: it decodes what is sent and keeps it.

Laws: it answers as the protocol says; what it does not understand fails the test that sent it. `refuse` makes it a
collector that is down, `stall` one that takes connections and never answers.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import attrs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@attrs.frozen(kw_only=True)
class ReceivedSpan:
    """A span as it came over the wire."""

    service: str
    scope: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int  # ns
    end: int
    kind: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]  # trace id, span id
    status: int
    description: str


@attrs.define(eq=False)
class Receiver:
    """A receiver on a free port, for a ``with`` block."""

    spans: list[ReceivedSpan] = attrs.field(factory=list)
    metrics: dict[str, list[tuple[dict[str, Any], Any]]] = attrs.field(factory=dict)  # name -> (labels, point), latest
    bodies: list[bytes] = attrs.field(factory=list)  # everything that was sent, as it was
    refuse: bool = False
    stall: bool = False
    errors: list[Exception] = attrs.field(factory=list)
    _server: ThreadingHTTPServer = attrs.field(init=False)
    _thread: threading.Thread = attrs.field(init=False)
    _over: threading.Event = attrs.field(factory=threading.Event, init=False)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library calls it so
                receiver.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert not self.errors

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Take one export."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if self.stall:
            self._over.wait()
            return
        if self.refuse:
            request.send_response(503)
            request.end_headers()
            return
        try:
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.bodies.append(body)
            if request.path == "/v1/traces":
                self.spans += _spans(ExportTraceServiceRequest.FromString(body))
            elif request.path == "/v1/metrics":
                self.metrics.update(_metrics(ExportMetricsServiceRequest.FromString(body)))
            else:
                raise AssertionError(f"nothing is to be sent to {request.path}")
        except Exception as exc:
            self.errors.append(exc)
        request.send_response(200)
        request.send_header("Content-Type", "application/x-protobuf")
        request.send_header("Content-Length", "0")
        request.end_headers()


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service=service,
                    scope=scope.scope.name,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    kind=span.kind,
                    attributes=_attributes(span.attributes),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    status=span.status.code,
                    description=span.status.message,
                )


def _metrics(request: ExportMetricsServiceRequest) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = getattr(metric, metric.WhichOneof("data")).data_points
                found[metric.name] = [(_attributes(point.attributes), point) for point in points]
    return found


def tree(spans: list[ReceivedSpan], trace_id: str | None = None) -> list[str]:
    """The names of a trace's spans, indented by their depth, siblings in order of their beginning; nothing is left out.

    Raises AssertionError for a span id that came twice, and for a parent in the same trace that did not come.
    """
    own = [span for span in spans if trace_id is None or span.trace_id == trace_id]
    assert len({span.trace_id for span in own}) <= 1, "choose a trace"
    by_id = {span.span_id: span for span in own}
    assert len(by_id) == len(own), "a span id came twice"
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in own:
        assert span.parent_id is None or span.parent_id in by_id, f"the parent of {span.name!r} did not come"
        children.setdefault(span.parent_id, []).append(span)
    lines: list[str] = []

    def show(parent: str | None, depth: int) -> None:
        for span in sorted(children.get(parent, []), key=lambda one: (one.start, one.end, one.name)):
            lines.append("  " * depth + span.name)
            show(span.span_id, depth + 1)

    show(None, 0)
    return lines
