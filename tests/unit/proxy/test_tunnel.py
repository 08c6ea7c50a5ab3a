"""Two connections joined after a 101."""

import pytest

from tests.support.dialogue import OK, Dialogue, limits, ok_down, status_of, up, web
from tests.support.transport import Peer

REQUEST = b"GET /chat HTTP/1.1\r\nHost: x\r\n"
ASK = REQUEST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def tunnel(dialogue: Dialogue) -> tuple[Peer, Peer]:
    """An open one: the client and the target."""
    client = dialogue.client()
    client.says(ASK)
    a = dialogue.accept()
    a.says(SWITCH)
    client.hears()
    a.hears()
    return client, a


def test_a_101_joins_both_connections(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(ASK)
    a = dialogue.accept()
    expected = (
        up(REQUEST.removesuffix(b"\r\n")).removesuffix(b"\r\n") + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert a.hears() == expected
    a.says(SWITCH)
    assert client.hears() == (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.says(b"ping")
    assert a.hears() == b"ping"
    a.says(b"pong")
    assert client.hears() == b"pong"


def test_what_came_with_the_101_and_before_it_passes(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(ASK, b"early")
    a = dialogue.accept()
    a.hears()
    a.says(SWITCH + b"first words")
    assert client.hears().endswith(b"\r\n\r\nfirst words")
    assert a.hears() == b"early"


def test_a_tunnel_is_in_flight_until_both_sides_are_gone(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    assert (dialogue.in_flight, dialogue.path.connections, dialogue.records) == ({"a": 1}, 1, [])
    client.says(b"12345")
    a.says(b"123")
    client.resets()
    assert repr(a) == "closed"
    assert (dialogue.in_flight, dialogue.path.connections) == ({}, 0)
    assert (dialogue.record.status, dialogue.record.bytes_in, dialogue.record.bytes_out) == (101, 5, 3)
    assert dialogue.totals()["status_1xx"] == 1


def test_an_answer_other_than_101_is_an_ordinary_one(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(ASK)
    a = dialogue.accept()
    a.says(OK)
    assert client.hears() == ok_down()
    assert (repr(client), repr(a), dialogue.in_flight) == ("open", "open", {})


@pytest.mark.parametrize(
    "field", [b"Sec-WebSocket-Key: no base64", b"Sec-WebSocket-Version: 7", b"Origin: http://e.org"]
)
def test_what_a_handshake_says_is_the_target_s_to_judge(dialogue: Dialogue, field: bytes) -> None:
    client = dialogue.client()
    client.says(ASK[:-2] + field + b"\r\n\r\n")
    a = dialogue.accept()
    assert field + b"\r\n" in a.hears()
    a.says(b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n")
    answer = client.hears()
    assert status_of(answer) == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


def test_a_101_before_the_request_is_whole_is_502(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"he")
    a = dialogue.accept()
    a.says(SWITCH)
    assert status_of(client.hears()) == 502
    assert repr(a) == "aborted"


def test_one_side_that_ends_still_hears_the_other(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    client.ends()
    assert (repr(client), repr(a)) == ("open", "half-closed")
    a.says(b"the rest")
    assert client.hears() == b"the rest"


def test_a_tunnel_whose_sides_have_both_ended_is_over(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    client.ends()
    a.says(b"the rest")
    a.ends()
    assert client.hears() == b"the rest"
    assert (repr(client), repr(a)) == ("closed", "closed")
    assert (dialogue.in_flight, dialogue.record.status) == ({}, 101)


def test_what_was_said_before_the_end_arrives_at_a_slow_reader(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    client.stops_reading()
    a.says(b"the rest")
    client.ends()
    a.ends()
    assert repr(client) == "closing"
    client.reads_on()
    assert (client.hears(), repr(client)) == (b"the rest", "closed")


def test_a_side_that_is_lost_closes_the_other_when_it_has_heard_all(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    client.stops_reading()
    a.says(b"the rest")
    a.resets()
    assert repr(client) == "closing"
    assert dialogue.in_flight == {"a": 1}
    client.reads_on()
    assert (client.hears(), dialogue.in_flight) == (b"the rest", {})


@pytest.mark.parametrize("slow", [0, 1])
def test_a_side_that_does_not_read_holds_the_other(dialogue: Dialogue, slow: int) -> None:
    sides = tunnel(dialogue)
    reader, sayer = sides[slow], sides[1 - slow]
    reader.stops_reading()
    sayer.says(bytes(100_000))
    assert repr(sayer) == "held"
    reader.reads_on()
    assert repr(sayer) == "open"


def test_a_tunnel_closes_when_nobody_has_said_anything_for_long() -> None:
    dialogue = Dialogue(web(), limits=limits(tunnel_timeout=10.0))
    client, a = tunnel(dialogue)
    dialogue.pass_time(8)
    client.says(b"ping")
    dialogue.pass_time(8)
    assert (repr(client), repr(a)) == ("open", "open")
    dialogue.pass_time(2.2)
    assert (repr(client), repr(a)) == ("aborted", "aborted")
    assert dialogue.in_flight == {}
    dialogue.close()


def test_a_drain_leaves_tunnels_alone_and_its_end_cuts_them(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    dialogue.path.begin_drain()
    client.says(b"still here")
    assert a.hears() == b"still here"
    dialogue.path.abort()
    assert dialogue.record.status == 101, "before the loop runs again: it may not"
    assert dialogue.path.connections == 0


def test_a_tunnel_whose_sides_are_lost_in_one_turn_ends_once(dialogue: Dialogue) -> None:
    client, a = tunnel(dialogue)
    a.transport.lose(ConnectionResetError())
    client.transport.lose(None)
    dialogue.loop.settle()
    assert (len(dialogue.records), dialogue.in_flight) == (1, {})
