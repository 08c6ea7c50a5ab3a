"""The traffic's calls, against a demo target that serves gRPC."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
import uvloop

from equipoise.demo.record import Failure, Record, Traffic, load
from equipoise.demo.target_grpc import METHOD, SERVICE, GrpcServing
from equipoise.demo.target_http import Answer, Counts
from equipoise.demo.traffic import TrafficProcess, TrafficSettings
from equipoise.demo.traffic_grpc import CONNECTIONS, Channels, GrpcClient
from equipoise.demo.traffic_http import Job

Ended = list[tuple[str, Failure | None]]


@pytest.fixture(autouse=True)
def ends_the_thread_of_grpcio() -> Iterator[None]:
    """It ends with the last of grpcio's objects."""
    yield
    gc.collect()


def one_call(answer: Callable[[bytes], bytes] | grpc.StatusCode | None, give_up: str = "") -> Ended:
    """Makes one call to a target that answers so (None: never); returns how it ended."""
    ended: Ended = []

    async def run() -> None:
        over = asyncio.Event()
        begun = asyncio.Event()

        async def place(request: bytes, context: Any) -> bytes:
            begun.set()
            if isinstance(answer, grpc.StatusCode):
                await context.abort(answer, "for a reason")
            if answer is None or isinstance(answer, grpc.StatusCode):
                await asyncio.Event().wait()
                raise AssertionError
            return answer(request)

        def on_end(_client: GrpcClient, target: str, _latency_ms: float, failure: Failure | None) -> None:
            ended.append((target, failure))
            over.set()

        server = grpc.aio.server()
        handler: Any = grpc.unary_unary_rpc_method_handler(place)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"Place": handler})])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channels = Channels("127.0.0.1", port)
        client = GrpcClient(channels, on_end)
        client.send(Job("id-1", "POST", "/", b"body"))
        async with asyncio.timeout(20):
            await begun.wait()
            if give_up:
                client.give_up(give_up)
            await over.wait()
        client.close()
        await channels.close()
        await server.stop(0)

    uvloop.run(run())
    return ended


def says(name: str, path: str = METHOD, length: int = 4) -> Callable[[bytes], bytes]:
    return lambda _request: msgspec.json.encode(Answer(name, 1, "POST", path, length))


def kind_of(ended: Ended) -> str:
    ((_, failure),) = ended
    assert failure is not None
    assert failure.request_id == "id-1"
    return failure.kind


def test_a_right_answer_names_its_target() -> None:
    assert one_call(says("a")) == [("a", None)]


def test_an_answer_to_another_call_is_a_wrong_one() -> None:
    assert kind_of(one_call(says("a", length=5))) == "wrong answer"
    assert kind_of(one_call(says("a", path="/other"))) == "wrong answer"
    assert kind_of(one_call(lambda _request: b"no JSON")) == "wrong answer"


def test_a_call_that_fails_is_told_by_its_status() -> None:
    ((_, failure),) = one_call(grpc.StatusCode.UNAVAILABLE)
    assert failure is not None
    assert (failure.kind, failure.detail) == ("UNAVAILABLE", "for a reason")


def test_a_call_that_is_given_up_fails_once() -> None:
    assert kind_of(one_call(None, give_up="timeout")) == "timeout"


def test_the_traffic_calls_over_a_few_connections(tmp_path: Path) -> None:
    counts = Counts("t", lambda: 20.0)
    traffic = generate(tmp_path, counts)
    assert traffic.summary is not None
    assert traffic.summary.answered == {"t": counts.requests}
    assert counts.requests > 3 * CONNECTIONS
    assert (traffic.summary.gets, traffic.summary.connections) == (0, CONNECTIONS)
    assert traffic.failures == []


def generate(tmp_path: Path, counts: Counts) -> Traffic:
    file = StringIO()

    async def run() -> None:
        serving = GrpcServing(counts, reuse_port=False)
        await serving.start("127.0.0.1", 0)
        settings = TrafficSettings(
            f"http://{serving.address}/",
            tmp_path / "record",
            seed=1,
            duration=1.0,
            concurrency=3 * CONNECTIONS,
            grpc=True,
        )
        async with asyncio.timeout(30):
            await TrafficProcess(settings, Record(file)).run()
        await serving.drain(0)

    uvloop.run(run())
    path = tmp_path / "record"
    path.write_text(file.getvalue())
    return load(path)
