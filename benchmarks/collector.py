"""An OTLP collector that only counts spans: `python -m benchmarks.collector FILE` prints its address, then serves.

The spans and the calls so far are kept in FILE, as two numbers of eight bytes.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

LARGEST = 64 << 20


class Counter(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts the spans it is sent."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._spans = self._calls = 0

    def Export(  # noqa: N802 - the name is the protocol's
        self, request: pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> pb.ExportTraceServiceResponse:
        del context
        spans = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        with self._lock:
            self._spans += spans
            self._calls += 1
            os.pwrite(self._file, struct.pack(">QQ", self._spans, self._calls), 0)
        return pb.ExportTraceServiceResponse()


def main(path: str) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", LARGEST)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Counter(file), server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"http://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
