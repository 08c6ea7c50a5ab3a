"""Under load: when a purge has returned nobody gets what was there before, whatever else an operator does meanwhile."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import Background, Client, Load, get
from tests.scenarios.support.stage import Call, Stage, Target, answer

CACHE = "/v1/pools/default/cache"
ON = '[pools.default.cache]\nenabled = true\nttl = "1h"'
PATHS = ("/a/1", "/a/2", "/b")


class Edition:
    """What the target has to say now."""

    def __init__(self) -> None:
        self.number = 0

    async def script(self, call: Call) -> None:
        """Takes the edition as it is when the request comes, and is slow to say it."""
        number = self.number
        await call.body()
        await asyncio.sleep(0.005)
        await call.send(answer("200 OK", b"%d" % number))


@contextmanager
def switching(admin: Admin) -> Iterator[None]:
    """Switches, tunes and shrinks the cache all the while."""
    stop = threading.Event()
    problems: list[object] = []

    def run() -> None:
        changes = [
            {"enabled": False},
            {"enabled": True},
            {"ttl": "2h"},
            {"max_bytes": "32MiB"},
            {"mode": "rfc9111"},
            {"mode": "identical", "max_bytes": "64MiB"},
        ]
        while not stop.is_set():
            for change in changes:
                reply = admin.ask("PUT", CACHE, change)
                if reply.status not in {200, 409, 412}:
                    problems.append(reply)

    thread = threading.Thread(target=run, name="switches")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert problems == []


def loads(target: Target, admin: Admin, path: str) -> Background:
    del target
    return Background(Load(admin.balancer.port, 4, get(path)))


def assert_new(admin: Admin, path: str, number: int) -> None:
    """Clients over all workers get this edition, or a later one."""
    clients = [Client(admin.balancer.port).send(get(path)) for _ in range(8)]
    seen = [int(client.answer().body) for client in clients]
    for client in clients:
        client.close()
    assert min(seen) >= number, f"an edition older than {number}: {seen}"


def purge_again_and_again(admin: Admin, edition: Edition, *, times: int = 15) -> None:
    for turn in range(times):
        edition.number += 1
        which, hit = [("", PATHS), ("?prefix=/a/", PATHS[:2]), ("?path=/b", PATHS[2:])][turn % 3]
        assert admin.ask("DELETE", CACHE + which).status == 200
        for path in hit:
            assert_new(admin, path, edition.number)


def test_after_a_purge_nobody_gets_what_was_there_before(stage: Stage, balance: Balance) -> None:
    edition = Edition()
    target = stage.target(edition.script)
    admin = Admin(balance([target], Setting(workers=2, admin=True, pool=ON)))
    with loads(target, admin, PATHS[0]) as first, loads(target, admin, PATHS[2]) as second:
        first.wait_for(10)
        second.wait_for(10)
        purge_again_and_again(admin, edition)
    for load in (first, second):
        load.load.results.assert_all_good()
    # It was a cache all the while.
    assert admin.done("GET", CACHE)["hits"] > len(target.requests)
    admin.balancer.wait_idle()


def test_after_a_purge_nobody_gets_what_was_there_before_while_the_cache_is_switched(
    stage: Stage, balance: Balance
) -> None:
    edition = Edition()
    target = stage.target(edition.script)
    admin = Admin(balance([target], Setting(workers=2, admin=True, pool=ON)))
    with loads(target, admin, PATHS[0]) as load, switching(admin):
        load.wait_for(10)
        purge_again_and_again(admin, edition)
    load.load.results.assert_all_good()
    admin.balancer.wait_idle()
