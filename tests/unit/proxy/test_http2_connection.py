"""Frames, windows and errors of a connection, the same on both sides of the balancer."""

from collections.abc import Callable

import pytest

from equipoise.proxy.http2_connection import BUFFERS_ON_THE_WAY, BUFFERS_WAITING, REMEMBERED
from equipoise.wire.http2_errors import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from equipoise.wire.http2_settings import INITIAL_WINDOW_SIZE
from tests.support.dialogue import Dialogue, only
from tests.support.frames import frame
from tests.support.http2_peer import (
    Data,
    Frame,
    Goaway,
    Headers,
    Http2Peer,
    Ping,
    Reset,
    Settings,
    Update,
    ask,
    body,
    down2,
    http2_client,
    http2_target,
    only2,
    status_of,
    streams,
    up2,
    web2,
)

MakeDialogue = Callable[..., Dialogue]
HALF = 32_768
BUFFER = 64 * 1024
CONNECTION_WINDOW = BUFFERS_ON_THE_WAY * BUFFER
MOST_WAITING = BUFFERS_WAITING * BUFFER


@pytest.fixture
def talk(make_dialogue: MakeDialogue) -> Dialogue:
    """With one target of HTTP/2."""
    return make_dialogue(only2())


def both(talk: Dialogue, *fields: tuple[bytes, bytes], end: bool = True, **values: int) -> tuple[Http2Peer, Http2Peer]:
    """A request on the first stream has reached the target; the client takes what `values` say."""
    client = http2_client(talk, **values)
    client.asks([*ask(b"GET" if end else b"POST"), *fields], end=end)
    target = http2_target(talk)
    target.hears_all()
    return client, target


def sizes(heard: list[Frame], stream: int) -> list[int]:
    return [len(each.data) for each in heard if isinstance(each, Data) and each.stream == stream]


# The beginning


def test_a_client_is_greeted_with_what_it_may_do(talk: Dialogue) -> None:
    client = Http2Peer(talk.client(), is_client=True)
    client.greets()
    first, update, ack = client.hears_all()
    assert isinstance(first, Settings)
    assert dict(first.values) == {3: 1000, 4: 65_536, 6: 32_768, 8: 1}
    assert update == Update(0, CONNECTION_WINDOW - 65_535)
    assert ack == Settings((), ack=True)


def test_a_target_is_greeted_with_the_preface_and_pushes_nothing(talk: Dialogue) -> None:
    http2_client(talk).asks(ask())
    target = http2_target(talk)
    first, update, *_ = target.hears_all()
    assert isinstance(first, Settings)
    assert dict(first.values) == {2: 0, 4: 65_536, 6: 262_144}
    assert isinstance(update, Update)
    assert (update.stream, update.increment > 1 << 20) == (0, True)


def test_settings_are_acknowledged(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.sets(s1=0)
    assert client.hears_all() == [Settings((), ack=True)]


def test_an_acknowledgement_is_not_answered(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.frames.settings_ack()
    client.says(b"")
    assert client.hears_all() == []


def test_frames_may_come_byte_by_byte(talk: Dialogue) -> None:
    client = Http2Peer(talk.client(), is_client=True)
    client.gathers = True
    client.greets()
    client.asks(ask())
    client.peer.says(*[bytes([octet]) for octet in client.frames.take()])
    assert streams(http2_target(talk).hears()) == [1]


def test_what_is_said_in_one_turn_is_written_at_once(talk: Dialogue) -> None:
    client, target = both(talk)
    writes: list[bytes] = []
    transport = client.peer.transport
    transport.protocol.write = writes.append
    with target.at_once():
        target.head(1, [(b":status", b"200")])
        for _ in range(5):
            target.data(1, b"piece")
        target.ends(1)
    assert len(writes) == 1


def test_a_table_of_headers_that_shrinks_is_followed(talk: Dialogue) -> None:
    client, target = both(talk)
    client.sets(s1=0)
    target.answers(1)
    client.decoder.limit_table(0)
    assert client.hears() == [Headers(1, down2(), end=True)]


# PING, and frames of no meaning


def test_a_ping_is_answered_with_its_bytes(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.pings(b"87654321")
    assert client.hears() == [Ping(b"87654321", ack=True)]


def test_an_answer_to_a_ping_is_not_answered(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.pings(ack=True)
    assert client.hears() == []


@pytest.mark.parametrize(
    "data",
    [frame(0x2, 1, bytes(4) + b"\x10"), frame(0x2, 99, bytes(4) + b"\x10"), frame(0xFA, 5, b"?"), frame(0xFA, 0)],
    ids=["PRIORITY", "PRIORITY of an idle stream", "unknown", "unknown on the connection"],
)
def test_frames_of_no_meaning_are_passed_over(talk: Dialogue, data: bytes) -> None:
    client, target = both(talk)
    client.says(data)
    target.answers(1)
    assert client.hears() == [Headers(1, down2(), end=True)]


# What we take: flow control of what comes


def test_bytes_that_went_on_are_granted_anew_by_half_windows(talk: Dialogue) -> None:
    client, target = both(talk, end=False)
    client.data(1, bytes(HALF - 1))
    assert client.granted(1) == 0
    client.data(1, b"x")
    assert client.granted(1) == HALF
    assert len(body(target.hears(), 1)) == HALF
    target.answers(1)


def test_padding_is_granted_anew_too(talk: Dialogue) -> None:
    client, target = both(talk, end=False)
    for _ in range(255):
        client.says(frame(0x0, 1, bytes([254]) + b"a" + bytes(254), 0x8))
    assert client.granted(1) == HALF
    assert body(target.hears(), 1) == b"a" * 255
    target.answers(1)


def test_nothing_is_granted_while_the_target_takes_nothing(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask(b"POST"), end=False)
    target = http2_target(talk, s4=0)
    for _ in range(4):
        client.data(1, bytes(16_000))
    assert client.granted(1) == 0
    target.grants(1, 63_999)
    assert client.granted(1) == 0, "while a byte of it waits"
    target.grants(1, 1)
    assert client.granted(1) == 64_000
    assert len(body(target.hears(), 1)) == 64_000
    target.answers(1)


def test_more_than_the_window_of_a_stream_ends_it_alone(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask(b"POST"), end=False)
    target = http2_target(talk, s4=0)
    client.asks(ask())
    for _ in range(5):
        client.data(1, bytes(16_384))
    assert Reset(1, FLOW_CONTROL_ERROR) in client.hears()
    assert Reset(1, CANCEL) in target.hears()
    target.answers(3)
    assert status_of(client.hears(), 3) == 200


def test_more_than_the_window_of_the_connection_ends_it(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2())
    client = http2_client(talk)
    count = CONNECTION_WINDOW // 65_536
    for _ in range(count):
        client.asks(ask(b"POST"), end=False)
    target = http2_target(talk, s4=0)
    for number in range(count):
        client.data(2 * number + 1, bytes(65_536))
    assert client.hears() == []
    stream = client.asks(ask(b"POST"), end=False)
    client.data(stream, b"x")
    assert client.hears() == [Goaway(stream, FLOW_CONTROL_ERROR)]
    assert talk.in_flight == {}
    assert repr(target) == "open"


def test_what_comes_on_a_stream_that_was_reset_is_granted_to_the_others(talk: Dialogue) -> None:
    """Otherwise the connection's window would run dry."""
    client, target = both(talk, end=False)
    target.answers(1)
    assert client.hears()[-1] == Reset(1, NO_ERROR)
    granted = 0
    for _ in range(CONNECTION_WINDOW // 16_384):
        client.data(1, bytes(16_384))
        granted += client.granted(0)
    assert granted >= CONNECTION_WINDOW // 2
    assert repr(client) == "open"


def test_what_a_stream_held_back_is_granted_to_the_others_when_it_ends(talk: Dialogue) -> None:
    client = http2_client(talk)
    target: Http2Peer | None = None
    granted = 0
    for number in range(CONNECTION_WINDOW // 65_536):
        client.asks(ask(b"POST"), end=False)
        if target is None:
            target = http2_target(talk, s4=0)
        client.data(2 * number + 1, bytes(65_536))
        client.resets(2 * number + 1, CANCEL)
        granted += client.granted(0)
    assert granted >= CONNECTION_WINDOW // 2
    assert talk.in_flight == {}


# What the peer takes: flow control of what goes


def test_no_more_is_sent_than_a_stream_may(talk: Dialogue) -> None:
    client, target = both(talk, s4=10)
    target.answers(1, b"0123456789abcdef")
    assert body(client.hears(), 1) == b"0123456789"
    client.grants(1, 3)
    assert body(client.hears(), 1) == b"abc"
    client.grants(1, 100)
    assert client.hears() == [Data(1, b"def", end=True)]


def test_no_more_is_sent_than_the_connection_may(talk: Dialogue) -> None:
    client, target = both(talk)
    client.asks(ask())
    target.answers(1, bytes(60_000))
    target.answers(3, bytes(60_000))
    heard = client.hears()
    assert (len(body(heard, 1)), len(body(heard, 3))) == (60_000, 5_535)
    client.grants(0, 100_000)
    heard = client.hears()
    assert (len(body(heard, 3)), heard[-1].end) == (54_465, True)  # type: ignore[union-attr]


def test_an_answer_without_a_byte_needs_no_window(talk: Dialogue) -> None:
    client, target = both(talk, s4=0)
    target.head(1, [(b":status", b"200")])
    target.ends(1)
    assert client.hears() == [Headers(1, down2()), Data(1, b"", end=True)]


def test_the_end_waits_behind_queued_data(talk: Dialogue) -> None:
    client, target = both(talk, s4=0)
    target.answers(1, b"body", end=False)
    target.ends(1)
    assert client.hears() == [Headers(1, down2())]
    assert talk.in_flight == {}, "the target has done its part"
    client.grants(1, 3)
    assert client.hears() == [Data(1, b"bod")]
    client.grants(1, 1)
    assert client.hears() == [Data(1, b"y", end=True)]


def test_trailers_wait_behind_queued_data(talk: Dialogue) -> None:
    client, target = both(talk, s4=0)
    target.answers(1, b"body", end=False)
    target.head(1, [(b"x-sum", b"1")], end=True)
    assert client.hears() == [Headers(1, down2())]
    client.grants(1, 4)
    assert client.hears() == [Data(1, b"body"), Headers(1, [(b"x-sum", b"1")], end=True)]


def test_a_requests_end_and_trailers_wait_behind_queued_data(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask(b"POST"), b"one", end=False)
    target = http2_target(talk, s4=0)
    client.asks(ask(b"POST"), b"two")
    client.head(1, [(b"x-sum", b"1")], end=True)
    target.hears_all()
    target.grants(1, 10)
    assert target.hears() == [Data(1, b"one"), Headers(1, [(b"x-sum", b"1")], end=True)]
    target.grants(3, 10)
    assert target.hears() == [Data(3, b"two", end=True)]
    target.answers(1)
    target.answers(3)


def test_blocked_streams_take_turns(talk: Dialogue) -> None:
    client, target = both(talk)
    client.asks(ask())
    client.asks(ask())
    client.grants(1, 1 << 20)
    client.grants(3, 1 << 20)
    client.grants(5, 1 << 20)
    for stream in (1, 3, 5):
        target.answers(stream, bytes(40_000), end=False)
    heard = client.hears()
    assert sum(len(body(heard, stream)) for stream in (1, 3, 5)) == 65_535
    client.grants(0, 30_000)
    heard = client.hears()
    shares = [len(body(heard, stream)) for stream in (3, 5)]
    assert sum(shares) == 30_000
    assert min(shares) >= 13_000, "a frame each in turn"
    client.grants(0, 1 << 20)
    heard = client.hears()
    order = [each.stream for each in heard if isinstance(each, Data)]
    assert order[:2] in ([3, 5], [5, 3])
    for stream in (1, 3, 5):
        target.ends(stream)


def test_a_stream_without_room_does_not_hold_the_others(talk: Dialogue) -> None:
    client, target = both(talk, s4=5)
    client.asks(ask())
    target.answers(1, b"0123456789")
    client.grants(3, 100)
    target.answers(3, b"0123456789")
    heard = client.hears()
    assert (body(heard, 1), body(heard, 3)) == (b"01234", b"0123456789")
    client.grants(1, 5)
    assert client.hears() == [Data(1, b"56789", end=True)]


def test_a_smaller_window_leaves_streams_below_zero(talk: Dialogue) -> None:
    client, target = both(talk, s4=10)
    target.answers(1, b"0123456789abc")
    client.hears()
    client.sets(s4=4)
    client.grants(1, 6)
    assert client.hears() == [], "six of ten were taken back"
    client.grants(1, 2)
    assert client.hears() == [Data(1, b"ab")]
    client.sets(s4=5)
    assert client.hears() == [Data(1, b"c", end=True)]


def test_no_frame_is_longer_than_the_peer_takes(talk: Dialogue) -> None:
    client, target = both(talk, s4=1 << 20)
    client.grants(0, 1 << 20)
    target.answers(1, bytes(50_000))
    assert sizes(client.hears(), 1) == [16_384, 16_384, 16_384, 848]


def test_a_longer_frame_is_written_when_the_peer_takes_it(talk: Dialogue) -> None:
    client, target = both(talk, s4=1 << 20, s5=40_000)
    client.grants(0, 1 << 20)
    client.reader.max_frame = 40_000
    with target.at_once():
        target.head(1, [(b":status", b"200")])
        target.frames.max_frame = 16_384
        target.data(1, bytes(16_384))
        target.data(1, bytes(16_384), end=True)
    assert sum(sizes(client.hears(), 1)) == 32_768


def fill(talk: Dialogue) -> tuple[Http2Peer, Http2Peer]:
    """A client that reads nothing any more, and so much of an answer that its connection takes no more."""
    client, target = both(talk, s4=1 << 20)
    client.grants(0, 1 << 20)
    client.peer.stops_reading()
    target.head(1, [(b":status", b"200")])
    for _ in range(5):
        target.data(1, bytes(16_000))
    return client, target


def test_a_transport_that_is_full_takes_no_more_until_it_is_drained(talk: Dialogue) -> None:
    client, target = fill(talk)
    unsent = client.peer.transport.get_write_buffer_size()
    target.data(1, bytes(16_000))
    assert client.peer.transport.get_write_buffer_size() == unsent
    client.peer.reads_on()
    target.ends(1)
    assert len(body(client.hears(), 1)) == 96_000


def test_an_end_that_waits_for_the_transport_is_sent(talk: Dialogue) -> None:
    client, target = fill(talk)
    target.ends(1)
    client.peer.reads_on()
    heard = client.hears()
    assert (len(body(heard, 1)), heard[-1]) == (80_000, Data(1, b"", end=True))


def test_a_slow_stream_holds_its_target_and_no_other(talk: Dialogue) -> None:
    client, target = both(talk, s4=100)
    client.asks(ask())
    target.answers(1, bytes(60_000), end=False)
    assert target.granted(1) == 0
    client.grants(3, 1 << 20)
    client.grants(0, 1 << 20)
    target.answers(3, bytes(60_000), end=False)
    assert target.granted(3) >= 32_768
    target.ends(3)
    assert len(body(client.hears(), 3)) == 60_000
    client.resets(1, CANCEL)


def test_slow_clients_do_not_take_the_targets_connection_from_the_others(talk: Dialogue) -> None:
    slow = http2_client(talk, s4=0)
    slow.asks(ask())
    target = http2_target(talk)
    for _ in range(99):
        slow.asks(ask())
    quick = http2_client(talk)
    quick.asks(ask())
    room, streams_of_slow = target.room, range(1, 201, 2)
    room = sum(each.increment for each in target.hears_all() if isinstance(each, Update) and each.stream == 0) + room
    for stream in streams_of_slow:
        target.answers(stream, bytes(60_000), end=False)
        room += target.granted(0) - 60_000
        assert room >= 60_000
    target.answers(201, b"ok")
    assert body(quick.hears(), 1) == b"ok"
    slow.peer.resets()
    assert talk.in_flight == {}


def test_a_client_that_lets_too_much_wait_loses_what_it_does_not_read(talk: Dialogue) -> None:
    client, target = both(talk, s4=0)
    for _ in range(200):
        client.asks(ask())
    for stream in range(1, 401, 2):
        target.answers(stream, bytes(60_000), end=False)
    resets = [each for each in client.hears() if isinstance(each, Reset)]
    waiting = 200 - len(resets)
    assert {each.code for each in resets} == {ENHANCE_YOUR_CALM}
    assert 100 <= waiting <= MOST_WAITING // 60_000
    assert talk.in_flight == {"a": waiting + 1}
    client.peer.resets()


# Errors of a stream


def unlike(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [*ask(), (name, value)]


@pytest.mark.parametrize(
    "fields",
    [
        unlike(b"connection", b"close"),
        unlike(b"transfer-encoding", b"chunked"),
        unlike(b"te", b"chunked"),
        unlike(b"Upper", b"x"),
        unlike(b"x", b"a\r\nb"),
        unlike(b":path", b"/"),
        unlike(b"content-length", b"5"),
        ask()[1:],
        ask(path=b""),
        ask(path=b"*"),
    ],
    ids=str,
)
def test_a_malformed_request_is_reset_and_reaches_nobody(talk: Dialogue, fields: list[tuple[bytes, bytes]]) -> None:
    client, target = both(talk)
    client.asks(fields)
    assert client.hears() == [Reset(3, PROTOCOL_ERROR)]
    assert target.hears() == []
    target.answers(1)
    assert status_of(client.hears(), 1) == 200, "the others go on"


@pytest.mark.parametrize(
    ("length", "sent"), [(b"3", b"four"), (b"5", b"four")], ids=["longer than was said", "shorter than was said"]
)
def test_a_body_of_another_length_ends_its_stream(talk: Dialogue, length: bytes, sent: bytes) -> None:
    client, target = both(talk, (b"content-length", length), end=False)
    client.data(1, sent, end=True)
    assert Reset(1, PROTOCOL_ERROR) in client.hears()
    assert target.hears() == [Reset(1, CANCEL)]
    assert (talk.in_flight, talk.record.error) == ({}, "malformed (downstream)")


@pytest.mark.parametrize(
    "trailers",
    [[(b":path", b"/")], [(b"content-length", b"1")], [(b"connection", b"x")], [(b"Upper", b"x")]],
    ids=str,
)
def test_malformed_trailers_end_their_stream(talk: Dialogue, trailers: list[tuple[bytes, bytes]]) -> None:
    client, target = both(talk, end=False)
    client.head(1, trailers, end=True)
    assert Reset(1, PROTOCOL_ERROR) in client.hears()
    assert target.hears() == [Reset(1, CANCEL)]


def test_trailers_that_do_not_end_the_stream_end_it_by_force(talk: Dialogue) -> None:
    client, target = both(talk, end=False)
    client.head(1, [(b"x-sum", b"1")])
    assert Reset(1, PROTOCOL_ERROR) in client.hears()
    assert target.hears() == [Reset(1, CANCEL)]


def test_a_window_that_overflows_ends_its_stream(talk: Dialogue) -> None:
    client, target = both(talk)
    client.grants(1, 0x7FFF_FFFF)
    assert client.hears() == [Reset(1, FLOW_CONTROL_ERROR)]
    assert target.hears() == [Reset(1, CANCEL)]


def test_a_grant_of_nothing_ends_its_stream(talk: Dialogue) -> None:
    client, target = both(talk)
    client.says(frame(0x8, 1, bytes(4)))
    assert client.hears() == [Reset(1, PROTOCOL_ERROR)]
    assert target.hears() == [Reset(1, CANCEL)]


@pytest.mark.parametrize("trailers", [False, True], ids=["DATA", "HEADERS"])
def test_nothing_follows_the_end_of_a_request(talk: Dialogue, trailers: bool) -> None:
    """Passed on, it would end the connection that others share."""
    client, target = both(talk)
    if trailers:
        client.head(1, [(b"x-sum", b"1")], end=True)
    else:
        client.data(1, b"more", end=True)
    assert client.hears() == [Reset(1, STREAM_CLOSED)]
    assert target.hears() == [Reset(1, CANCEL)]


def test_frames_that_cross_our_reset_are_passed_over(talk: Dialogue) -> None:
    client, target = both(talk, end=False)
    target.answers(1)
    assert client.hears()[-1] == Reset(1, NO_ERROR)
    client.data(1, b"late")
    client.grants(1, 5)
    client.head(1, [(b"x-sum", b"1")], end=True)
    client.resets(1, CANCEL)
    assert client.hears() == []
    assert repr(client) == "open"


def test_data_on_a_stream_that_has_come_to_its_end_is_an_error_of_the_stream(talk: Dialogue) -> None:
    client, target = both(talk)
    target.answers(1)
    client.hears()
    client.data(1, b"late")
    assert client.hears() == [Reset(1, STREAM_CLOSED)]


def test_of_the_streams_that_we_reset_the_last_are_remembered(talk: Dialogue) -> None:
    client, target = both(talk, end=False)
    target.answers(1)
    for _ in range(REMEMBERED):
        target.answers(client.asks(ask(b"POST"), end=False))
    client.hears()
    client.data(3, b"late")
    assert client.hears() == []
    client.data(1, b"late")
    assert client.hears() == [Reset(1, STREAM_CLOSED)]


def test_a_window_update_of_a_stream_that_is_gone_is_passed_over(talk: Dialogue) -> None:
    client, target = both(talk)
    target.answers(1)
    client.hears()
    client.grants(1, 5)
    client.resets(1, CANCEL)
    assert client.hears() == []


# Errors of the connection


BROKEN: dict[str, tuple[bytes, int]] = {
    "DATA on an idle stream": (frame(0x0, 9, b"x"), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (frame(0x3, 9, bytes(4)), PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (frame(0x8, 9, b"\0\0\0\1"), PROTOCOL_ERROR),
    "WINDOW_UPDATE by nothing on an idle stream": (frame(0x8, 9, bytes(4)), PROTOCOL_ERROR),
    "WINDOW_UPDATE by nothing on the connection": (frame(0x8, 0, bytes(4)), PROTOCOL_ERROR),
    "a window of the connection that overflows": (frame(0x8, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
    "HEADERS on an even stream": (frame(0x1, 2, b"\x82", 5), PROTOCOL_ERROR),
    "a frame that is too long": (frame(0x0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
    "PING of seven bytes": (frame(0x6, 0, bytes(7)), FRAME_SIZE_ERROR),
    "PUSH_PROMISE": (frame(0x5, 1, bytes(8), 4), PROTOCOL_ERROR),
    "SETTINGS of a window that cannot be": (frame(0x4, 0, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL_ERROR),
    "SETTINGS that make a window overflow": (
        frame(0x8, 1, b"\x7f\xff\0\0") + frame(0x4, 0, b"\0\4\x7f\xff\xff\xff"),
        FLOW_CONTROL_ERROR,
    ),
    "a block that is not HPACK": (frame(0x1, 3, b"\xff\xff\xff\xff\xff\xff", 5), COMPRESSION_ERROR),
    "another frame within a block": (frame(0x1, 3, b"\x82", 1) + frame(0x6, 0, bytes(8)), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_connection_ends_it_and_its_streams(talk: Dialogue, name: str) -> None:
    data, code = BROKEN[name]
    client, target = both(talk)
    client.says(data)
    goaway = client.hears()[-1]
    assert isinstance(goaway, Goaway)
    assert goaway.code == code
    assert goaway.last in {1, 3}
    assert repr(client) == "half-closed"
    assert target.hears() == [Reset(1, CANCEL)]
    assert (talk.in_flight, repr(target)) == ({}, "open")


def test_nothing_is_read_behind_an_error_of_the_connection(talk: Dialogue) -> None:
    client, target = both(talk)
    with client.at_once():
        client.says(frame(0x6, 0, bytes(7)))
        client.asks(ask())
    assert target.hears() == [Reset(1, CANCEL)]


def test_what_a_client_still_sends_behind_an_error_is_dropped_for_a_while(talk: Dialogue) -> None:
    """A close with bytes unread would take the GOAWAY with it."""
    client, target = both(talk)
    client.says(frame(0x6, 0, bytes(7)))
    target.hears()
    client.asks(ask())
    assert (target.hears(), repr(client)) == ([], "half-closed")
    talk.pass_time(2.2)
    assert repr(client) == "aborted"


def test_what_is_read_behind_an_error_of_a_stream_counts(talk: Dialogue) -> None:
    client, target = both(talk)
    with client.at_once():
        client.asks(unlike(b"connection", b"close"))
        client.asks(ask(path=b"/next"))
    assert client.hears() == [Reset(3, PROTOCOL_ERROR)]
    assert target.hears() == [Headers(3, up2(ask(path=b"/next"), 1), end=True)]
    target.answers(1)
    target.answers(3)


def test_a_client_that_does_not_speak_http_2_after_its_preface_is_told(talk: Dialogue) -> None:
    client = Http2Peer(talk.client(), is_client=True)
    client.frames.preface()
    client.pings()
    assert client.hears() == [Goaway(0, PROTOCOL_ERROR)]


def test_answers_that_nobody_reads_end_the_connection(talk: Dialogue) -> None:
    client, _ = fill(talk)
    with client.at_once():
        for _ in range(1_001):
            client.pings()
    client.peer.reads_on()
    assert client.hears()[-1] == Goaway(1, ENHANCE_YOUR_CALM)


def test_frames_of_a_target_that_break_its_connection_fail_what_is_on_it(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client, target = both(talk)
    target.says(frame(0x6, 0, bytes(7)))
    assert target.hears() == [Goaway(0, FRAME_SIZE_ERROR)]
    assert repr(target) == "closed"
    assert (talk.in_flight, talk.reports) == ({"b": 1}, [("web", "a", "reset")])
    http2_target(talk).answers(1)
    assert status_of(client.hears(), 1) == 200, "a GET may be asked again"


def test_the_windows_of_an_http_1_clients_request_hold_too(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2())
    client = talk.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n0123456789", b"abcdefghij")
    target = http2_target(talk, s4=15)
    assert body(target.hears(), 1) == b"0123456789abcde"
    assert repr(client) == "open", "its request is whole"
    target.grants(1, 5)
    assert target.hears() == [Data(1, b"fghij", end=True)]
    target.answers(1)


def test_http_1_and_2_are_told_apart_by_the_first_bytes(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only())
    old, new = talk.client(), Http2Peer(talk.client(), is_client=True)
    old.says(b"P", b"RI / HTTP/1.1\r\nHost: x\r\n\r\n")
    new.gathers = True
    new.greets(**{f"s{INITIAL_WINDOW_SIZE}": 100})
    new.asks(ask())
    data = new.frames.take()
    new.peer.says(data[:1], data[1:20], data[20:])
    first, second = talk.accept().hears(), talk.accept().hears()
    assert (first[:10], second[:14]) == (b"PRI / HTTP", b"GET / HTTP/1.1")
    old.resets()
    new.peer.resets()
