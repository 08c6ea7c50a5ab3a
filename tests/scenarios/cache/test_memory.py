"""A scan of more keys than the cache can hold: it stays within its bound, and keeps what is asked for often.

The scan takes as many keys as fit in some seconds; `EQUIPOISE_CACHE_KEYS=1000000` makes it a million, which takes a
compiled build some minutes.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import fetch, get, read_from
from tests.scenarios.support.messages import Buffer, read_answer
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, answer

CACHE = "/v1/pools/default/cache"
MAX_BYTES = 64 * 1024 * 1024
BODY = b"x" * 32 * 1024
SECONDS = 15.0
CLIENTS = 8
WANTED = int(os.environ.get("EQUIPOISE_CACHE_KEYS", "0"))


async def serves(call: Call) -> None:
    """An answer of 32 KiB."""
    await call.send(answer("200 OK", BODY))


def memory(balancer: Balancer) -> int:
    """Bytes of all processes, what they share counted once: proportional set sizes."""
    total = 0
    for pid in (balancer.process.pid, *balancer.workers):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return total


async def scan(port: int, more: Callable[[int], bool], *headers: str) -> int:
    """Asks for one new key after the other; how many."""
    asked = 0

    async def ask() -> None:
        nonlocal asked
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        buffer = Buffer()
        while more(asked):
            asked += 1
            writer.write(get(f"/scan/{asked}", *headers))
            message = await read_from(reader, buffer, read_answer(buffer, "GET"))
            assert (message.status, len(message.body)) == (200, len(BODY))
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(ask())
    return asked


def test_a_scan_of_many_keys_stays_within_the_bound(stage: Stage, balance: Balance) -> None:
    target = stage.target(serves)
    pool = f"[pools.default.cache]\nenabled = true\nttl = '1h'\nmax_bytes = {MAX_BYTES}\n"
    admin = Admin(balance([target], Setting(workers=2, admin=True, pool=pool, log='sink = "null"')))
    balancer = admin.balancer
    for _ in range(40):
        fetch(balancer.port, get("/favourite"))
        fetch(balancer.port, get("/favourite", "Cache-Control: no-store"))
    # What requests of this size cost a worker without a cache is not the cache's.
    asyncio.run(scan(balancer.port, lambda count: count < 4_000, "Cache-Control: no-store"))
    before = memory(balancer)
    end = time.monotonic() + SECONDS
    asked = asyncio.run(
        scan(balancer.port, lambda count: count < WANTED if WANTED else count < 5_000 or time.monotonic() < end)
    )
    grown = memory(balancer) - before
    # Workers write their counts at each tick.
    stats = eventually(lambda: admin.done("GET", CACHE), lambda seen: seen["misses"] >= asked)
    assert stats["bytes"] <= MAX_BYTES
    # Much more was stored than it holds, and it holds most of what it can.
    assert stats["evictions"] > asked // 2
    assert stats["bytes"] > MAX_BYTES // 2
    assert grown <= MAX_BYTES * 1.1, f"{grown >> 20} MiB after {asked} keys"
    assert fetch(balancer.port, get("/favourite")).get("cache-status") is not None
    seen = len(target.requests)
    assert "; hit" in str(fetch(balancer.port, get("/favourite")).get("cache-status"))
    assert len(target.requests) == seen
