"""What is under way does not notice changes that do not concern its target, and outlives those that do."""

import asyncio

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.client import GET, Background, Client, Load, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Script, Stage, Target, answer

POOL = "/v1/pools/default"
UPGRADE = get("/chat", "Connection: Upgrade", "Upgrade: raw")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


async def is_long(call: Call) -> None:
    """A tunnel that sends back what it hears, or an answer of a million bytes that comes one by one."""
    if call.request.get("upgrade"):
        await call.send(SWITCHED)
        while data := await call.reader.read(1024):
            await call.send(data)
        call.close()
        return
    await call.send(BEGUN)
    while True:
        await call.send(b"x")
        await asyncio.sleep(0.01)


def slow(seconds: float) -> Script:
    """Answers after a while."""

    async def script(call: Call) -> None:
        await call.body()
        await asyncio.sleep(seconds)
        await call.send(answer())

    return script


def place(target: Target) -> str:
    return f"{POOL}/targets/{target.name}"


def change_everything_else(admin: Admin, long: Target, other: Target, spare: Target) -> None:
    """Every kind of write, none of which ends what is in flight at `long`."""
    for algorithm in ("random", "round_robin", "response_time", "least_in_flight"):
        admin.done("PUT", f"{POOL}/algorithm", {"algorithm": algorithm})
    admin.done("POST", f"{POOL}/targets", {"url": spare.url, "name": "spare"})
    admin.done("PATCH", place(other), {"state": "draining"})
    admin.done("PATCH", place(other), {"state": "up", "weight": 5})
    admin.done("DELETE", f"{POOL}/targets/spare?force=true")
    admin.done("POST", "/v1/reload")
    admin.done("PATCH", place(long), {"weight": 7, "max_in_flight": 3})
    admin.done("PATCH", place(long), {"state": "draining"})


def still_talks(tunnel: Client, stream: Client) -> None:
    tunnel.send(b"hello")
    assert tunnel.receive(5) == b"hello"
    assert set(stream.receive(10)) == set(b"x")


def test_a_tunnel_and_a_stream_outlive_every_change_and_the_removal_of_their_target(
    stage: Stage, administer: Administer
) -> None:
    long, other, spare = stage.target(is_long), stage.target(), stage.target()
    admin = administer([long, other])
    admin.done("PATCH", place(other), {"state": "down"})
    with Client(admin.balancer.port) as tunnel, Client(admin.balancer.port) as stream:
        assert tunnel.send(UPGRADE).head().status == 101
        assert stream.send(GET).head().status == 200
        still_talks(tunnel, stream)
        change_everything_else(admin, long, other, spare)
        still_talks(tunnel, stream)
        assert admin.done("DELETE", place(long))["in_flight"] == 2
        still_talks(tunnel, stream)
        seen = admin.target(long.name)
        assert seen is not None
        assert (seen["health"], seen["in_flight"]) == ("draining", 2)
    eventually(lambda: admin.target(long.name), lambda seen: seen is None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_switch_of_the_algorithm_is_seen_in_the_targets_counts(
    stage: Stage, administer: Administer, workers: int
) -> None:
    """A target ten times as slow as the other: round robin fills it, the fewest in flight evens it out."""
    quick, lazy = stage.target(slow(0.02)), stage.target(slow(0.2))
    admin = administer([quick, lazy], workers, pool='algorithm = "round_robin"')
    load = Load(admin.balancer.port, 24)
    with Background(load):
        eventually(lambda: lazy.in_flight - quick.in_flight, lambda gap: gap >= 10)
        admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "least_in_flight"})
        eventually(lambda: abs(lazy.in_flight - quick.in_flight), lambda gap: gap <= 2)
        admin.done("PUT", f"{POOL}/algorithm", {"algorithm": "round_robin"})
        eventually(lambda: lazy.in_flight - quick.in_flight, lambda gap: gap >= 10)
    load.results.assert_all_good()
