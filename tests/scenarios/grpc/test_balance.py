"""Calls are spread one by one, however few connections they come on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.grpc_peers import GrpcStage, run_async
from tests.scenarios.support.polling import eventually

CALLS = 1000
TARGETS = 5


@pytest.mark.parametrize("workers", [1, 2])
def test_calls_of_one_connection_are_spread_evenly(grpc_stage: GrpcStage, before: Before, workers: int) -> None:
    targets = [grpc_stage.target() for _ in range(TARGETS)]
    balancer = before(targets, Setting(workers=workers))

    async def run() -> Counter[bytes]:
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{balancer.port}") as channel:
            wait = channel.unary_unary("/probe.Probe/Wait")
            calls = [wait(b"", timeout=60) for _ in range(CALLS)]
            await await_held(targets)
            for target in targets:
                await loop_run(target.open_gate)
            return Counter([await call for call in calls])

    answered = run_async(run)
    held = {target.name: target.stats()["most_in_flight"] for target in targets}
    assert all(abs(count - CALLS // TARGETS) <= 4 for count in held.values()), held
    assert answered == Counter({name.encode(): count for name, count in held.items()})
    assert balancer.in_flight() == 0


async def loop_run(work: Any) -> Any:
    """Blocking work, while the calls go on."""
    return await asyncio.to_thread(work)


async def await_held(targets: list[Any]) -> None:
    """Returns when the targets hold all calls."""

    def held() -> int:
        return sum(target.stats()["in_flight"] for target in targets)

    await loop_run(lambda: eventually(held, lambda count: count == CALLS))


def test_a_new_target_gets_its_share_of_a_connection_that_exists(grpc_stage: GrpcStage, before: Before) -> None:
    first, second = grpc_stage.target(), grpc_stage.target()
    balancer = before([first])
    client = grpc_stage.client(balancer)
    client.one("Unary", b"")
    setting = Setting()
    balancer.reload(setting.text([first.url, second.url]))
    for _ in range(10):
        client.one("Unary", b"")
    assert second.stats()["calls"] == 5


def test_streams_count_as_long_as_they_last(grpc_stage: GrpcStage, before: Before) -> None:
    targets = [grpc_stage.target(), grpc_stage.target()]
    balancer = before(targets)

    async def run() -> None:
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{balancer.port}") as channel:
            talk = channel.stream_stream("/probe.Probe/Echo")(never_ends())
            assert await talk.read() == b"hello"
            for _ in range(10):
                await channel.unary_unary("/probe.Probe/Unary")(b"")
            talk.cancel()

    run_async(run)
    calls = sorted(target.stats()["calls"] for target in targets)
    # The one that holds the stream is always the busier one.
    assert calls == [1, 10]


async def never_ends() -> AsyncIterator[bytes]:
    yield b"hello"
    await asyncio.Event().wait()
