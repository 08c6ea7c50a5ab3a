"""A demo target that serves gRPC, asked by grpcio."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import msgspec
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from equipoise.demo.target_grpc import METHOD, GrpcServing
from equipoise.demo.target_http import Answer, Counts


@pytest.fixture(autouse=True)
def ends_the_thread_of_grpcio() -> Iterator[None]:
    """It ends with the last of grpcio's objects."""
    yield
    gc.collect()


def play(scene: Callable[[GrpcServing, Any], Awaitable[None]], counts: Counts) -> None:
    """Runs a scene with a target and a channel to it."""

    async def run() -> None:
        serving = GrpcServing(counts, reuse_port=False)
        await serving.start("127.0.0.1", 0)
        async with asyncio.timeout(20), grpc.aio.insecure_channel(serving.address) as channel:
            await scene(serving, channel)
        await serving.drain(0)

    uvloop.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  (the target tells nobody)
        await asyncio.sleep(0.005)


def test_a_call_is_answered_with_what_was_seen() -> None:
    async def scene(_serving: GrpcServing, channel: Any) -> None:
        answer = msgspec.json.decode(await channel.unary_unary(METHOD)(b"twelve bytes"), type=Answer)
        assert answer == Answer("t", 1, "POST", METHOD, 12)

    counts = Counts("t", lambda: 0.0)
    play(scene, counts)
    assert (counts.in_flight, counts.requests) == (0, 1)


def test_calls_in_flight_are_counted_and_a_cancelled_one_no_more() -> None:
    counts = Counts("t", lambda: 60_000.0)

    async def scene(_serving: GrpcServing, channel: Any) -> None:
        calls = [channel.unary_unary(METHOD)(b"") for _ in range(3)]
        await until(lambda: counts.in_flight == 3)
        calls[0].cancel()
        await until(lambda: counts.in_flight == 2)

    play(scene, counts)
    assert counts.in_flight == 0


def test_a_drain_lets_calls_in_flight_finish() -> None:
    counts = Counts("t", lambda: 300.0)

    async def scene(serving: GrpcServing, channel: Any) -> None:
        call = asyncio.ensure_future(channel.unary_unary(METHOD)(b""))  # noqa: TID251  (awaited below)
        await until(lambda: counts.in_flight == 1)
        await serving.drain(20)
        assert msgspec.json.decode(await call, type=Answer).name == "t"

    play(scene, counts)


def test_the_health_service_is_not_counted() -> None:
    counts = Counts("t", lambda: 60_000.0)

    async def scene(_serving: GrpcServing, channel: Any) -> None:
        request = health_pb2.HealthCheckRequest(service="anything")
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    play(scene, counts)
    assert counts.requests == 0


def test_an_address_that_cannot_be_had_is_an_ordinary_error() -> None:
    async def run() -> None:
        serving = GrpcServing(Counts("t", lambda: 0.0), reuse_port=False)
        try:
            await serving.start("192.0.2.1", 80)
        finally:
            await serving.drain(0)

    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        uvloop.run(run())
