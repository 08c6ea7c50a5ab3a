"""A worker's data path as a whole: changes of the world, connecting, the tick, the drain."""

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from equipoise.errors import RETRY_ALWAYS, SELF, UPSTREAM
from equipoise.model import AccessLogSpec, TargetState
from equipoise.policy.balance import LeastInFlight
from equipoise.proxy.connector import connect_failure
from equipoise.proxy.data_path import DataPath
from tests.support.dialogue import GET, OK, Dialogue, limits, ok_down, only, status_of, web
from tests.support.ledgers import ledgers, pool, target, world
from tests.support.transport import Peer

MakeDialogue = Callable[..., Dialogue]


# A new world


def test_a_new_algorithm_takes_over_with_the_counts_of_the_old(dialogue: Dialogue) -> None:
    first = dialogue.client()
    first.says(GET)
    dialogue.apply(web(algorithm="least_in_flight"))
    assert isinstance(dialogue.services.world().pools["web"].algorithm, LeastInFlight)
    second, third = dialogue.client(), dialogue.client()
    second.says(GET)
    third.says(GET)
    assert dialogue.in_flight == {"a": 1, "b": 1, "c": 1}


def test_an_algorithm_in_plain_python_picks(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(algorithm="python:tests.support.algorithms:Last"))
    dialogue.client().says(GET)
    assert dialogue.in_flight == {"c": 1}


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("fastest", "'fastest' must be"),
        ("python:tests.support.algorithms", "must be"),
        ("python:tests.support.algorithms:NotAnAlgorithm", "must name a subclass"),
        ("python:tests.support.algorithms:GET", "has no attribute"),
        ("python:tests.support.nowhere:X", "No module named"),
    ],
)
def test_an_algorithm_that_cannot_be_made_changes_nothing(dialogue: Dialogue, algorithm: str, problem: str) -> None:
    before = dialogue.services.world()
    with pytest.raises(ValueError, match=problem):
        dialogue.path.apply(world(web(algorithm=algorithm)))
    assert dialogue.services.world() is before


def test_a_log_that_cannot_be_opened_changes_nothing(dialogue: Dialogue) -> None:
    before = dialogue.services.world()
    with pytest.raises(OSError, match="No such file"):
        dialogue.path.apply(world(only(), access_log=AccessLogSpec(path="/nowhere/at/all")))
    assert dialogue.services.world() is before


@pytest.mark.parametrize(
    "change",
    [
        {"state": TargetState.DOWN},
        {"state": TargetState.DRAINING},
        {"addresses": ("10.0.0.99",)},
        {"addresses": ()},
    ],
)
def test_idle_connections_to_a_target_that_left_or_moved_are_closed(
    make_dialogue: MakeDialogue, change: dict[str, Any]
) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    dialogue.apply(pool(target("a", 1, **change)))
    dialogue.loop.settle()
    assert repr(a) == "closed"


def test_idle_connections_of_the_others_stay(dialogue: Dialogue) -> None:
    a = dialogue.idle_target()
    dialogue.apply(pool(target("a", 1, weight=5), target("b", 2, state=TargetState.DOWN)))
    dialogue.loop.settle()
    assert repr(a) == "open"


def test_a_busy_connection_to_a_target_that_moved_is_not_used_again(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    old = dialogue.accept("a")
    dialogue.apply(pool(target("a", 1, addresses=("10.0.0.99",))))
    old.says(OK)
    assert client.hears() == ok_down()
    assert repr(old) == "closed"
    client.says(GET)
    assert dialogue.dials == ["10.0.0.99"]


def test_a_connection_that_was_dialled_before_its_target_moved_is_not_used_again(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    dialogue.apply(pool(target("a", 1, addresses=("10.0.0.99",))))
    old = dialogue.accept()
    old.says(OK)
    assert client.hears() == ok_down()
    assert repr(old) == "closed"


def test_a_slot_that_changed_hands_starts_from_what_the_supervisor_cleared(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("old", 1)))
    dialogue.idle_target()
    assert dialogue.slot_totals(1)["requests"] == 1
    dialogue.apply(pool())
    dialogue.supervisor.clear_slot(1)
    dialogue.apply(pool(target("new", 1)))
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(OK)
    assert dialogue.slot_totals(1)["requests"] == 1


def test_a_slot_that_changes_hands_within_one_change_starts_anew_too(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("old", 1)))
    dialogue.idle_target()
    dialogue.supervisor.clear_slot(1)
    dialogue.apply(pool(target("new", 1, addresses=("10.0.0.99",))))
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(OK)
    assert dialogue.slot_totals(1)["requests"] == 1


def test_a_target_that_is_added_again_keeps_its_counts(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    for _ in range(2):
        dialogue.idle_target()
        dialogue.apply(pool())
        dialogue.loop.settle()
        dialogue.apply(only())
    assert dialogue.slot_totals(1)["requests"] == 2


def test_a_request_in_flight_at_a_removed_target_still_counts_there(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    dialogue.apply(pool())
    assert dialogue.supervisor.in_flight(1) == 1
    dialogue.apply(only())
    assert dialogue.in_flight == {"a": 1}
    a.says(OK)
    assert dialogue.in_flight == {}


def test_a_log_is_swapped_only_when_its_settings_change(make_dialogue: MakeDialogue, tmp_path: Path) -> None:
    dialogue = make_dialogue()
    spec = AccessLogSpec(path=str(tmp_path / "log"))
    dialogue.path.apply(world(web(), access_log=spec))
    log = dialogue.path.log
    dialogue.path.apply(world(only(), access_log=spec))
    assert dialogue.path.log is log
    dialogue.path.apply(world(only()))
    assert dialogue.path.log is not log
    assert dialogue.services.log is None


def test_the_settings_of_the_log_reach_the_exchanges(make_dialogue: MakeDialogue, tmp_path: Path) -> None:
    dialogue = make_dialogue()
    spec = AccessLogSpec(path=str(tmp_path / "log"), body_limit=7, headers=("Accept", "COOKIE"))
    dialogue.path.apply(world(web(), access_log=spec))
    port = dialogue.services.log
    assert port is not None
    assert port.body_limit == 7
    assert port.headers == ((b"accept", False), (b"cookie", True))
    dialogue.path.close()


def test_lines_reach_the_file_by_the_tick_and_the_close(make_dialogue: MakeDialogue, tmp_path: Path) -> None:
    path = tmp_path / "log"
    dialogue = make_dialogue()
    dialogue.path.apply(world(web(), access_log=AccessLogSpec(path=str(path))))
    for _ in range(2):
        client = dialogue.client()
        client.says(GET)
        dialogue.accept().says(OK)
        dialogue.path.tick(dialogue.clock.ns)
    dialogue.path.close()
    dialogue.path.tick(dialogue.clock.ns)
    assert path.read_bytes().count(b"\n") == 2
    assert dialogue.supervisor.worker(0)["log_lines"] == 2


# Connecting


def test_the_addresses_of_a_target_take_turns(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("a", 1, addresses=("10.1.0.1", "10.1.0.2", "10.1.0.3"))))
    client = [dialogue.client() for _ in range(3)]
    for each in client:
        each.says(GET)
    assert sorted(dialogue.dials) == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]


def test_a_target_is_refused_only_when_all_its_addresses_are(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("a", 1, addresses=("10.1.0.1", "10.1.0.2"))))
    client = dialogue.client()
    client.says(GET)
    first = dialogue.dials
    dialogue.refuse()
    assert sorted(first + dialogue.dials) == ["10.1.0.1", "10.1.0.2"]
    assert dialogue.reports == []
    dialogue.accept().says(OK)
    assert client.hears() == ok_down()


def test_all_addresses_share_one_time_to_connect(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("a", 1, addresses=("10.1.0.1", "10.1.0.2"))), limits=limits(connect_timeout=2))
    client = dialogue.client()
    client.says(GET)
    dialogue.pass_time(1.5)
    dialogue.refuse()
    dialogue.pass_time(0.7)
    assert status_of(client.hears()) == 504


@pytest.mark.parametrize(
    ("error", "kind", "side"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), "connect_refused", UPSTREAM),
        (OSError(errno.EHOSTUNREACH, ""), "connect_failed", UPSTREAM),
        (OSError(errno.EMFILE, ""), "no_resources", SELF),
        (OSError(errno.EADDRNOTAVAIL, ""), "no_resources", SELF),
        (OSError("without a number"), "connect_failed", UPSTREAM),
    ],
)
def test_a_failed_connect_says_whose_fault_it_was(error: OSError, kind: str, side: str) -> None:
    failure = connect_failure(error)
    assert (failure.kind, failure.side, failure.retry) == (kind, side, RETRY_ALWAYS)


def test_the_balancers_own_shortage_is_no_failure_of_the_target(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    dialogue.refuse(OSError(errno.EMFILE, "Too many open files"))
    assert status_of(client.hears()) == 503
    assert (dialogue.reports, dialogue.totals()["failures"]) == ([], 0)


# Ticks


def test_published_means_reach_the_algorithm_by_the_tick(dialogue: Dialogue) -> None:
    dialogue.supervisor.publish_mean(2, 5_000_000)
    dialogue.path.tick(dialogue.clock.ns)
    loads = dialogue.services.world().pools["web"].loads
    assert [loads.mean_ns(i) for i in range(3)] == [0, 5_000_000, 0]


def test_a_worker_tells_what_it_carries(dialogue: Dialogue) -> None:
    dialogue.idle_target()
    client = dialogue.client()
    dialogue.path.tick(dialogue.clock.ns)
    record = dialogue.supervisor.worker(0)
    assert (record["pid"], record["connections"], record["requests"]) == (os.getpid(), 1, 1)
    assert repr(client) == "open"


# Drain and abort


def test_a_drain_closes_idle_clients_after_a_grace(dialogue: Dialogue) -> None:
    client = dialogue.client()
    dialogue.path.begin_drain()
    dialogue.pass_time(0.9)
    assert (repr(client), dialogue.path.connections) == ("open", 1)
    dialogue.pass_time(0.2)
    assert (repr(client), dialogue.path.connections) == ("closed", 0)


def test_a_request_in_the_grace_of_a_drain_is_served_and_told_to_go(dialogue: Dialogue) -> None:
    client = dialogue.client()
    dialogue.path.begin_drain()
    client.says(GET)
    dialogue.accept().says(OK)
    assert b"\r\nConnection: close\r\n" in client.hears()
    assert (repr(client), dialogue.path.connections) == ("closed", 0)


def test_a_drain_lets_a_request_finish_and_says_so(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    dialogue.path.begin_drain()
    a.says(OK)
    assert b"\r\nConnection: close\r\n" in client.hears()
    assert (repr(client), dialogue.path.connections) == ("closed", 0)


def test_a_drain_waits_for_a_request_that_has_begun(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET[:9])
    dialogue.path.begin_drain()
    dialogue.loop.settle()
    client.says(GET[9:])
    dialogue.accept().says(OK)
    assert status_of(client.hears()) == 200
    assert repr(client) == "closed"


def test_the_end_of_a_drain_cuts_and_logs_what_is_left_at_once(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    dialogue.path.begin_drain()
    dialogue.path.abort()
    assert (dialogue.record.status, dialogue.in_flight) == (499, {}), "before the loop runs again: it may not"
    dialogue.loop.settle()
    assert (repr(client), repr(a)) == ("aborted", "aborted")


# Nothing is left


def talk_plainly(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(OK)
    client.ends()


def talk_and_fail(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().resets()
    dialogue.accept().says(b"nonsense" * 9)
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    dialogue.accept()
    client.says(b"zz\r\n")
    client.ends()


def talk_and_leave(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept()
    client.resets()


def talk_through_a_tunnel(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    dialogue.accept().says(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.resets()


@pytest.mark.parametrize("talk", [talk_plainly, talk_and_fail, talk_and_leave, talk_through_a_tunnel])
def test_no_cycle_is_left_of_an_exchange(talk: Callable[[Dialogue], None]) -> None:
    """What is over is freed at once and not by the collector, which a busy worker cannot afford to wait for."""
    dialogue = Dialogue(pool(target("a", 1), target("b", 2)))
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        talk(dialogue)
        dialogue.path.abort()
        dialogue.services.idle.close_slot(1)
        dialogue.services.idle.close_slot(2)
        dialogue.loop.settle()
        dialogue.peers.clear()
        gc.collect()
        left = sorted({type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("equipoise.")})
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()
        dialogue.loop.close()
    assert left == []


# On real sockets


async def through_sockets(answer: bytes | None) -> tuple[bytes, Any]:
    """One request through real sockets, on the loop that runs; without an answer the target refuses."""
    reports: list[tuple[str, str, str]] = []
    supervisor, (ledger,) = ledgers(1)
    loop = asyncio.get_running_loop()
    path = DataPath(ledger, loop, lambda *what: reports.append(what))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert answer is not None
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        await reader.read()
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    server = None if answer is None else await asyncio.start_server(serve, "127.0.0.1", port)
    here = msgspec.structs.replace(target("a", 1, addresses=("127.0.0.1",)), port=port)
    path.apply(world(pool(here)))
    listener = await loop.create_server(path.downstream, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        heard = await reader.read()
    writer.close()
    path.begin_drain()
    path.services.idle.close_slot(1)
    for each in (listener, server):
        if each is not None:
            each.close()
            await each.wait_closed()
    async with asyncio.timeout(20):
        while path.connections or path.services.deadlines.all:  # noqa: ASYNC110  (the data path has no event to wait for)
            await asyncio.sleep(0.001)
    path.close()
    return heard, (reports, supervisor.in_flight(1))


LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_a_request_passes_through_real_sockets(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    body = bytes(300_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body
    heard, rest = run(loop_factory, lambda: through_sockets(answer))
    assert heard.endswith(body)
    assert rest == ([], 0)


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_a_port_where_nobody_listens_is_502_and_reported(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    heard, rest = run(loop_factory, lambda: through_sockets(None))
    assert status_of(heard) == 502
    assert rest == ([("web", "a", "connect_failed")], 0)


def run(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Awaitable[tuple[bytes, Any]]]
) -> tuple[bytes, Any]:
    async def coroutine() -> tuple[bytes, Any]:
        return await main()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine())


def test_the_peers_of_a_dialogue_say_their_state() -> None:
    """The tests above read it; a state that is always the same would make them blind."""
    dialogue = Dialogue()
    client: Peer = dialogue.client()
    assert repr(client) == "open"
    client.transport.pause_reading()
    assert repr(client) == "held"
    client.transport.resume_reading()
    client.transport.abort()
    assert repr(client) == "aborted"
    dialogue.close()
