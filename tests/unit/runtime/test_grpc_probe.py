"""grpc.health.v1.Health/Check, against the health service of grpcio and against answers made by hand."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from equipoise.runtime.grpc_probe import check, judge
from equipoise.runtime.http2_probe import Answer
from equipoise.runtime.probe_error import ProbeError
from equipoise.wire.grpc import frame_message
from equipoise.wire.grpc_health import health_response
from equipoise.wire.hpack_header import header

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextmanager
def grpc_target(health_service: health.HealthServicer | None = None) -> Iterator[int]:
    """A target of grpcio; without a health service it knows no method at all."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        if health_service is not None:
            health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


def check_of(port: int, service: str = "") -> None:
    async def run() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                await check(reader, writer, ("http", f"127.0.0.1:{port}"), service)
        finally:
            writer.close()
            await writer.wait_closed()

    uvloop.run(run())


def service_of(**statuses: int) -> health.HealthServicer:
    service = health.HealthServicer()
    for name, status in statuses.items():
        service.set(name, status)
    return service


def test_a_target_that_serves_is_well() -> None:
    with grpc_target(service_of()) as port:
        check_of(port)


def test_a_service_is_asked_about_by_its_name() -> None:
    service = service_of(up=SERVING, down=NOT_SERVING)
    with grpc_target(service) as port:
        check_of(port, "up")
        with pytest.raises(ProbeError, match=r"^says NOT_SERVING$"):
            check_of(port, "down")


def test_a_service_that_the_target_does_not_know_is_named() -> None:
    with grpc_target(service_of()) as port, pytest.raises(ProbeError, match=r'knows no service "other" \(NOT_FOUND\)'):
        check_of(port, "other")


def test_a_target_without_the_health_service_says_what_is_missing() -> None:
    with grpc_target() as port, pytest.raises(ProbeError, match=r"has no grpc\.health\.v1\.Health service"):
        check_of(port)


GOOD = frame_message(health_response(1))


def answer(
    body: bytes = GOOD, status: int = 200, grpc_status: str | None = "0", kind: str = "application/grpc"
) -> Answer:
    trailers = [] if grpc_status is None else [header(b"grpc-status", grpc_status.encode())]
    return Answer(status, [header(b"content-type", kind.encode())], body, trailers)


def test_serving_is_the_one_good_answer() -> None:
    judge(answer(), "")
    judge(answer(kind="application/grpc+proto"), "")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (answer(status=404), "HTTP status 404"),
        (answer(kind="text/html"), "the answer is no gRPC"),
        (answer(grpc_status=None), "the answer has no grpc-status"),
        (answer(grpc_status="OK"), "the answer has an invalid grpc-status"),
        (answer(b"", grpc_status="14"), "UNAVAILABLE"),
        (answer(b"", grpc_status="77"), "77"),
        (answer(b""), "not a health response: no message"),
        (answer(b"\1" + GOOD[1:]), "not a health response: compressed message"),
        (answer(frame_message(b"\xff")), "not a health response: message ends within a field"),
        (answer(frame_message(b"")), "says UNKNOWN"),
        (answer(frame_message(health_response(2))), "says NOT_SERVING"),
        (answer(frame_message(health_response(3))), "says SERVICE_UNKNOWN"),
        (answer(frame_message(health_response(9))), "says 9"),
    ],
)
def test_anything_else_ends_the_probe(given: Answer, reason: str) -> None:
    with pytest.raises(ProbeError) as caught:
        judge(given, "")
    assert str(caught.value) == reason


def test_the_message_of_a_failed_call_is_told_without_what_would_break_a_line() -> None:
    given = Answer(
        200,
        [header(b"content-type", b"application/grpc"), header(b"grpc-status", b"13")],
        b"",
        [header(b"grpc-message", b"broken%0Aline")],
    )
    with pytest.raises(ProbeError, match=r"^INTERNAL: broken\?line$"):
        judge(given, "")
