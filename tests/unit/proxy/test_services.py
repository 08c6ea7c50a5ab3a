"""What an exchange needs of its worker: ids, stamps, who is connected, and the counts of what was refused."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from equipoise.errors import client_failed
from equipoise.model import QueueSpec
from equipoise.proxy.client import Client
from equipoise.proxy.downstream_http1 import DownstreamHttp1
from equipoise.proxy.services import LogPort, Services, call_now, format_second
from equipoise.state.ledger import LIMITS
from equipoise.wire.http2_errors import ENHANCE_YOUR_CALM
from tests.support.dialogue import GET, Dialogue, KeptLog, limits, only, status_of, web
from tests.support.http2_peer import Goaway, Http2Peer, ask, http2_client, http2_target, only2
from tests.support.ledgers import ledgers, no_report, pool, target
from tests.support.transport import Clock, ScriptedLoop, Transport


@pytest.fixture
def services() -> Services:
    return Services(ledgers(1)[1][0], lambda: 1_000, no_report)


def test_request_ids_are_unique_and_tell_their_worker(services: Services) -> None:
    services.id_prefix = b"abcd0123"
    ids = [services.new_request_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {len(each) for each in ids} == {16}
    assert {each[:8] for each in ids} == {b"abcd0123"}


def test_request_ids_count_on_over_their_blocks(services: Services) -> None:
    numbers = [int(services.new_request_id(), 16) for _ in range(0x2002)]
    assert numbers == list(range(0x2002))


@pytest.mark.parametrize(
    ("ns", "stamp"),
    [
        (0, "2024-02-29T23:59:59.000Z"),
        (999_999_999, "2024-02-29T23:59:59.999Z"),
        (1_000_000_000, "2024-03-01T00:00:00.000Z"),
    ],
)
def test_a_stamp_is_the_wall_clocks_at_that_moment(services: Services, ns: int, stamp: str) -> None:
    services.set_wall_clock(5_000, 1_709_251_199_000_000_000 + 5_000)
    assert services.stamp(ns) == stamp


def test_a_stamp_follows_a_corrected_wall_clock(services: Services) -> None:
    services.set_wall_clock(0, 1_709_251_199_000_000_000)
    services.stamp(0)
    services.set_wall_clock(0, 1_709_251_200_500_000_000)
    assert services.stamp(0) == "2024-03-01T00:00:00.500Z"


def test_a_stamp_of_an_earlier_second_is_right_too(services: Services) -> None:
    services.set_wall_clock(0, 1_709_251_199_000_000_000)
    assert [services.stamp(n * 1_000_000_000)[17:19] for n in (0, 1, 0)] == ["59", "00", "59"]


def test_seconds_are_formatted_in_utc() -> None:
    assert format_second(0) == "1970-01-01T00:00:00."


def test_a_refusal_is_counted_and_logged(services: Services) -> None:
    log = KeptLog()
    services.log = LogPort(log, 0, ())
    downstream = DownstreamHttp1(services)
    downstream.client = Client(client_at("192.0.2.7"))
    services.refused(downstream, client_failed("head_timeout", 408, "Too slow."))
    assert services.ledger.worker(0)["own_4xx"] == 1
    (record,) = log.records
    assert (record.status, record.client, record.error) == (408, "192.0.2.7", "head_timeout (downstream): Too slow.")


def client_at(address: str) -> Transport:
    loop = ScriptedLoop(Clock())
    loop.close()
    return Transport(loop, None, (address, 50_000))


def test_a_refusal_without_a_log_is_counted(services: Services) -> None:
    services.refused(DownstreamHttp1(services), client_failed("head_timeout", 408, "Too slow."))
    assert services.ledger.worker(0)["own_4xx"] == 1


def test_before_there_is_a_loop_soon_is_now() -> None:
    called: list[int] = []
    call_now(lambda: called.append(1))
    assert called == [1]


# Limits: each of them is reached, by the means of clients and targets, and counted under its name.

MakeDialogue = Callable[..., Dialogue]
UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
Reach = Callable[[MakeDialogue], Dialogue]


def by_saying(data: bytes, seconds: float = 0.0, **settings: Any) -> Reach:
    """One client says something and then nothing for a while."""

    def reach(make: MakeDialogue) -> Dialogue:
        dialogue = make(only(), limits=limits(**settings))
        dialogue.client().says(data)
        dialogue.pass_time(seconds)
        return dialogue

    return reach


def by_connecting(times: int, **settings: Any) -> Reach:
    """So many clients are there at once."""

    def reach(make: MakeDialogue) -> Dialogue:
        dialogue = make(only(), limits=limits(**settings))
        for _ in range(times):
            dialogue.client()
        return dialogue

    return reach


def by_open_files(make: MakeDialogue) -> Dialogue:
    dialogue = make(only())
    dialogue.services.most_connections = 1
    dialogue.client()
    dialogue.client()
    return dialogue


def by_a_shortage_of_descriptors(make: MakeDialogue) -> Dialogue:
    dialogue = make(only())
    dialogue.client().says(GET)
    dialogue.refuse(OSError(errno.EMFILE, "Too many open files"))
    return dialogue


def by_a_second_tunnel(make: MakeDialogue) -> Dialogue:
    dialogue = make(only(), limits=limits(tunnels=1))
    dialogue.client().says(UPGRADE)
    dialogue.accept().says(SWITCH)
    client = dialogue.client()
    client.says(UPGRADE)
    assert (status_of(client.hears()), dialogue.dials) == (503, [])
    return dialogue


def by_a_second_tunnel_while_the_first_one_opens(make: MakeDialogue) -> Dialogue:
    dialogue = make(web(), limits=limits(tunnels=1))
    clients = [dialogue.client() for _ in range(2)]
    for client in clients:
        client.says(UPGRADE)
    for peer in [dialogue.accept() for _ in range(2)]:
        peer.says(SWITCH)
    assert [status_of(client.hears()) for client in clients] == [101, 503]
    assert sum(dialogue.in_flight.values()) == 1
    return dialogue


def by_a_silent_tunnel(make: MakeDialogue) -> Dialogue:
    dialogue = make(only(), limits=limits(tunnel_timeout=1.0))
    dialogue.client().says(UPGRADE)
    dialogue.accept().says(SWITCH)
    dialogue.pass_time(1.2)
    return dialogue


def by_a_silent_target(make: MakeDialogue) -> Dialogue:
    dialogue = make(only(), limits=limits(response_timeout=1.0))
    client = dialogue.client()
    client.says(GET)
    dialogue.accept()
    dialogue.pass_time(1.2)
    assert status_of(client.hears()) == 504
    return dialogue


def by_a_reader_that_stops(make: MakeDialogue) -> Dialogue:
    dialogue = make(only(), limits=limits(body_timeout=1.0))
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    dialogue.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(80_000))
    dialogue.pass_time(1.2)
    return dialogue


def by_requests_that_wait(size: int, seconds: float) -> Reach:
    """Two more than there is room for, of which the queue takes `size`."""

    def reach(make: MakeDialogue) -> Dialogue:
        dialogue = make(pool(target("a", 1, max_in_flight=1), queue=QueueSpec(size, 1.0)))
        for _ in range(2):
            dialogue.client().says(GET)
        for _ in range(round(seconds * 200)):
            dialogue.clock.advance(0.005)
            dialogue.loop.settle()
        return dialogue

    return reach


def by_a_drain(make: MakeDialogue) -> Dialogue:
    dialogue = make(only())
    dialogue.client().says(GET)
    dialogue.path.begin_drain()
    dialogue.path.abort()
    return dialogue


def by_streams(make: MakeDialogue) -> Dialogue:
    dialogue = make(only2(), limits=limits(streams=2))
    client = http2_client(dialogue)
    for _ in range(3):
        client.asks(ask())
    return dialogue


def by_pings(make: MakeDialogue) -> Dialogue:
    dialogue = make(only2())
    client = http2_client(dialogue)
    with client.at_once():
        for _ in range(3_000):
            client.pings()
    return dialogue


def by_answers_that_nobody_reads(make: MakeDialogue) -> Dialogue:
    dialogue = make(only2(), limits=limits(buffer=16 * 1024))
    client = http2_client(dialogue, s4=0)
    for _ in range(40):
        client.asks(ask())
    peer = http2_target(dialogue)
    peer.hears_all()
    for stream in range(1, 71, 2):
        peer.answers(stream, bytes(60_000), end=False)
    return dialogue


REACHED: dict[str, tuple[str, int, Reach]] = {
    "a large head": ("request_head", 1, by_saying(GET[:-2] + b"X: " + bytes([97]) * 2_000, request_head=1_024)),
    "many fields": ("header_count", 1, by_saying(GET[:-2] + b"X: 1\r\n" * 9 + b"\r\n", header_count=5)),
    "a long path": ("request_target", 1, by_saying(b"GET /" + bytes([97]) * 100 + b" HTTP/1.1\r\n", request_target=64)),
    "a large body": ("request_body", 1, by_saying(GET[:-2] + b"Content-Length: 9\r\n\r\n", request_body=8)),
    "a head that stops": ("head_timeout", 1, by_saying(GET[:-2], 1.2, head_timeout=1.0)),
    "a body that stops": (
        "body_timeout",
        1,
        by_saying(GET[:-2] + b"Content-Length: 9\r\n\r\n", 1.2, body_timeout=1.0, connect_timeout=60.0),
    ),
    "a reader that stops": ("body_timeout", 1, by_a_reader_that_stops),
    "silence": ("idle_timeout", 1, by_saying(b"", 1.2, idle_timeout=1.0)),
    "nobody accepts": ("connect_timeout", 1, by_saying(GET, 1.2, connect_timeout=1.0)),
    "a silent target": ("response_timeout", 1, by_a_silent_target),
    "a silent tunnel": ("tunnel_timeout", 1, by_a_silent_tunnel),
    "connections": ("connections", 2, by_connecting(5, connections=3)),
    "connections of one client": ("connections_per_client", 3, by_connecting(5, connections_per_client=2)),
    "open files": ("open_files", 1, by_open_files),
    "no descriptor": ("open_files", 1, by_a_shortage_of_descriptors),
    "a second tunnel": ("tunnels", 1, by_a_second_tunnel),
    "a second tunnel at once": ("tunnels", 1, by_a_second_tunnel_while_the_first_one_opens),
    "a full queue": ("queue_size", 1, by_requests_that_wait(0, 0.0)),
    "a wait in vain": ("queue_timeout", 1, by_requests_that_wait(1, 1.2)),
    "the end of a drain": ("drain_timeout", 1, by_a_drain),
    "streams": ("streams", 1, by_streams),
    "a flood": ("http2_flood", 1, by_pings),
    "answers that nobody reads": ("http2_buffer", 1, by_answers_that_nobody_reads),
}


@pytest.mark.parametrize("name", REACHED)
def test_a_limit_that_is_reached_is_counted_once(name: str, make_dialogue: MakeDialogue) -> None:
    limit, times, reach = REACHED[name]
    record = reach(make_dialogue).ledger.worker(0)
    counted = {key.removeprefix("limited_"): count for key, count in record.items() if key.startswith("limited_")}
    assert {key: count for key, count in counted.items() if count} == {limit: times}


def test_every_limit_that_is_counted_is_reached_above() -> None:
    assert {limit for limit, _, _ in REACHED.values()} == set(LIMITS)


# Clients


def test_one_client_cannot_take_the_connections_of_another(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only(), limits=limits(connections_per_client=2))
    greedy = [dialogue.client() for _ in range(4)]
    heard = [client.hears() for client in greedy]
    assert [status_of(each) for each in heard] == [0, 0, 503, 503]
    assert b"\r\nRetry-After: 1\r\n" in heard[2]
    assert dialogue.client("192.0.2.9").hears() == b""
    greedy[0].ends()
    for client in greedy[2:]:
        client.resets()
    assert dialogue.client().hears() == b""


def test_one_connection_too_many_is_told_in_the_protocol_that_was_agreed_on(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only(), limits=limits(connections_per_client=1))
    dialogue.client()
    assert status_of(dialogue.client(alpn="http/1.1").hears()) == 503
    peer = dialogue.client(alpn="h2")
    heard = Http2Peer(peer, is_client=True).hears()
    assert heard == [Goaway(0, ENHANCE_YOUR_CALM)]
    assert [record.error for record in dialogue.records] == [
        "too_many_connections (downstream): Too many connections."
    ] * 2
    record = dialogue.ledger.worker(0)
    assert (record["limited_connections_per_client"], record["limited_http2_flood"]) == (2, 0)


def test_a_client_is_counted_over_all_workers(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only(), workers=2, limits=limits(connections_per_client=2))
    other = dialogue.other_workers[0].clients
    seat = other.seat("192.0.2.1")
    other.join(seat)
    assert [status_of(dialogue.client().hears()) for _ in range(2)] == [0, 503]
    other.leave(seat)


def test_by_default_one_client_leaves_a_quarter_to_others(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only(), workers=2)
    services = dialogue.services
    seat = services.ledger.clients.seat("192.0.2.1")
    dialogue.other_workers[0].clients.join(seat)
    assert services.most_per_client == services.most_connections * 3 // 4
    services.most_per_client = 3
    assert [status_of(dialogue.client().hears()) for _ in range(4)] == [0, 0, 0, 503]
    dialogue.other_workers[0].clients.leave(seat)


def test_a_tunnel_counts_as_its_client_s_connection(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only(), limits=limits(connections_per_client=1))
    client = dialogue.client()
    client.says(UPGRADE)
    dialogue.accept().says(SWITCH)
    assert status_of(dialogue.client().hears()) == 503
    client.resets()
    dialogue.peers[-1].resets()
    assert dialogue.client().hears() == b""


def test_a_tunnel_takes_the_descriptors_of_two(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    dialogue.services.most_connections = 3
    dialogue.client().says(UPGRADE)
    dialogue.accept().says(SWITCH)
    assert [status_of(dialogue.client().hears()) for _ in range(2)] == [0, 503]
    assert dialogue.supervisor.worker(0)["tunnels"] == 1
