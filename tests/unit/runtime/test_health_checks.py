"""Active probes against small real targets."""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import uvloop

from equipoise.model import Outcome, TargetState
from equipoise.runtime.health_checks import STAGGER, HealthChecks, probe
from equipoise.runtime.probe_error import NotAskedError, ProbeError, UnreachableError
from equipoise.runtime.slots import Key, Slots
from equipoise.runtime.targets import Entry, TargetTable
from equipoise.wire.frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS
from equipoise.wire.hpack import Encoder
from tests.support.frames import frame
from tests.unit.runtime.parts import ReadableLog, config_of, free_port, tiny_target

FAST = 'interval = "50ms"\ndown_interval = "50ms"\ntimeout = "300ms"'


def table_of(ports: list[int], health: str = FAST, scheme: str = "http") -> TargetTable:
    table = TargetTable(Slots(1024, lambda _slot: True, lambda _slot: None), lambda _slot: 0, lambda host: (host,))
    targets = ", ".join(f'"{scheme}://127.0.0.1:{port}"' for port in ports)
    table.install(config_of(f"[pools.p]\ntargets = [{targets}]\n[pools.p.health]\n{health}"), 0.0)
    return table


def entry_of(port: int, health: str, scheme: str = "http") -> Entry:
    return next(iter(table_of([port], f"{FAST}\n{health}", scheme)))


HTTP = 'type = "http"'


@contextmanager
def silent_target() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield int(sock.getsockname()[1])


def test_a_tcp_probe_is_content_with_a_connection() -> None:
    with silent_target() as port:
        uvloop.run(probe(entry_of(port, 'type = "tcp"')))


@pytest.mark.parametrize("health", ['type = "tcp"', HTTP])
def test_a_refused_connection_is_told_apart(health: str) -> None:
    with pytest.raises(UnreachableError, match=r"[Rr]efused|Connect call failed"):
        uvloop.run(probe(entry_of(free_port(), health)))


def test_an_http_probe_asks_for_its_path() -> None:
    with tiny_target() as target:
        uvloop.run(probe(entry_of(target.port, f'{HTTP}\npath = "/well?"')))
        assert target.requests[0].startswith(b"GET /well? HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % target.port)


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_statuses_up_to_399_are_good_by_default(status: int) -> None:
    with tiny_target(b"HTTP/1.1 %d X\r\n\r\n" % status) as target:
        uvloop.run(probe(entry_of(target.port, HTTP)))


@pytest.mark.parametrize(("status", "expect"), [(400, '"200-399"'), (500, '"200-399"'), (201, "200"), (200, "[204]")])
def test_another_status_than_expected_fails_the_probe(status: int, expect: str) -> None:
    answer = b"HTTP/1.1 %d X\r\n\r\n" % status
    with tiny_target(answer) as target, pytest.raises(ProbeError, match=f"^status {status}$"):
        uvloop.run(probe(entry_of(target.port, f"{HTTP}\nexpect = {expect}")))


def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 X\r\n\r\n"
    with tiny_target(answer) as target, pytest.raises(ProbeError, match="status 500"):
        uvloop.run(probe(entry_of(target.port, HTTP)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not valid HTTP"),
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", "not valid HTTP"),
    ],
)
def test_what_is_no_answer_fails_the_probe(answer: bytes, reason: str) -> None:
    with tiny_target(answer) as target, pytest.raises(ProbeError, match=reason):
        uvloop.run(probe(entry_of(target.port, HTTP)))


def test_a_target_that_hangs_fails_the_probe_in_time() -> None:
    with silent_target() as port, pytest.raises(ProbeError, match=r"no answer in 0\.3 s") as caught:
        uvloop.run(probe(entry_of(port, HTTP)))
    assert not isinstance(caught.value, UnreachableError)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process cannot open anything meanwhile: the lowest free number is not allowed any more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_probe_without_a_descriptor_says_nothing_of_the_target() -> None:
    async def ask(entry: Entry) -> None:
        with no_descriptors(), pytest.raises(NotAskedError, match="Too many open files"):
            await probe(entry)

    with silent_target() as port:
        uvloop.run(ask(entry_of(port, 'type = "tcp"')))


def http2_answer(status: bytes) -> bytes:
    """A response that is a head alone, behind the settings that begin a connection."""
    block = Encoder(0).encode([(b":status", status)])
    return frame(SETTINGS) + frame(HEADERS, 1, block, END_HEADERS | END_STREAM)


def test_an_http_probe_speaks_http2_to_a_target_that_is_spoken_to_so() -> None:
    with tiny_target(http2_answer(b"204")) as target:
        uvloop.run(probe(entry_of(target.port, HTTP, "h2c")))
        assert target.requests[0].startswith(PREFACE)


def test_another_status_over_http2_fails_the_probe() -> None:
    with tiny_target(http2_answer(b"503")) as target, pytest.raises(ProbeError, match=r"^status 503$"):
        uvloop.run(probe(entry_of(target.port, HTTP, "h2c")))


def test_a_grpc_probe_makes_a_call() -> None:
    with tiny_target(http2_answer(b"503")) as target, pytest.raises(ProbeError, match=r"^HTTP status 503$"):
        uvloop.run(probe(entry_of(target.port, 'type = "grpc"\nservice = "my.Service"', "h2c")))
    assert b"my.Service" in target.requests[0]


def test_a_grpc_probe_of_a_target_that_hangs_fails_in_time() -> None:
    with silent_target() as port, pytest.raises(ProbeError, match=r"no answer in 0\.3 s"):
        uvloop.run(probe(entry_of(port, 'type = "grpc"', "h2c")))


def test_a_probe_tries_all_addresses() -> None:
    with silent_target() as port:
        entry = replace(entry_of(port, 'type = "tcp"'), addresses=("127.0.0.9", "127.0.0.1"))
        uvloop.run(probe(entry))


class Outcomes:
    """What the checks tell, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Key, Outcome, str]] = []

    def __call__(self, key: Key, outcome: Outcome, reason: str) -> None:
        self.seen.append((key, outcome, reason))

    def of(self, port: int) -> list[Outcome]:
        return [outcome for key, outcome, _ in self.seen if key.target == f"127.0.0.1:{port}"]


def watch(checks: HealthChecks, until: Callable[[], bool]) -> None:
    async def run() -> None:
        running = asyncio.get_running_loop().create_task(checks.run())
        async with asyncio.timeout(20):
            while not until():
                assert not running.done()
                await asyncio.sleep(0.005)
        running.cancel()

    uvloop.run(run())


def test_every_target_is_probed_again_and_again(log: ReadableLog) -> None:
    outcomes = Outcomes()
    dead = free_port()
    with silent_target() as port:
        table = table_of([port, dead])
        watch(HealthChecks(table, log, outcomes), lambda: len(outcomes.of(port)) > 2 and len(outcomes.of(dead)) > 2)
    assert set(outcomes.of(port)) == {Outcome.PROBE_OK}
    assert set(outcomes.of(dead)) == {Outcome.PROBE_FAILED}


def test_a_target_that_is_down_and_takes_no_connection_is_told_as_that(log: ReadableLog) -> None:
    outcomes = Outcomes()
    port = free_port()
    table = table_of([port])
    next(iter(table)).state = TargetState.DOWN
    watch(HealthChecks(table, log, outcomes), lambda: bool(outcomes.seen))
    assert outcomes.of(port)[0] is Outcome.CONNECT_FAILED


def test_a_shortage_of_descriptors_says_nothing_of_any_target_and_is_told_once(log: ReadableLog) -> None:
    outcomes = Outcomes()
    short, again = "health probes cannot be made; what is known of targets stays", "health probes are made again"
    with silent_target() as port, ExitStack() as shortage:
        begun: list[float] = []

        def over() -> bool:
            now = asyncio.get_running_loop().time()
            if outcomes.seen and not begun:
                begun.append(now)
                shortage.enter_context(no_descriptors())
            # Long enough for several probes.
            if short in log.events and now > begun[0] + 0.3:
                shortage.close()
            return again in log.events

        watch(HealthChecks(table_of([port]), log, outcomes), over)
    assert set(outcomes.of(port)) == {Outcome.PROBE_OK}
    assert log.events == [short, again]


def test_a_target_that_hangs_does_not_hold_up_the_others(log: ReadableLog) -> None:
    outcomes = Outcomes()
    with silent_target() as hanging, tiny_target() as target:
        table = table_of([hanging, target.port], f"{FAST}\n{HTTP}".replace("300ms", "10m"))
        watch(HealthChecks(table, log, outcomes), lambda: len(outcomes.of(target.port)) > 3)
        assert outcomes.of(hanging) == []


def test_pools_without_probes_are_left_alone(log: ReadableLog) -> None:
    table = table_of([free_port()], 'type = "none"')
    checks = HealthChecks(table, log, Outcomes())
    assert checks._now_due(1e9) == []


def test_a_target_without_an_address_is_left_alone(log: ReadableLog) -> None:
    table = table_of([free_port()])
    next(iter(table)).addresses = ()
    assert HealthChecks(table, log, Outcomes())._now_due(1e9) == []


def test_the_first_probes_of_many_targets_are_spread_out(log: ReadableLog) -> None:
    checks = HealthChecks(table_of(list(range(1000, 1500)), 'interval = "2s"'), log, Outcomes())
    assert len(checks._now_due(100.0)) <= 500 * STAGGER / 2.0 + 1
    due = sorted(checks._due.values())
    assert due[-1] - due[0] > 1.9


def test_a_hurry_brings_the_next_probe_forward(log: ReadableLog) -> None:
    outcomes = Outcomes()
    with silent_target() as port:
        table = table_of([port], 'interval = "1h"\ndown_interval = "1h"')
        checks = HealthChecks(table, log, outcomes)

        def hurried() -> bool:
            if len(outcomes.seen) == 1:
                checks.hurry(Key("p", f"127.0.0.1:{port}"), 0.0)
            return len(outcomes.seen) == 2

        watch(checks, hurried)


def test_a_probe_that_breaks_is_logged_and_counts_as_failed(log: ReadableLog) -> None:
    outcomes = Outcomes()
    with silent_target() as port:
        table = table_of([port], f"{FAST}\n{HTTP}")
        next(iter(table)).host = "\udc80"  # cannot be encoded
        watch(HealthChecks(table, log, outcomes), lambda: len(outcomes.seen) > 1)
    assert {outcome for _, outcome, _ in outcomes.seen} == {Outcome.PROBE_FAILED}
    assert set(log.events) == {"a health probe broke"}
