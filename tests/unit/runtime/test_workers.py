"""Real worker processes, seen from the supervisor."""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from equipoise.model import AccessLogSpec, Outcome, World
from equipoise.runtime.caches import Caches
from equipoise.runtime.control import Report
from equipoise.runtime.events import Events
from equipoise.runtime.listen import open_listener
from equipoise.runtime.startup import make_memory
from equipoise.runtime.workers import QUICK_DEATHS, SPARE_ROWS, Place, ReplaceError, StartError, Workers
from tests.unit.runtime.parts import ReadableLog, free_port, get, port_of, tiny_target, world_of


class Fixture:
    """Two worker places behind one listener."""

    def __init__(self, tasks: asyncio.TaskGroup, log: ReadableLog, rows: int = 2) -> None:
        self.log = log
        self.memory = make_memory(rows + SPARE_ROWS)
        self.listener = open_listener("127.0.0.1:0", rows)
        self.port = port_of(self.listener.address)
        self.reports: list[Report] = []
        self.events = Events()
        self.caches = Caches(rows + SPARE_ROWS)
        place = Place(self.memory, self.caches, (self.listener,), rows)
        self.workers = Workers(place, tasks, log, self.events, self.reports.append)

    async def get(self) -> int:
        return await asyncio.to_thread(get, self.port)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        await self.workers.kill()
        self.listener.close()
        self.memory.close()
        self.caches.close()


def play(log: ReadableLog, test: Callable[[Fixture], Awaitable[None]], rows: int = 2) -> None:
    async def run() -> None:
        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            fixture = Fixture(tasks, log, rows)
            try:
                await test(fixture)
            finally:
                await fixture.end()
        await asyncio.get_running_loop().shutdown_default_executor()

    uvloop.run(run())


def test_started_workers_carry_requests(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with tiny_target() as target:
            await fixture.workers.start(world_of(target.port), 1)
            assert [await fixture.get() for _ in range(8)] == [200] * 8

    play(log, test)


def test_a_change_is_in_force_when_it_is_acknowledged(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        with tiny_target() as target:
            version = fixture.workers.send(world_of(target.port), 2)
            assert await fixture.workers.acknowledged(version) == []
            assert [await fixture.get() for _ in range(8)] == [200] * 8

    play(log, test)


def test_each_worker_says_which_configuration_it_acts_on(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        assert fixture.workers.count() == (0, 2)
        await fixture.workers.start(world_of(), 7)
        assert (fixture.workers.count(), fixture.workers.versions()) == ((2, 2), {0: 7, 1: 7})
        await fixture.workers.acknowledged(fixture.workers.send(world_of(), 8))
        assert fixture.workers.versions() == {0: 8, 1: 8}
        # A flip: another world of the same configuration.
        await fixture.workers.acknowledged(fixture.workers.send(world_of(1), 8))
        assert fixture.workers.versions() == {0: 8, 1: 8}
        os.kill(fixture.workers.pids[0], signal.SIGKILL)
        await fixture.until(lambda: fixture.workers.restarts == 1 and fixture.workers.count() == (2, 2))
        assert fixture.workers.versions() == {0: 8, 1: 8}

    play(log, test)


def test_a_worker_that_refuses_a_change_still_acts_on_the_one_before(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 7)
        bad = World(access_log=AccessLogSpec(path="/no-such-folder/access.log"))
        await fixture.workers.acknowledged(fixture.workers.send(bad, 8))
        assert fixture.workers.versions() == {0: 7, 1: 7}

    play(log, test)


def test_births_and_deaths_are_events(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        pid = fixture.workers.rows()[1]
        os.kill(pid, signal.SIGKILL)
        await fixture.until(lambda: len(fixture.events.recent()) == 4)
        died = fixture.events.recent()[2]
        told = {key: died[key] for key in ("kind", "event", "pid", "row", "signal")}
        assert told == {"kind": "worker", "event": "died", "pid": pid, "row": 1, "signal": "SIGKILL"}
        assert [event["event"] for event in fixture.events.recent()] == ["started", "started", "died", "started"]

    play(log, test)


def test_a_killed_worker_has_a_successor_within_a_second(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with tiny_target() as target:
            await fixture.workers.start(world_of(target.port), 1)
            before = fixture.workers.rows()
            os.kill(before[0], signal.SIGKILL)
            killed = time.monotonic()
            await fixture.until(lambda: fixture.workers.rows()[0] != before[0])
            assert time.monotonic() - killed < 1.0
            assert fixture.workers.rows()[1] == before[1]
            assert [await fixture.get() for _ in range(8)] == [200] * 8

    play(log, test)


def test_a_dead_workers_requests_in_flight_are_gone(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await fixture.workers.start(world_of(silent.getsockname()[1]), 1)
            clients = [socket.create_connection(("127.0.0.1", fixture.port)) for _ in range(6)]
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 6)
            for pid in fixture.workers.pids:
                os.kill(pid, signal.SIGKILL)
            await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 0)
            for client in clients:
                client.close()

    play(log, test)


def test_a_successor_starts_with_the_newest_world(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        with tiny_target() as target:
            for pid in fixture.workers.pids:
                os.kill(pid, signal.SIGKILL)
            version = fixture.workers.send(world_of(target.port), 2)
            assert await fixture.workers.acknowledged(version) == []
            assert [await fixture.get() for _ in range(8)] == [200] * 8

    play(log, test)


def test_nobody_waits_for_a_worker_that_dies(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        stopped = fixture.workers.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        version = fixture.workers.send(world_of(1), 2)
        acknowledged = asyncio.get_running_loop().create_task(fixture.workers.acknowledged(version))
        os.kill(stopped, signal.SIGKILL)
        assert await acknowledged == []

    play(log, test)


def test_a_worker_that_hangs_is_killed_and_succeeded(log: ReadableLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.runtime.workers.ACK_TIMEOUT", 0.2)

    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        hanging = fixture.workers.pids[0]
        os.kill(hanging, signal.SIGSTOP)
        assert await fixture.workers.acknowledged(fixture.workers.send(world_of(1), 2)) == []
        assert hanging not in fixture.workers.pids

    play(log, test)
    assert "a worker hangs and is killed" in log.events


def test_a_change_that_a_worker_refuses_is_told_and_nothing_stops(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with tiny_target() as target:
            good = world_of(target.port)
            await fixture.workers.start(good, 1)
            problems = await fixture.workers.acknowledged(fixture.workers.send(unusable(good), 2))
            assert len(problems) == 2
            assert "no-such-folder" in problems[0]
            assert await fixture.get() == 200

    play(log, test)


def test_a_first_world_that_a_worker_refuses_is_no_start(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with pytest.raises(StartError, match="no-such-folder"):
            await fixture.workers.start(unusable(world_of()), 1)

    play(log, test)


def unusable(world: World) -> World:
    return World(
        pools=world.pools,
        routes=world.routes,
        limits=world.limits,
        access_log=AccessLogSpec(path="/no-such-folder/access.log"),
    )


def test_workers_that_die_again_and_again_are_started_ever_more_slowly(
    log: ReadableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.runtime.workers.BACKOFF", 0.01)

    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        for _ in range(QUICK_DEATHS + 2):
            await fixture.until(lambda: 0 in fixture.workers.rows())
            died = fixture.workers.rows()[0]
            os.kill(died, signal.SIGKILL)
            await fixture.until(lambda died=died: fixture.workers.rows().get(0) != died)  # type: ignore[misc]

    play(log, test)
    delays = [line["successor_in"] for line in log.lines if line["event"] == "worker died"]
    assert delays == [0.0] * (QUICK_DEATHS - 1) + [0.01, 0.02, 0.04]


def test_a_worker_that_cannot_be_started_is_tried_again(log: ReadableLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.runtime.workers.BACKOFF_MAX", 0.05)

    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        died = fixture.workers.rows()[0]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no file can be opened any more
        try:
            os.kill(died, signal.SIGKILL)
            await fixture.until(lambda: "cannot start a worker" in log.events)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await fixture.until(lambda: fixture.workers.rows().get(0, died) != died)

    play(log, test)


def test_a_failed_request_is_reported_with_the_count_of_good_ones(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with tiny_target() as target:
            await fixture.workers.start(world_of(target.port), 1)
            assert [await fixture.get() for _ in range(3)] == [200] * 3
        # A worker writes its counts with its next tick.
        await fixture.until(lambda: fixture.memory.ledger.totals(1)["ok"] == 3)
        await fixture.get()
        await fixture.until(lambda: bool(fixture.reports))

    play_reports: list[Report] = []

    async def recording(fixture: Fixture) -> None:
        await test(fixture)
        play_reports.extend(fixture.reports)

    play(log, recording)
    assert {(report.pool, report.target, report.outcome, report.good) for report in play_reports} == {
        ("p", "t1", Outcome.CONNECT_FAILED, 3)
    }


def test_a_drain_lets_requests_in_flight_end(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as slow:
            await fixture.workers.start(world_of(slow.getsockname()[1]), 1)
            answer = asyncio.get_running_loop().create_task(fixture.get())
            connection, _ = await asyncio.to_thread(slow.accept)
            await asyncio.to_thread(connection.recv, 65536)
            drained = asyncio.get_running_loop().create_task(fixture.workers.drain(30.0))
            await fixture.until(lambda: len(fixture.workers.pids) == 1)  # the idle one has left
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert await answer == 200
            connection.close()
            await drained

    play(log, test)
    assert not [line for line in log.lines if line["level"] == "error"]


def test_a_drain_cuts_what_does_not_end_in_time(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await fixture.workers.start(world_of(silent.getsockname()[1]), 1)
            with socket.create_connection(("127.0.0.1", fixture.port), timeout=20) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 1)
                await fixture.workers.drain(0.3)
                assert fixture.workers.pids == []

    play(log, test)
    assert "drain timeout: connections are cut" in log.events


def test_workers_are_deaf_to_the_signals_of_their_group(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(fixture.workers.pids[0], number)
        assert await fixture.workers.acknowledged(fixture.workers.send(world_of(free_port()), 2)) == []

    play(log, test)
    assert "worker died" not in log.events


# Replacement


def test_each_worker_is_replaced_by_one_that_was_ready_before(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with tiny_target() as target:
            await fixture.workers.start(world_of(target.port), 7)
            before = fixture.workers.pids
            replaced = await fixture.workers.replace(5.0)
            assert [each.before for each in replaced] == before
            assert sorted(each.after for each in replaced) == sorted(fixture.workers.pids)
            assert not set(before) & set(fixture.workers.pids)
            assert set(fixture.workers.versions().values()) == {7}
            assert fixture.workers.restarts == 0
            assert [await fixture.get() for _ in range(8)] == [200] * 8

    play(log, test)
    assert log.events.count("a replaced worker has left") == 2
    assert "worker died" not in log.events


def test_what_a_replaced_worker_holds_is_counted_until_it_ends(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await fixture.workers.start(world_of(silent.getsockname()[1]), 1)
            with socket.create_connection(("127.0.0.1", fixture.port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 1)
                replacing = asyncio.get_running_loop().create_task(fixture.workers.replace(60.0))
                await fixture.until(lambda: bool(fixture.workers.leaving()))
                assert fixture.workers.count() == (1, 1)
                assert fixture.memory.ledger.in_flight(1) == 1
                assert len(fixture.workers.rows()) == 2
            await replacing
            await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 0)
            assert (len(fixture.workers.rows()), fixture.workers.leaving()) == (1, set())

    play(log, test, rows=1)


def test_a_replaced_worker_that_does_not_end_is_cut_when_its_time_is_over(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await fixture.workers.start(world_of(silent.getsockname()[1]), 1)
            with socket.create_connection(("127.0.0.1", fixture.port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                await fixture.until(lambda: fixture.memory.ledger.in_flight(1) == 1)
                await fixture.workers.replace(0.2)
                assert client.recv(100) == b""

    play(log, test, rows=1)
    assert "drain timeout: connections are cut" in log.events


def test_a_successor_that_dies_leaves_its_predecessor_where_it_is(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        before = fixture.workers.pids
        replacing = asyncio.get_running_loop().create_task(fixture.workers.replace(5.0))
        await fixture.until(lambda: len(fixture.workers.pids) == 2)
        (after,) = set(fixture.workers.pids) - set(before)
        os.kill(after, signal.SIGKILL)
        with pytest.raises(ReplaceError, match="it died before it was ready"):
            await replacing
        assert fixture.workers.pids == before
        assert fixture.workers.count() == (1, 1)
        # And it can be tried again.
        assert len(await fixture.workers.replace(5.0)) == 1

    play(log, test, rows=1)
    assert "worker died" not in log.events


def test_a_worker_that_dies_while_its_successor_starts_gets_no_second_one(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        (before,) = fixture.workers.pids
        replacing = asyncio.get_running_loop().create_task(fixture.workers.replace(5.0))
        await fixture.until(lambda: len(fixture.workers.pids) == 2)
        os.kill(before, signal.SIGKILL)
        (replaced,) = await replacing
        assert fixture.workers.pids == [replaced.after]

    play(log, test, rows=1)


def test_nobody_is_replaced_once_all_are_told_to_leave(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        await fixture.workers.start(world_of(), 1)
        drained = asyncio.get_running_loop().create_task(fixture.workers.drain(5.0))
        await asyncio.sleep(0)
        with pytest.raises(ReplaceError, match="leaving"):
            await fixture.workers.replace(5.0)
        await drained

    play(log, test, rows=1)
