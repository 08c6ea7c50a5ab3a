"""A client's connection: which streams it may open, how long it stays, how it ends."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from equipoise.wire.http2_errors import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS_TIMEOUT,
)
from tests.support.dialogue import OK, Dialogue, limits, web
from tests.support.frames import frame
from tests.support.http2_peer import (
    Field,
    Frame,
    Goaway,
    Headers,
    Http2Peer,
    Ping,
    Reset,
    ask,
    body,
    down2,
    http2_client,
    http2_target,
    only2,
    status_of,
    streams,
    web2,
)

MakeDialogue = Callable[..., Dialogue]
GRPC: list[Field] = [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
LAST_OF_ALL = 0x7FFF_FFFF


@pytest.fixture
def talk(make_dialogue: MakeDialogue) -> Dialogue:
    """With one target of HTTP/2."""
    return make_dialogue(only2())


def both(talk: Dialogue, *fields: Field, end: bool = True, **values: int) -> tuple[Http2Peer, Http2Peer]:
    """A request on the first stream has reached the target; the client takes what `values` say."""
    client = http2_client(talk, **values)
    client.asks([*ask(b"GET" if end else b"POST"), *fields], end=end)
    there = http2_target(talk)
    there.hears_all()
    return client, there


def problem_of(heard: list[Frame], stream: int) -> dict[str, Any]:
    """The problem details on a stream."""
    details: dict[str, Any] = json.loads(body(heard, stream))
    return details


def field_of(heard: list[Frame], stream: int, name: bytes) -> bytes | None:
    """The last value of a field on a stream, in its head or its trailers."""
    fields = [pair for each in heard if isinstance(each, Headers) and each.stream == stream for pair in each.fields]
    return dict(fields).get(name)


# Streams


def test_streams_above_the_limit_are_refused_and_the_others_go_on(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(streams=2))
    client, there = both(talk)
    client.asks(ask())
    client.asks(ask())
    assert client.hears() == [Reset(5, REFUSED_STREAM)]
    there.answers(1)
    client.asks(ask())
    there.answers(3)
    there.answers(5)
    assert [status_of(client.hears_all(), 0)] == [0]
    assert talk.in_flight == {}
    assert len(talk.records) == 3


def test_a_malformed_request_does_not_count_as_one(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks([*ask(), (b"connection", b"close")])
    assert client.hears() == [Reset(1, PROTOCOL_ERROR)]
    assert talk.dials == []


def test_trailers_that_are_too_large_are_not_passed_on_in_part(talk: Dialogue) -> None:
    client, there = both(talk, end=False)
    client.head(1, [(b"a", b"a" * 20_000), (b"b", b"b" * 20_000)], end=True)
    assert streams(there.hears()) == []
    assert talk.in_flight == {}
    assert repr(client) == "open"


def test_a_stream_takes_its_turn_like_any_other_request(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web())
    client = http2_client(talk)
    for _ in range(3):
        client.asks(ask())
    assert talk.in_flight == {"a": 1, "b": 1, "c": 1}
    for name in "abc":
        talk.accept(name).says(OK)
    assert talk.in_flight == {}


def test_answers_come_in_the_order_in_which_they_are_ready(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web())
    client = http2_client(talk)
    for _ in range(3):
        client.asks(ask())
    peers = {name: talk.accept(name) for name in "abc"}
    for name in "cab":
        peers[name].says(OK)
    assert streams(client.hears()) == [5, 1, 3]


def test_too_many_resets_end_the_connection(talk: Dialogue) -> None:
    client, _there = both(talk)
    with client.at_once():
        for _ in range(201):
            client.resets(client.asks(ask()), CANCEL)
    last = client.hears()[-1]
    assert isinstance(last, Goaway)
    assert last.code == ENHANCE_YOUR_CALM
    assert talk.in_flight == {}


def test_too_many_streams_that_we_have_to_reset_end_the_connection(talk: Dialogue) -> None:
    client, _there = both(talk)
    with client.at_once():
        for _ in range(201):
            client.frames.window_update(client.asks(ask()), LAST_OF_ALL)
    last = client.hears()[-1]
    assert isinstance(last, Goaway)
    assert last.code == ENHANCE_YOUR_CALM
    assert talk.in_flight == {}


# The connection ends


def test_the_connection_is_counted(talk: Dialogue) -> None:
    client, there = both(talk)
    assert talk.path.connections == 1
    there.answers(1)
    client.peer.ends()
    assert talk.path.connections == 0


def test_a_client_that_leaves_ends_all_its_streams_and_nobody_elses(talk: Dialogue) -> None:
    client, there = both(talk)
    client.asks(ask())
    other = http2_client(talk)
    other.asks(ask())
    there.hears()
    client.peer.resets()
    assert there.hears() == [Reset(1, CANCEL), Reset(3, CANCEL)]
    assert [record.status for record in talk.records] == [499, 499]
    there.answers(5)
    assert status_of(other.hears(), 1) == 200


def test_a_client_that_says_goaway_has_its_streams_finished(talk: Dialogue) -> None:
    client, there = both(talk)
    client.goes_away(0)
    assert client.hears() == []
    there.answers(1)
    assert client.hears() == [Headers(1, down2(), end=True), Goaway(1, NO_ERROR)]
    assert repr(client) == "closed"


def test_an_idle_client_that_says_goaway_is_closed(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.goes_away(0)
    assert (client.hears(), repr(client)) == ([Goaway(0, NO_ERROR)], "closed")


# Deadlines


def test_a_client_that_says_no_settings_in_time_is_closed(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(head_timeout=10.0))
    client = Http2Peer(talk.client(), is_client=True)
    client.frames.preface()
    client.says(b"")
    talk.pass_time(9.8)
    assert client.hears() == []
    talk.pass_time(0.4)
    assert client.hears() == [Goaway(0, SETTINGS_TIMEOUT)]


def test_an_idle_connection_is_closed_with_a_goaway(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(head_timeout=10.0, idle_timeout=75.0))
    client = http2_client(talk)
    talk.pass_time(74.8)
    assert client.hears() == []
    talk.pass_time(0.4)
    assert (client.hears(), repr(client)) == ([Goaway(0, NO_ERROR)], "closed")


def test_a_connection_is_idle_from_the_end_of_its_last_stream(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(idle_timeout=20.0))
    client, there = both(talk)
    talk.pass_time(30)
    there.answers(1)
    talk.pass_time(19.8)
    assert repr(client) == "open"
    talk.pass_time(0.4)
    assert (client.hears()[-1], repr(client)) == (Goaway(1, NO_ERROR), "closed")


@pytest.mark.parametrize("busy", [False, True], ids=["on an idle connection", "while others are answered"])
def test_a_header_block_that_is_not_whole_in_time_ends_the_connection(make_dialogue: MakeDialogue, busy: bool) -> None:
    talk = make_dialogue(only2(), limits=limits(head_timeout=10.0))
    client, there = both(talk)
    if not busy:
        there.answers(1)
    client.hears()
    client.says(frame(0x1, 3, b"\x82", 0))
    for _ in range(4):
        talk.pass_time(2.4)
        client.says(frame(0x9, 3, b"", 0))
    assert client.hears() == []
    talk.pass_time(0.8)
    last = client.hears()[-1]
    assert isinstance(last, Goaway)
    assert last.code == ENHANCE_YOUR_CALM
    assert talk.in_flight == {}


def test_a_header_block_that_is_whole_in_time_is_a_request(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(head_timeout=10.0))
    client, there = both(talk)
    block = client.encoder.encode(ask())
    client.says(frame(0x1, 3, block[:3], 1))
    talk.pass_time(9)
    client.says(frame(0x9, 3, block[3:], 4))
    talk.pass_time(9)
    assert streams(there.hears()) == [3]
    there.answers(1)
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


def test_a_client_whose_connection_takes_nothing_is_cut(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, s4=1 << 20)
    client.grants(0, 1 << 20)
    client.peer.stops_reading()
    there.head(1, [(b":status", b"200")])
    for _ in range(6):
        there.data(1, bytes(16_000))
    talk.pass_time(9)
    client.peer.reads_on(20_000)
    talk.pass_time(10)
    assert not client.peer.transport.closing, "it has read something"
    talk.pass_time(10.4)
    assert repr(client) == "aborted"
    assert talk.in_flight == {}


def test_an_answer_that_nobody_reads_does_not_make_a_connection_idle(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0, idle_timeout=5.0))
    client, there = both(talk, s4=1 << 20)
    client.grants(0, 1 << 20)
    client.peer.stops_reading()
    there.answers(1, bytes(80_000))
    talk.pass_time(8)
    client.peer.reads_on()
    assert len(body(client.hears(), 1)) == 80_000
    talk.pass_time(5.4)
    assert client.hears() == [Goaway(1, NO_ERROR)]


# Drain


def test_a_drain_says_goaway_twice_and_lets_streams_finish(talk: Dialogue) -> None:
    client, there = both(talk)
    talk.path.begin_drain()
    talk.loop.settle()
    assert client.hears() == [Goaway(LAST_OF_ALL, NO_ERROR)]
    assert client.asks(ask()) == 3, "it may not have heard of it"
    talk.pass_time(1.2)
    assert client.hears() == [Goaway(3, NO_ERROR)]
    client.asks(ask())
    assert client.hears() == [Reset(5, REFUSED_STREAM)]
    there.answers(1)
    assert repr(client) == "open"
    there.answers(3)
    assert status_of(client.hears(), 3) == 200
    assert repr(client) == "closed"


def test_a_drain_closes_an_idle_connection_after_a_grace(talk: Dialogue) -> None:
    client = http2_client(talk)
    talk.path.begin_drain()
    talk.pass_time(0.8)
    assert (client.hears(), repr(client)) == ([Goaway(LAST_OF_ALL, NO_ERROR)], "open")
    talk.pass_time(0.4)
    assert (client.hears(), repr(client)) == ([Goaway(0, NO_ERROR)], "closed")


def test_the_end_of_a_drain_cuts_what_is_left_at_once(talk: Dialogue) -> None:
    client, _there = both(talk)
    client.asks(ask())
    talk.path.begin_drain()
    talk.pass_time(2)
    talk.path.abort()
    talk.loop.settle()
    assert ([record.status for record in talk.records], talk.in_flight) == ([499, 499], {})
    assert repr(client) == "aborted"


def test_what_is_cut_at_the_end_of_a_drain_is_on_the_log_before_the_loop_runs_again(talk: Dialogue) -> None:
    _client, _there = both(talk)
    talk.path.abort()
    assert (talk.record.status, talk.in_flight) == (499, {})


# A target that is cut


def test_a_target_that_is_cut_ends_what_is_there_and_nothing_else(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask(b"POST"))
    a = http2_target(talk, "a")
    client.asks(ask(b"POST"))
    b = http2_target(talk, "b")
    talk.path.cut(1)
    talk.loop.settle()
    heard = client.hears()
    assert (status_of(heard, 1), problem_of(heard, 1)["kind"]) == (502, "target_removed")
    assert a.hears()[-1] == Reset(1, CANCEL)
    assert talk.in_flight == {"b": 1}
    b.answers(1)
    assert status_of(client.hears(), 3) == 200


def test_a_request_that_may_be_repeated_goes_on_when_its_target_is_cut(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask())
    http2_target(talk, "a")
    talk.path.cut(1)
    talk.loop.settle()
    http2_target(talk, "b").answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_connection_that_cannot_be_flushed_keeps_no_other_from_it(dialogue: Dialogue) -> None:
    one, two = http2_client(dialogue), http2_client(dialogue)
    first, second = one.peer.transport.protocol, two.peer.transport.protocol

    def gone(_: bytes) -> None:
        raise RuntimeError("gone")

    first.write = gone
    for protocol in (first, second):
        protocol.frames.ping(b"12345678", False)
        protocol.mark()
    dialogue.loop.settle()
    assert two.hears() == [Ping(b"12345678")]
    assert len(dialogue.loop.problems) == 1
    dialogue.loop.problems.clear()


def test_a_malformed_request_has_a_line_in_the_access_log(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = client.asks([(b":method", b"GET"), (b":path", b"/")])
    assert client.hears() == [Reset(stream, 1)]
    assert (dialogue.record.status, dialogue.record.protocol) == (400, "HTTP/2")
    assert dialogue.record.error == "malformed (downstream): no :scheme or no :path"
