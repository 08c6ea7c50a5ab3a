"""Streams on connections to targets: shared, refused, broken off, timed out."""

from collections.abc import Callable

import pytest

from equipoise.model import RetrySpec
from equipoise.proxy.upstream_http2 import FAST_WINDOW, MAX_FIELDS, MAX_INTERIM, MOST_STREAMS, PING, TargetConnection
from equipoise.wire.http2_errors import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from tests.support.dialogue import GET, Dialogue, down, limits, up
from tests.support.http2_peer import (
    Data,
    Field,
    Goaway,
    Headers,
    Http2Peer,
    Ping,
    Reset,
    ask,
    body,
    h2c,
    http2_client,
    http2_target,
    only2,
    status_of,
    streams,
    up2,
    web2,
)
from tests.support.ledgers import pool, target

MakeDialogue = Callable[..., Dialogue]
GRPC: list[Field] = [(b"te", b"trailers"), (b"content-type", b"application/grpc")]


@pytest.fixture
def talk(make_dialogue: MakeDialogue) -> Dialogue:
    """With one target of HTTP/2."""
    return make_dialogue(only2())


def both(talk: Dialogue, fields: list[Field] | None = None, *, end: bool = True) -> tuple[Http2Peer, Http2Peer]:
    """A request on the first stream has reached the target."""
    client = http2_client(talk)
    client.asks(fields or ask(), end=end)
    there = http2_target(talk)
    there.hears_all()
    return client, there


# Sharing


def test_requests_of_all_clients_share_a_connection(talk: Dialogue) -> None:
    client, there = both(talk)
    other, old = http2_client(talk), talk.client()
    other.asks(ask())
    old.says(GET)
    assert talk.dials == []
    assert streams(there.hears()) == [3, 5]
    for stream in (5, 3, 1):
        there.answers(stream, b"for %d" % stream)
    assert body(client.hears(), 1) == b"for 1"
    assert body(other.hears(), 1) == b"for 3"
    assert old.hears().endswith(b"for 5\r\n0\r\n\r\n")


def test_a_connection_is_used_again(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1)
    client.asks(ask())
    assert (talk.dials, streams(there.hears())) == ([], [3])
    there.answers(3)


def test_no_more_streams_are_opened_than_the_target_takes(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask())
    first = http2_target(talk, s3=2)
    client.asks(ask())
    client.asks(ask())
    assert streams(first.hears()) == [1, 3]
    second = http2_target(talk, s3=2)
    assert streams(second.hears()) == [1]
    first.answers(1)
    client.asks(ask())
    assert (talk.dials, streams(first.hears())) == ([], [5])
    for peer, stream in ((first, 3), (first, 5), (second, 1)):
        peer.answers(stream)


def test_a_target_may_take_fewer_streams_while_it_runs(talk: Dialogue) -> None:
    client, there = both(talk)
    client.asks(ask())
    there.hears()
    there.sets(s3=2)
    client.asks(ask())
    second = http2_target(talk)
    assert (there.hears(), streams(second.hears())) == ([], [1])
    there.answers(1)
    there.answers(3)
    second.answers(1)


def test_a_connection_takes_so_many_streams_whatever_the_target_says(talk: Dialogue) -> None:
    client, there = both(talk)
    for _ in range(MOST_STREAMS):
        client.asks(ask())
    assert len(streams(there.hears())) == MOST_STREAMS - 1
    second = http2_target(talk)
    assert streams(second.hears()) == [1]
    client.peer.resets()


def test_a_connection_whose_numbers_are_used_up_is_left_for_another(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1)
    connection = talk.services.idle.stack(1).shared[0]
    assert isinstance(connection, TargetConnection)
    connection.next = 0x7FFF_FFFF
    client.asks(ask())
    second = http2_target(talk)
    assert streams(second.hears()) == [1]
    second.answers(1)


def test_a_target_that_moved_is_asked_on_new_connections_and_finishes_on_the_old(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2())
    client, there = both(talk)
    talk.apply(pool(h2c("a", 1, addresses=("10.9.9.9",))))
    client.asks(ask())
    assert talk.dials == ["10.9.9.9"]
    http2_target(talk).answers(1)
    assert repr(there) == "open"
    there.answers(1)
    assert (there.hears(), repr(there)) == ([Goaway(0, NO_ERROR)], "closed")
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3)) == (200, 200)


def test_an_idle_connection_to_a_target_that_left_is_closed(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    _client, there = both(talk)
    there.answers(1)
    there.hears()
    talk.apply(pool(h2c("b", 2)))
    talk.loop.settle()
    assert (there.hears(), repr(there)) == ([Goaway(0, NO_ERROR)], "closed")


def test_a_request_of_http_1_goes_up_by_http_2(talk: Dialogue) -> None:
    client = talk.client()
    client.says(b"POST /p HTTP/1.1\r\nHost: x\r\nAccept: a\r\nConnection: x-y\r\nX-Y: 1\r\nContent-Length: 2\r\n\r\nok")
    there = http2_target(talk)
    fields = ask(b"POST", b"/p", (b"accept", b"a"), (b"content-length", b"2"))
    assert there.hears() == [Headers(1, up2(fields, via=b"1.1")), Data(1, b"ok", end=True)]
    with there.at_once():
        there.head(1, [(b":status", b"201"), (b"content-length", b"4")])
        there.data(1, b"done", end=True)
    assert client.hears() == down(b"HTTP/1.1 201 Created\r\ncontent-length: 4", 0, b"done")


def test_a_request_of_http_2_goes_up_by_http_1(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(pool(target("a", 1)))
    client = http2_client(talk)
    client.asks(ask(b"POST", b"/p", (b"accept", b"a"), (b"content-length", b"2")), b"ok")
    there = talk.accept()
    head = b"POST /p HTTP/1.1\r\nHost: x\r\naccept: a\r\ncontent-length: 2\r\n\r\n"
    assert there.hears() == up(head, body=b"ok").replace(b"Via: 1.1", b"Via: 2")
    there.says(b"HTTP/1.1 201 Created\r\nX-Y: 1\r\nContent-Length: 4\r\n\r\ndone")
    (head_, data) = client.hears()
    assert isinstance(head_, Headers)
    assert head_.fields[:3] == [(b":status", b"201"), (b"x-y", b"1"), (b"content-length", b"4")]
    assert data == Data(1, b"done", end=True)


def test_a_request_without_a_host_names_the_address_that_it_came_to(talk: Dialogue) -> None:
    client = talk.client()
    client.says(b"GET / HTTP/1.0\r\n\r\n")
    there = http2_target(talk)
    (head,) = there.hears()
    assert isinstance(head, Headers)
    assert (b":authority", b"192.0.2.80:8080") in head.fields
    there.answers(1)
    assert client.hears().startswith(b"HTTP/1.1 200")


def test_an_upgrade_is_nothing_to_a_target_of_http_2(talk: Dialogue) -> None:
    client = talk.client()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    there = http2_target(talk)
    assert there.hears() == [Headers(1, up2(ask(), via=b"1.1"), end=True)]
    there.answers(1, b"ok")
    assert client.hears().startswith(b"HTTP/1.1 200")


# The target refuses, or leaves


def test_a_refused_stream_is_tried_at_another_target_and_nobody_is_blamed(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk, ask(b"POST"))
    a.resets(1, REFUSED_STREAM)
    b = http2_target(talk, "b")
    assert b.hears() == [Headers(1, up2(ask(b"POST")), end=True)]
    b.answers(1)
    assert status_of(client.hears(), 1) == 200
    assert (talk.reports, talk.record.attempts) == ([], 2)
    assert talk.totals("a")["failures"] == 0


def test_a_refused_stream_of_the_only_target_is_tried_there_again(talk: Dialogue) -> None:
    client, there = both(talk, ask(b"POST"))
    there.resets(1, REFUSED_STREAM)
    assert streams(there.hears()) == [3]
    there.answers(3)
    assert (status_of(client.hears(), 1), talk.reports) == (200, [])


def test_a_target_that_refuses_for_ever_is_asked_so_often(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(retry=RetrySpec(attempts=3)))
    client, there = both(talk)
    for stream in (1, 3, 5):
        there.resets(stream, REFUSED_STREAM)
    heard = client.hears()
    assert (status_of(heard, 1), talk.record.error) == (502, "refused_stream (upstream)")
    assert talk.record.attempts <= 3
    assert talk.reports == []


def test_streams_above_the_last_of_a_goaway_are_sent_again(talk: Dialogue) -> None:
    client, there = both(talk, ask(b"POST"))
    client.asks(ask(b"POST"), b"body")
    there.hears()
    there.goes_away(1)
    second = http2_target(talk)
    assert second.hears() == [Headers(1, up2(ask(b"POST"), 1)), Data(1, b"body", end=True)]
    second.answers(1)
    there.answers(1)
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3), talk.reports) == (200, 200, [])
    assert repr(there) == "closed"


def test_streams_up_to_the_last_of_a_goaway_finish_and_no_new_ones_come(talk: Dialogue) -> None:
    client, there = both(talk)
    there.goes_away(0x7FFF_FFFF)
    client.asks(ask())
    second = http2_target(talk)
    assert (there.hears(), streams(second.hears())) == ([], [1])
    second.answers(1)
    there.goes_away(1)
    there.answers(1)
    assert (there.hears(), repr(there)) == ([Goaway(0, NO_ERROR)], "closed")
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3)) == (200, 200)


def test_an_idle_connection_that_says_goaway_costs_no_request(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1)
    there.hears()
    there.goes_away(1)
    assert (there.hears(), repr(there)) == ([Goaway(0, NO_ERROR)], "closed")
    client.asks(ask(b"POST"))
    http2_target(talk).answers(1)
    assert (status_of(client.hears(), 3), talk.reports) == (200, [])


def test_a_body_that_was_let_go_is_not_sent_again_in_part(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(retry=RetrySpec(buffer=10)))
    client, there = both(talk, ask(b"PUT"), end=False)
    client.data(1, bytes(11))
    there.hears()
    there.goes_away(0)
    heard = client.hears()
    assert (status_of(heard, 1), talk.record.error) == (502, "goaway (upstream)")
    assert (talk.dials, talk.reports) == ([], [])


def test_a_connection_that_was_lost_ends_only_what_was_on_it(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk, ask(b"POST"))
    client.asks(ask(b"POST"))
    b = http2_target(talk, "b")
    a.peer.resets()
    assert status_of(client.hears(), 1) == 502
    assert talk.in_flight == {"b": 1}
    b.answers(1)
    assert status_of(client.hears(), 3) == 200


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_requests_that_may_be_repeated_outlive_their_connection(make_dialogue: MakeDialogue, how: str) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk)
    getattr(a.peer, how)()
    b = http2_target(talk, "b")
    b.answers(1)
    assert status_of(client.hears(), 1) == 200
    assert talk.reports == [("web", "a", "reset")]


def test_a_stream_that_the_target_resets_before_its_answer_is_tried_again_if_it_may(
    make_dialogue: MakeDialogue,
) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk)
    client.asks(ask(b"POST"))
    b = http2_target(talk, "b")
    a.resets(1, INTERNAL_ERROR)
    c = http2_target(talk, "c")
    assert streams(c.hears()) == [1]
    c.answers(1)
    b.answers(1)
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3)) == (200, 200)


def test_a_reset_by_no_error_before_an_answer_is_a_failure_too(talk: Dialogue) -> None:
    client, there = both(talk, ask(b"POST"))
    there.resets(1, NO_ERROR)
    assert (status_of(client.hears(), 1), talk.record.error) == (502, "reset (upstream)")


def test_a_reset_behind_a_whole_answer_is_no_failure(talk: Dialogue) -> None:
    """RFC 9113 8.1: that is how a target says that it wants no more of the request."""
    client, there = both(talk, ask(b"POST"), end=False)
    with there.at_once():
        there.answers(1, b"no", b"413")
        there.resets(1, NO_ERROR)
    heard = client.hears()
    assert (status_of(heard, 1), body(heard, 1), talk.record.error) == (413, b"no", None)
    assert repr(there) == "open"


# Answers that no target may give


BROKEN: dict[str, list[Field]] = {
    "no status": [(b"x", b"y")],
    "a status of no digits": [(b":status", b"2x0")],
    "101": [(b":status", b"101")],
    "a field of one connection": [(b":status", b"200"), (b"connection", b"close")],
    "upper case": [(b":status", b"200"), (b"Upper", b"x")],
    "a line's end in a value": [(b":status", b"200"), (b"x", b"a\r\nb")],
    "a request's pseudo-header field": [(b":status", b"200"), (b":path", b"/")],
    "two lengths": [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"1")],
    "too many fields": [(b":status", b"200"), *[(b"x", b"")] * MAX_FIELDS],
    "too large": [(b":status", b"200"), *[(b"x%d" % number, b"a" * 16_000) for number in range(17)]],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_answer_is_502_and_ends_no_other_stream(talk: Dialogue, name: str) -> None:
    client, there = both(talk)
    client.asks(ask())
    there.hears()
    if name == "too large":
        # Of a size that frames allow, since names and values repeat.
        with there.at_once():
            there.head(1, [(b":status", b"100"), (b"x", b"a" * 3_000)])
        fields = [(b":status", b"200"), *[(b"x", b"a" * 3_000)] * 90]
    else:
        fields = BROKEN[name]
    there.head(1, fields, end=True)
    heard = client.hears()
    assert (status_of(heard, 1), talk.record.error) == (502, "malformed (upstream)")
    assert there.hears() == [Reset(1, PROTOCOL_ERROR)]
    assert talk.reports == [("web", "a", "malformed")]
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


@pytest.mark.parametrize(
    ("length", "sent"), [(b"3", b"four"), (b"5", b"four")], ids=["longer than was said", "shorter than was said"]
)
def test_an_answer_of_another_length_is_broken_off(talk: Dialogue, length: bytes, sent: bytes) -> None:
    client, there = both(talk)
    there.head(1, [(b":status", b"200"), (b"content-length", length)])
    there.data(1, sent, end=True)
    assert client.hears()[-1] == Reset(1, INTERNAL_ERROR)
    assert (there.hears(), talk.record.error) == ([Reset(1, PROTOCOL_ERROR)], "malformed (upstream)")


@pytest.mark.parametrize(
    "trailers", [[(b":status", b"200")], [(b"content-length", b"1")], [(b"connection", b"x")]], ids=str
)
def test_malformed_trailers_break_the_answer_off(talk: Dialogue, trailers: list[Field]) -> None:
    client, there = both(talk)
    there.answers(1, b"half", end=False)
    there.head(1, trailers, end=True)
    assert client.hears()[-1] == Reset(1, INTERNAL_ERROR)
    assert talk.record.error == "malformed (upstream)"


def test_a_body_for_head_breaks_the_answer_off(talk: Dialogue) -> None:
    client, there = both(talk, ask(b"HEAD"))
    there.head(1, [(b":status", b"200"), (b"content-length", b"4")])
    there.data(1, b"body", end=True)
    heard = client.hears()
    assert body(heard, 1) == b""
    assert heard[-1] == Reset(1, INTERNAL_ERROR)


def test_data_before_an_answers_head_is_malformed(talk: Dialogue) -> None:
    client, there = both(talk)
    there.data(1, b"body")
    assert (status_of(client.hears(), 1), talk.record.error) == (502, "malformed (upstream)")


def test_interim_answers_without_end_are_malformed(talk: Dialogue) -> None:
    client, there = both(talk)
    for _ in range(MAX_INTERIM):
        there.head(1, [(b":status", b"100")])
    assert len(client.hears()) == MAX_INTERIM
    there.head(1, [(b":status", b"100")])
    assert (status_of(client.hears(), 1), talk.record.error) == (502, "malformed (upstream)")


def test_an_answer_to_nobody_is_passed_over(talk: Dialogue) -> None:
    client, there = both(talk)
    client.resets(1, CANCEL)
    there.hears()
    there.answers(1, b"late")
    assert (there.hears(), repr(there)) == ([], "open")


def test_an_answer_on_a_stream_that_was_never_opened_ends_the_connection(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(3)
    assert (there.hears(), repr(there)) == ([Goaway(0, PROTOCOL_ERROR)], "closed")
    assert status_of(client.hears(), 1) == 502


def test_a_second_answer_on_a_stream_is_an_error_of_that_stream(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1)
    client.hears()
    there.answers(1)
    assert (there.hears(), client.hears()) == ([Reset(1, STREAM_CLOSED)], [])


def test_what_comes_on_a_stream_that_was_given_up_is_granted_to_the_others(talk: Dialogue) -> None:
    client, there = both(talk)
    granted = sum(each.increment for each in there.hears_all() if hasattr(each, "increment"))
    client.resets(1, CANCEL)
    there.head(1, [(b":status", b"200")])
    for _ in range(300):
        there.data(1, bytes(16_384))
        granted += there.granted(0)
    assert granted >= 150 * 16_384
    assert repr(there) == "open"


def test_a_fast_answer_is_given_a_larger_window(talk: Dialogue) -> None:
    client, there = both(talk)
    client.grants(0, 1 << 24)
    client.grants(1, 1 << 24)
    there.head(1, [(b":status", b"200")])
    granted = 0
    for _ in range(20):
        there.data(1, bytes(16_000))
        granted += there.granted(1)
    assert granted - 20 * 16_000 > FAST_WINDOW // 4
    there.ends(1)
    assert len(body(client.hears(), 1)) == 20 * 16_000


# Deadlines


def test_a_target_that_does_not_answer_is_504_on_its_stream_alone(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=10.0))
    client, there = both(talk, ask(b"POST"))
    talk.pass_time(5)
    client.asks(ask())
    there.hears()
    talk.pass_time(5.2)
    assert there.hears() == [Reset(1, CANCEL)]
    assert (status_of(client.hears(), 1), talk.record.error) == (504, "response_timeout (upstream)")
    assert talk.reports == [("web", "a", "timeout")]
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


def test_a_target_that_stops_within_its_answer_breaks_it_off(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=10.0))
    client, there = both(talk)
    there.head(1, [(b":status", b"200")])
    talk.pass_time(9)
    there.data(1, b"half")
    talk.pass_time(9)
    assert there.hears() == []
    talk.pass_time(1.2)
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert client.hears()[-1] == Reset(1, INTERNAL_ERROR)
    assert talk.record.error == "response_timeout (upstream)"


def test_a_target_is_not_to_blame_while_the_client_sends(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=10.0, body_timeout=60.0))
    client, there = both(talk, end=False)
    talk.pass_time(15)
    assert there.hears() == []
    client.ends(1)
    there.pings()
    talk.pass_time(10.2)
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert talk.record.error == "response_timeout (upstream)"


def test_a_target_that_does_not_take_the_request_is_504(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=10.0, body_timeout=60.0))
    client = http2_client(talk)
    client.asks(ask(b"POST"), b"body", end=False)
    there = http2_target(talk, s4=0)
    talk.pass_time(10.2)
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert status_of(client.hears(), 1) == 504


def test_a_target_is_not_to_blame_while_the_client_does_not_read(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=5.0, body_timeout=60.0))
    client = http2_client(talk, s4=0)
    client.asks(ask())
    there = http2_target(talk)
    there.answers(1, b"body", end=False)
    talk.pass_time(18)
    assert there.hears()[-1] != Reset(1, CANCEL)
    client.grants(1, 100)
    there.ends(1)
    assert client.hears()[-1] == Data(1, b"", end=True)


def test_a_grpc_call_with_a_deadline_has_no_other(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=5.0))
    client, there = both(talk, ask(b"POST", b"/", *GRPC, (b"grpc-timeout", b"1M")))
    talk.pass_time(15)
    assert there.hears() == []
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_stream_of_grpc_messages_may_be_silent_for_long(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=5.0))
    _client, there = both(talk, ask(b"POST", b"/", *GRPC))
    there.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    talk.pass_time(15)
    assert Reset(1, CANCEL) not in there.hears()
    there.head(1, [(b"grpc-status", b"0")], end=True)
    assert getattr(talk.record, "grpc_status", None) == 0


def test_a_grpc_call_that_is_not_answered_at_all_is_unavailable(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=5.0))
    _client, there = both(talk, ask(b"POST", b"/", *GRPC))
    talk.pass_time(5.2)
    assert there.hears() == [Reset(1, CANCEL)]
    assert talk.record.error == "response_timeout (upstream)"


def test_a_target_that_says_nothing_is_asked_whether_it_is_there_and_cut(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=600.0))
    client, there = both(talk, ask(b"POST"))
    talk.pass_time(19.8)
    assert there.hears() == []
    talk.pass_time(0.4)
    assert there.hears() == [Ping(PING)]
    talk.pass_time(19.6)
    assert repr(there) == "open"
    talk.pass_time(0.6)
    assert repr(there) == "aborted"
    assert (status_of(client.hears(), 1), talk.in_flight) == (502, {})


def test_a_target_that_answers_the_ping_may_take_its_time(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=600.0))
    client, there = both(talk)
    for _ in range(5):
        talk.pass_time(20.2)
        assert there.hears() == [Ping(PING)]
        there.pings(PING, ack=True)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_target_that_says_something_is_not_asked(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(response_timeout=600.0))
    _client, there = both(talk)
    there.head(1, [(b":status", b"200")])
    for _ in range(4):
        talk.pass_time(15)
        there.data(1, b"x")
        assert there.hears() == []
    there.ends(1)


def test_an_idle_connection_is_closed_before_most_targets_would(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1)
    there.hears()
    talk.pass_time(54.8)
    assert (there.hears(), repr(there)) == ([], "open")
    talk.pass_time(0.4)
    assert (there.hears(), repr(there)) == ([Goaway(0, NO_ERROR)], "closed")
    client.asks(ask())
    http2_target(talk).answers(1)
    assert status_of(client.hears(), 3) == 200


def test_a_target_that_does_not_read_the_goodbye_is_cut(talk: Dialogue) -> None:
    _client, there = both(talk)
    there.answers(1)
    there.peer.stops_reading()
    talk.pass_time(55.2)
    assert repr(there) == "closing"
    talk.pass_time(20.2)
    assert repr(there) == "aborted"


# gRPC


def test_an_unavailable_call_goes_to_another_target_before_anything_of_an_answer(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk, ask(b"POST", b"/", *GRPC))
    a.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"14")], end=True)
    b = http2_target(talk, "b")
    b.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")], end=True)
    heard = client.hears()
    assert streams(heard) == [1]
    assert (talk.record.target, talk.record.attempts, getattr(talk.record, "grpc_status", None)) == ("b", 2, 0)
    assert talk.reports == [("web", "a", "bad_status")]


def test_an_unavailable_call_of_the_only_target_is_passed_on(talk: Dialogue) -> None:
    client, there = both(talk, ask(b"POST", b"/", *GRPC))
    there.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"14")], end=True)
    (head,) = client.hears()
    assert isinstance(head, Headers)
    assert (b"grpc-status", b"14") in head.fields
    assert getattr(talk.record, "grpc_status", None) == 14


@pytest.mark.parametrize("status", [b"13", b"4", b"1"])
def test_any_other_status_is_the_calls_own(make_dialogue: MakeDialogue, status: bytes) -> None:
    talk = make_dialogue(web2())
    client, a = both(talk, ask(b"POST", b"/", *GRPC))
    a.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", status)], end=True)
    assert streams(client.hears()) == [1]
    assert (talk.record.attempts, talk.reports) == (1, [])
