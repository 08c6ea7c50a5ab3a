"""Requests of HTTP/2: their limits, their deadlines, their endings."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from equipoise.model import RouteSpec, TargetState
from equipoise.proxy.services import LogPort
from equipoise.wire.http2_errors import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
)
from tests.support.dialogue import OK, Dialogue, limits, only
from tests.support.http2_peer import (
    Data,
    Field,
    Frame,
    Headers,
    Http2Peer,
    Reset,
    ask,
    body,
    down2,
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


# Limits of requests


def many(count: int) -> list[Field]:
    return [(b"x-%d" % number, b"") for number in range(count)]


REFUSED: dict[str, tuple[list[Field], int]] = {
    "too many fields": (ask(b"GET", b"/", *many(102)), 431),
    "fields that are too large": (ask(b"GET", b"/", (b"x", b"a" * 33_000)), 431),
    "a path that is too long": (ask(b"GET", b"/" + b"a" * 8_192), 414),
    "a body that says to be too large": (ask(b"POST", b"/", (b"content-length", b"101")), 413),
    "an expectation that nobody knows": (ask(b"GET", b"/", (b"expect", b"tea")), 417),
    "CONNECT": ([(b":method", b"CONNECT"), (b":authority", b"x:80")], 405),
    "a protocol other than WebSocket": ([(b":method", b"CONNECT"), (b":protocol", b"tcp"), *ask()[1:]], 501),
}


def exists(name: str, end: bool) -> bool:
    """Whether there is such a request: one that says a length does not end with its head."""
    return not (end and any(pair[0] == b"content-length" for pair in REFUSED[name][0]))


@pytest.mark.parametrize(
    ("name", "end"), [(name, end) for name in REFUSED for end in (True, False) if exists(name, end)]
)
def test_a_request_beyond_a_limit_is_answered_and_reaches_nobody(
    make_dialogue: MakeDialogue, name: str, end: bool
) -> None:
    fields, status = REFUSED[name]
    talk = make_dialogue(only2(), limits=limits(request_body=100))
    client = http2_client(talk)
    client.asks(fields, end=end)
    heard = client.hears()
    assert status_of(heard, 1) == status
    assert problem_of(heard, 1)["status"] == status
    assert (heard[-1] == Reset(1, NO_ERROR)) is not end, "what is left of the request is not wanted"
    assert (talk.dials, talk.record.status) == ([], status)
    client.asks(ask(path=b"/next"))
    there = http2_target(talk)
    assert there.hears() == [Headers(1, up2(ask(path=b"/next")), end=True)], "the connection goes on"
    there.answers(1)


def test_a_request_within_its_limits_passes(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(request_body=100, header_count=3))
    client = http2_client(talk)
    client.asks(ask(b"POST", b"/", (b"content-length", b"100"), (b"expect", b"100-continue"), (b"x", b"")), bytes(100))
    there = http2_target(talk)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_body_that_grows_too_large_is_413(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(request_body=100))
    client, there = both(talk, end=False)
    client.data(1, bytes(100))
    assert client.hears() == []
    client.data(1, b"x")
    heard = client.hears()
    assert (status_of(heard, 1), heard[-1]) == (413, Reset(1, NO_ERROR))
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert (talk.record.error, talk.reports) == ("body_too_large (downstream)", [])


# Own answers


def test_a_problem_is_answered_in_json_with_the_requests_id(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(pool(h2c("a", 1, state=TargetState.DOWN)))
    client = http2_client(talk)
    client.asks(ask())
    heard = client.hears()
    details = problem_of(heard, 1)
    assert (details["status"], details["kind"]) == (503, "no_target")
    assert details["request_id"] == "0000000000000000"
    assert field_of(heard, 1, b"retry-after") == b"1"
    assert field_of(heard, 1, b"x-request-id") == b"0000000000000000"
    assert field_of(heard, 1, b"content-type") == b"application/problem+json"


def test_a_problem_for_head_has_no_body(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), routes=(RouteSpec(pool="web", host="y"),))
    client = http2_client(talk)
    client.asks(ask(b"HEAD"))
    heard = client.hears()
    assert (status_of(heard, 1), body(heard, 1)) == (404, b"")
    assert heard[-1] == Data(1, b"", end=True)


@pytest.mark.parametrize(
    ("state", "code", "message"),
    [(TargetState.DOWN, b"14", b"No target of pool web can take the request.")],
)
def test_a_grpc_call_is_answered_by_its_status(
    make_dialogue: MakeDialogue, state: TargetState, code: bytes, message: bytes
) -> None:
    talk = make_dialogue(pool(h2c("a", 1, state=state)))
    client = http2_client(talk)
    client.asks(ask(b"POST", b"/", *GRPC))
    assert client.hears() == [
        Headers(
            1,
            [
                *((b":status", b"200"), (b"content-type", b"application/grpc")),
                *((b"grpc-status", code), (b"grpc-message", message)),
                (b"x-request-id", b"0000000000000000"),
            ],
            end=True,
        )
    ]
    assert talk.record.status == 503
    assert getattr(talk.record, "grpc_status", None) == int(code)


def test_a_grpc_call_that_breaks_off_ends_with_its_status(talk: Dialogue) -> None:
    client, there = both(talk, *GRPC)
    there.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    there.data(1, b"\0\0\0\0\0")
    client.hears()
    there.resets(1, INTERNAL_ERROR)
    (trailers,) = client.hears()
    assert isinstance(trailers, Headers)
    assert (trailers.fields[0], trailers.end) == ((b"grpc-status", b"14"), True)
    assert getattr(talk.record, "grpc_status", None) == 14


def test_an_answer_that_breaks_off_resets_its_stream_alone(talk: Dialogue) -> None:
    client, there = both(talk)
    client.asks(ask())
    there.answers(1, b"half", end=False)
    client.hears()
    there.resets(1, CANCEL)
    assert client.hears() == [Reset(1, INTERNAL_ERROR)]
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


# Early answers


def test_an_early_answer_ends_with_a_reset_that_is_no_error(talk: Dialogue) -> None:
    client, there = both(talk, end=False)
    there.answers(1, b"no", b"403")
    assert client.hears() == [Headers(1, down2(b"403")), Data(1, b"no", end=True), Reset(1, NO_ERROR)]


def test_an_early_answer_that_waits_for_its_window_is_sent_before_the_reset(talk: Dialogue) -> None:
    client, there = both(talk, end=False, s4=0)
    there.answers(1, b"no", b"403")
    assert client.hears() == [Headers(1, down2(b"403"))]
    client.data(1, b"still sending")
    client.grants(1, 2)
    assert client.hears() == [Data(1, b"no", end=True), Reset(1, NO_ERROR)]


def test_an_answer_of_our_own_that_waits_for_its_window_is_sent_before_the_reset(talk: Dialogue) -> None:
    client = http2_client(talk, s4=0)
    client.asks(ask(b"POST", b"/", (b"expect", b"tea")), end=False)
    client.grants(1, 1_000)
    heard = client.hears()
    assert (status_of(heard, 1), heard[-1]) == (417, Reset(1, NO_ERROR))


def test_a_client_that_was_held_back_may_send_again_once_it_is_answered(talk: Dialogue) -> None:
    """Its window of the connection would be lost to its other requests otherwise."""
    client = http2_client(talk)
    client.asks(ask(b"POST"), end=False)
    there = http2_target(talk, s4=0)
    client.data(1, bytes(65_535))
    assert client.granted(0) == 0
    there.answers(1)
    client.asks(ask(b"POST"), end=False)
    sent, room = 0, 4 * 1024 * 1024 - 65_535
    while sent < 4 * 1024 * 1024 and room >= 16_384:
        client.data(1, bytes(16_384))
        sent += 16_384
        room += client.granted(0) - 16_384
    assert sent >= 4 * 1024 * 1024, "what comes behind the answer is dropped, and granted anew"


# The client gives up


def test_a_reset_ends_its_stream_alone(talk: Dialogue) -> None:
    client, there = both(talk)
    client.asks(ask())
    there.hears()
    client.resets(1, CANCEL)
    assert there.hears() == [Reset(1, CANCEL)]
    assert (talk.in_flight, talk.record.status, talk.reports) == ({"a": 1}, 499, [])
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


def test_a_reset_while_its_target_is_dialled_is_nobodys_failure(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask())
    client.resets(1, CANCEL)
    assert (talk.in_flight, talk.record.status) == ({}, 499)
    there = http2_target(talk)
    assert there.hears() == []
    client.asks(ask())
    assert streams(there.hears()) == [1], "the connection is of use to the next"
    there.answers(1)


def test_a_reset_within_an_answer_is_logged_with_its_status(talk: Dialogue) -> None:
    client, there = both(talk)
    there.answers(1, b"half", end=False)
    client.resets(1, CANCEL)
    assert there.hears() == [Reset(1, CANCEL)]
    assert (talk.record.status, talk.record.error) == (200, "client_left (downstream)")


# Deadlines


def test_a_body_that_stops_is_408_on_its_stream(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, end=False)
    client.asks(ask())
    talk.pass_time(9.8)
    client.data(1, b"x")
    talk.pass_time(9.8)
    assert client.hears() == []
    talk.pass_time(0.4)
    heard = client.hears()
    assert (status_of(heard, 1), heard[-1]) == (408, Reset(1, NO_ERROR))
    assert Reset(1, CANCEL) in there.hears()
    assert (talk.record.error, talk.reports) == ("body_timeout (downstream)", [])
    there.answers(3)
    assert status_of(client.hears(), 3) == 200


def test_a_body_that_is_held_back_is_not_the_clients_fault(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client = http2_client(talk)
    client.asks(ask(b"POST"), end=False)
    there = http2_target(talk, s4=0)
    client.data(1, bytes(60_000))
    talk.pass_time(30)
    assert client.hears() == []
    there.grants(1, 60_000)
    client.ends(1)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_body_that_is_whole_has_no_deadline(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, end=False)
    client.data(1, b"x", end=True)
    talk.pass_time(30)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_body_that_ends_with_trailers_has_no_deadline(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, end=False)
    client.head(1, [(b"x-sum", b"1")], end=True)
    talk.pass_time(30)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_client_that_takes_nothing_of_an_answer_is_given_up(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, s4=5)
    there.answers(1, b"0123456789", end=False)
    talk.pass_time(9.8)
    assert Reset(1, CANCEL) not in client.hears()
    talk.pass_time(10.4)
    assert client.hears() == [Reset(1, CANCEL)]
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert (talk.record.error, talk.reports) == ("client_left (downstream)", [])
    assert repr(client) == "open"


def test_a_client_that_takes_an_answer_slowly_is_served(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, s4=0)
    there.answers(1, b"0123456789")
    for _ in range(10):
        talk.pass_time(9)
        client.grants(1, 1)
    heard = client.hears()
    assert (body(heard, 1), heard[-1]) == (b"0123456789", Data(1, b"9", end=True))


def test_the_rest_of_a_whole_answer_that_nobody_takes_is_given_up(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(body_timeout=10.0))
    client, there = both(talk, s4=5)
    there.answers(1, b"0123456789")
    assert len(talk.records) == 1, "the exchange is over"
    talk.pass_time(20.4)
    assert client.hears()[-1] == Reset(1, CANCEL)
    assert len(talk.records) == 1


# The deadline of a gRPC call


def grpc_call(talk: Dialogue, timeout: bytes, *, end: bool = True) -> tuple[Http2Peer, Http2Peer]:
    client = http2_client(talk)
    client.asks(ask(b"POST", b"/s/m", *GRPC, (b"grpc-timeout", timeout)), b"\0\0\0\0\0", end=end)
    there = http2_target(talk)
    return client, there


@pytest.mark.parametrize("end", [True, False], ids=["whole", "going on"])
def test_a_grpc_call_whose_deadline_has_passed_is_ended_on_both_sides(talk: Dialogue, end: bool) -> None:
    client, there = grpc_call(talk, b"2S", end=end)
    talk.pass_time(1.8)
    assert client.hears() == []
    talk.pass_time(0.4)
    heard = client.hears()
    assert field_of(heard, 1, b"grpc-status") == b"4"
    assert there.hears()[-1] == Reset(1, CANCEL)
    assert (talk.record.error, talk.record.status, talk.reports) == ("deadline (downstream)", 504, [])


def test_a_grpc_call_whose_deadline_passes_within_its_answer_ends_with_the_status(talk: Dialogue) -> None:
    client, there = grpc_call(talk, b"2S")
    there.head(1, [(b":status", b"200"), (b"content-type", b"application/grpc")])
    talk.pass_time(2.2)
    heard = client.hears()
    assert isinstance(heard[-1], Headers)
    assert (heard[-1].fields[0], heard[-1].end) == ((b"grpc-status", b"4"), True)
    assert there.hears()[-1] == Reset(1, CANCEL)


def test_a_deadline_is_passed_on(talk: Dialogue) -> None:
    _client, there = grpc_call(talk, b"2S")
    assert field_of(there.hears(), 1, b"grpc-timeout") == b"2S"
    there.answers(1)


def test_a_deadline_that_is_kept_is_forgotten(talk: Dialogue) -> None:
    client, there = grpc_call(talk, b"2S")
    there.head(1, [(b":status", b"200")], end=True)
    client.hears()
    talk.pass_time(5)
    assert client.hears() == []


def test_a_timeout_that_is_none_is_not_ours_to_judge(talk: Dialogue) -> None:
    client, there = grpc_call(talk, b"soon")
    assert field_of(there.hears(), 1, b"grpc-timeout") == b"soon"
    talk.pass_time(20)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_header_of_that_name_is_nothing_to_other_requests(talk: Dialogue) -> None:
    client, there = both(talk, (b"grpc-timeout", b"1S"))
    talk.pass_time(5)
    there.answers(1)
    assert status_of(client.hears(), 1) == 200


# Retries and the log


def test_a_request_that_was_refused_a_connection_goes_to_another_target(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask(b"POST"), b"body")
    talk.refuse()
    b = http2_target(talk, "b")
    assert b.hears() == [Headers(1, up2(ask(b"POST"))), Data(1, b"body", end=True)]
    b.answers(1)
    assert status_of(client.hears(), 1) == 200
    assert talk.record.attempts == 2


def test_a_body_is_sent_again_with_its_trailers(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask(b"PUT"), b"body", end=False)
    client.head(1, [(b"x-sum", b"1")], end=True)
    again = [Headers(1, up2(ask(b"PUT"))), Data(1, b"body"), Headers(1, [(b"x-sum", b"1")], end=True)]
    a = http2_target(talk, "a")
    assert a.hears() == again
    a.peer.resets()
    b = http2_target(talk, "b")
    assert b.hears() == again
    b.answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_line_says_that_a_request_came_by_http_2(talk: Dialogue) -> None:
    _client, there = both(talk)
    there.answers(1, b"four")
    record = talk.record
    assert (record.protocol, record.status, record.bytes_out) == ("HTTP/2", 200, 4)
    assert (record.method, record.path, record.host) == ("GET", "/", "x")


def test_a_request_that_is_refused_by_a_limit_is_on_the_log(talk: Dialogue) -> None:
    client = http2_client(talk)
    client.asks(ask(b"GET", b"/", (b"expect", b"tea")))
    assert (talk.record.status, talk.record.protocol, talk.record.client) == (417, "HTTP/2", "192.0.2.1")


def test_a_field_that_is_to_be_logged_is(talk: Dialogue) -> None:
    talk.services.log = LogPort(talk.log, 16, ((b"accept", False), (b"authorization", True)))
    _client, there = both(talk, (b"accept", b"a/b"), (b"authorization", b"Basic x"))
    there.answers(1)
    assert getattr(talk.record, "headers", None) == {"accept": "a/b", "authorization": "[redacted]"}


def test_requests_are_routed_by_authority_and_path(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(
        pool(target("a", 1), name="one"),
        pool(h2c("z", 11), name="two", slot=10),
        routes=(RouteSpec(pool="two", path="/z"), RouteSpec(pool="one", host="x")),
    )
    client = http2_client(talk)
    client.asks(ask(path=b"/z"))
    http2_target(talk, "z").answers(1)
    client.asks(ask())
    talk.accept("a").says(OK)
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3)) == (200, 200)
    assert [record.pool for record in talk.records] == ["two", "one"]


def test_a_malformed_answer_of_http_1_is_502_on_its_stream(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only())
    client = http2_client(talk)
    client.asks(ask())
    talk.accept().says(b"nonsense" * 9)
    assert status_of(client.hears(), 1) == 502
    client.asks(ask())
    talk.accept().says(OK)
    heard = client.hears()
    assert (status_of(heard, 3), body(heard, 3)) == (200, b"ok")
