"""WebSocket over HTTP/2 onto targets of HTTP/1.1 (RFC 8441)."""

import base64
import gc
import hashlib
from collections.abc import Callable

import pytest

from equipoise.proxy.websocket import GUID
from equipoise.wire.http2_errors import CANCEL, NO_ERROR
from tests.support.dialogue import Dialogue, limits, only
from tests.support.http2_peer import (
    Data,
    Field,
    Goaway,
    Headers,
    Http2Peer,
    Reset,
    ask,
    body,
    http2_client,
    only2,
    status_of,
)
from tests.support.transport import Peer

MakeDialogue = Callable[..., Dialogue]
CONNECT: list[Field] = [
    *((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"), (b":authority", b"x")),
    *((b":path", b"/chat"), (b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"talk")),
]


@pytest.fixture
def talk(make_dialogue: MakeDialogue) -> Dialogue:
    """With one target of HTTP/1.1."""
    return make_dialogue(only())


def asked(talk: Dialogue, **values: int) -> tuple[Http2Peer, Peer, bytes]:
    """A client wants a tunnel; the request that its target got."""
    client = http2_client(talk, **values)
    client.asks(CONNECT, end=False)
    target = talk.accept()
    return client, target, target.hears()


def agreement(request: bytes, *, key: bytes | None = None) -> bytes:
    """What a target says that takes the handshake."""
    head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    fields = dict(line.lower().partition(b": ")[::2] for line in head[1:])
    asked_by = next(line.partition(b": ")[2] for line in head if line.lower().startswith(b"sec-websocket-key"))
    assert (fields[b"upgrade"], fields[b"connection"]) == (b"websocket", b"upgrade")
    digest = hashlib.sha1((key or asked_by) + GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: talk\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def tunnel(talk: Dialogue, **values: int) -> tuple[Http2Peer, Peer]:
    """An open one."""
    client, target, request = asked(talk, **values)
    target.says(agreement(request))
    client.hears()
    return client, target


# The handshake


def test_an_extended_connect_becomes_the_handshake_of_http_1(talk: Dialogue) -> None:
    client, target, request = asked(talk)
    assert request.startswith(b"GET /chat HTTP/1.1\r\nHost: x\r\n")
    assert b"\r\nsec-websocket-version: 13\r\n" in request
    assert b":protocol" not in request
    target.says(agreement(request))
    (head,) = client.hears()
    assert isinstance(head, Headers)
    assert head.fields[:2] == [(b":status", b"200"), (b"sec-websocket-protocol", b"talk")]
    assert not head.end
    names = {name for name, _ in head.fields}
    assert not names & {b"sec-websocket-accept", b"upgrade", b"connection"}


def test_bytes_go_through_both_ways(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.data(1, b"ping")
    assert target.hears() == b"ping"
    target.says(b"pong")
    assert client.hears() == [Data(1, b"pong")]


def test_what_was_said_before_and_with_the_agreement_passes(talk: Dialogue) -> None:
    client, target, request = asked(talk)
    client.data(1, b"ear")
    client.data(1, b"ly")
    assert target.hears() == b""
    target.says(agreement(request) + b"first words")
    assert body(client.hears(), 1) == b"first words"
    assert target.hears() == b"early"


def test_a_handshake_that_is_not_websocket_is_502(talk: Dialogue) -> None:
    client, target, request = asked(talk)
    target.says(agreement(request, key=b"another"))
    assert status_of(client.hears(), 1) == 502
    assert (talk.record.error, repr(target), talk.in_flight) == ("malformed (upstream)", "aborted", {})


@pytest.mark.parametrize("status", [403, 404, 302])
def test_a_target_that_does_not_agree_is_heard(talk: Dialogue, status: int) -> None:
    client, target, _ = asked(talk)
    target.says(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
    heard = client.hears()
    assert (status_of(heard, 1), body(heard, 1), heard[-1]) == (status, b"no", Reset(1, NO_ERROR))
    assert talk.in_flight == {}


def test_a_target_that_passes_over_the_upgrade_has_not_agreed(talk: Dialogue) -> None:
    """Its 200 would open the tunnel for the client (RFC 8441 5)."""
    client, target, _ = asked(talk)
    target.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert status_of(client.hears(), 1) == 502
    assert talk.in_flight == {}


def test_a_target_of_http_2_alone_takes_no_tunnel(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2())
    client = http2_client(talk)
    client.asks(CONNECT, end=False)
    heard = client.hears()
    assert (status_of(heard, 1), talk.record.error) == (501, "no_tunnel (self)")
    assert talk.in_flight == {}


# Endings


def test_a_tunnel_is_in_flight_until_it_is_over(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.data(1, b"12345")
    target.says(b"123")
    assert (talk.in_flight, talk.records) == ({"a": 1}, [])
    client.resets(1, CANCEL)
    assert repr(target) == "closed"
    assert (talk.in_flight, talk.record.bytes_in, talk.record.bytes_out) == ({}, 5, 3)
    assert talk.record.protocol == "HTTP/2"


def test_a_client_that_ends_still_hears_the_target(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.ends(1)
    assert repr(target) == "half-closed"
    target.says(b"the rest")
    target.ends()
    assert client.hears() == [Data(1, b"the rest"), Data(1, b"", end=True)]
    assert (talk.in_flight, repr(client)) == ({}, "open")


def test_a_target_that_ends_ends_the_stream_whatever_the_client_does(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    target.says(b"last words")
    target.ends()
    assert client.hears() == [Data(1, b"last words"), Data(1, b"", end=True), Reset(1, NO_ERROR)]
    assert (repr(target), talk.in_flight) == ("closed", {})
    client.data(1, b"to nobody")
    client.ends(1)
    assert (client.hears(), repr(client)) == ([], "open")


def test_a_client_that_ended_before_the_agreement_has_ended(talk: Dialogue) -> None:
    client, target, request = asked(talk)
    client.data(1, b"early", end=True)
    target.says(agreement(request))
    assert (target.hears(), repr(target)) == (b"early", "half-closed")
    target.ends()
    assert talk.in_flight == {}


def test_a_target_that_is_lost_ends_the_stream(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    target.says(b"last words")
    target.resets()
    heard = client.hears()
    assert body(heard, 1) == b"last words"
    assert isinstance(heard[-1], Data | Reset)
    assert talk.in_flight == {}


def test_what_waits_for_its_window_arrives_behind_the_end_of_the_target(talk: Dialogue) -> None:
    client, target = tunnel(talk, s4=4)
    target.says(b"the last words")
    target.resets()
    assert client.hears() == [Data(1, b"the ")]
    client.grants(1, 100)
    heard = client.hears()
    assert heard[0] == Data(1, b"last words", end=True)
    assert heard[1:] == [Reset(1, NO_ERROR)]
    assert talk.in_flight == {}


def test_a_client_that_leaves_before_the_agreement_is_nobodys_failure(talk: Dialogue) -> None:
    client, target, _ = asked(talk)
    client.resets(1, CANCEL)
    assert repr(target) == "aborted"
    assert (talk.record.status, talk.reports, talk.in_flight) == (499, [], {})


def test_a_connection_that_is_lost_ends_its_tunnels(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.peer.resets()
    assert (repr(target), talk.in_flight, talk.path.connections) == ("closed", {}, 0)


def test_a_tunnel_whose_client_is_lost_behind_its_end_is_over_when_the_target_has_heard_all(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    target.stops_reading()
    client.data(1, b"the last words")
    client.ends(1)
    target.ends()
    client.peer.resets()
    assert (talk.in_flight, talk.records) == ({"a": 1}, [])
    target.reads_on()
    assert target.hears() == b"the last words"
    assert (talk.in_flight, talk.record.error) == ({}, None)


def test_a_client_that_breaks_a_rule_ends_its_tunnel(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.grants(1, 0x7FFF_FFFF)
    assert isinstance(client.hears()[-1], Reset)
    assert (repr(target), talk.in_flight) == ("closed", {})


def test_trailers_end_a_tunnel_like_any_end(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    client.head(1, [(b"x", b"y")], end=True)
    assert repr(target) == "half-closed"
    target.ends()
    assert talk.in_flight == {}


def test_a_tunnel_closes_when_nobody_has_said_anything_for_long(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only(), limits=limits(tunnel_timeout=10.0))
    client, target = tunnel(talk)
    talk.pass_time(8)
    client.data(1, b"ping")
    talk.pass_time(8)
    assert repr(target) == "open"
    talk.pass_time(2.2)
    assert repr(target) == "aborted"
    assert (client.hears(), talk.in_flight, repr(client)) == ([Reset(1, CANCEL)], {}, "open")


def test_a_silent_tunnel_has_no_other_deadline(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(
        only(), limits=limits(body_timeout=1.0, idle_timeout=1.0, response_timeout=1.0, head_timeout=1.0)
    )
    client, target = tunnel(talk)
    talk.pass_time(10)
    assert (client.hears(), repr(client), repr(target)) == ([], "open", "open")
    client.data(1, b"ping")
    assert target.hears() == b"ping"


def test_a_drain_leaves_tunnels_alone_and_its_end_cuts_them(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    talk.path.begin_drain()
    talk.pass_time(2)
    client.data(1, b"still here")
    assert target.hears() == b"still here"
    talk.path.abort()
    assert talk.record.status == 101, "before the loop runs again: it may not"
    talk.loop.settle()
    assert repr(target) == "aborted"


def test_a_tunnel_to_a_target_that_is_cut_ends(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    talk.path.cut(1)
    talk.loop.settle()
    assert (client.hears(), repr(target), talk.in_flight) == ([Reset(1, CANCEL)], "aborted", {})


# Back-pressure


def test_a_client_that_does_not_read_holds_the_target(talk: Dialogue) -> None:
    client, target = tunnel(talk, s4=5)
    target.says(b"0123456789")
    assert repr(target) == "held"
    client.grants(1, 100)
    assert body(client.hears(), 1) == b"0123456789"
    assert repr(target) == "open"


def test_a_target_that_does_not_read_holds_the_client(talk: Dialogue) -> None:
    client, target = tunnel(talk)
    target.stops_reading()
    sent, room = 0, 65_535
    while room >= 16_000 and sent < 256_000:
        client.data(1, bytes(16_000))
        sent += 16_000
        room += client.granted(1) - 16_000
    assert sent < 256_000
    target.reads_on()
    assert client.granted(1) > 0
    assert len(target.hears()) == sent


def test_a_client_that_takes_nothing_of_a_tunnel_loses_it(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only(), limits=limits(body_timeout=5.0))
    client, target = tunnel(talk, s4=5)
    target.says(b"0123456789")
    talk.pass_time(10.4)
    assert client.hears()[-1] == Reset(1, CANCEL)
    assert (repr(target), talk.in_flight) == ("closed", {})


def test_other_streams_go_on_beside_a_tunnel(talk: Dialogue) -> None:
    client, _target = tunnel(talk)
    client.asks(ask())
    talk.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    heard = client.hears()
    assert (status_of(heard, 3), body(heard, 3)) == (200, b"ok")
    assert not any(isinstance(each, Goaway) for each in heard)


# Nothing is left


@pytest.mark.parametrize("ending", ["client", "target", "both"])
def test_no_cycle_is_left_of_a_tunnel(ending: str) -> None:
    talk = Dialogue(only())
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        client, target = tunnel(talk)
        client.data(1, b"ping")
        if ending == "client":
            client.resets(1, CANCEL)
        elif ending == "target":
            target.resets()
        else:
            client.ends(1)
            target.ends()
        talk.loop.settle()
        gc.collect()
        left = sorted({type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("equipoise.")})
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()
        talk.close()
    assert left == []
