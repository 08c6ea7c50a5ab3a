"""The balancer's own health service, asked over HTTP/2."""

from collections.abc import Callable

import pytest

from equipoise.model import TargetState
from equipoise.wire.grpc import frame_message
from equipoise.wire.grpc_health import NOT_SERVING, SERVICE_UNKNOWN, SERVING, health_request, health_response
from tests.support.dialogue import Dialogue
from tests.support.http2_peer import Data, Headers, Http2Peer, Reset, ask, http2_client, only2, web2
from tests.support.ledgers import pool, target

Make = Callable[..., Dialogue]
CHECK = ask(b"POST", b"/grpc.health.v1.Health/Check", (b"content-type", b"application/grpc"), (b"te", b"trailers"))
WATCH = ask(b"POST", b"/grpc.health.v1.Health/Watch", (b"content-type", b"application/grpc"), (b"te", b"trailers"))
HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]


def answer(stream: int, status: int) -> list[Headers | Data]:
    return [
        Headers(stream, HEAD),
        Data(stream, frame_message(health_response(status))),
        Headers(stream, [(b"grpc-status", b"0")], end=True),
    ]


def asked(client: Http2Peer, service: str = "") -> int:
    return client.asks(CHECK, frame_message(health_request(service)))


@pytest.fixture
def dialogue(make_dialogue: Make) -> Dialogue:
    down = pool(target("z", 9, state=TargetState.DOWN), name="down", slot=40)
    return make_dialogue(web2(), down, grpc_health=True)


def test_a_pool_with_a_target_that_is_up_is_serving(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = asked(client, "web")
    assert client.hears() == answer(stream, SERVING)


def test_a_pool_whose_targets_are_down_is_not(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = asked(client, "down")
    assert client.hears() == answer(stream, NOT_SERVING)


def test_the_whole_is_serving_while_one_pool_is(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = asked(client)
    assert client.hears() == answer(stream, SERVING)


def test_the_whole_is_not_serving_when_no_pool_is(make_dialogue: Make) -> None:
    dialogue = make_dialogue(pool(target("z", 9, state=TargetState.DOWN)), grpc_health=True)
    client = http2_client(dialogue)
    stream = asked(client)
    assert client.hears() == answer(stream, NOT_SERVING)


def test_a_balancer_that_drains_is_not_serving(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    dialogue.path.begin_drain()
    dialogue.loop.settle()
    client.hears()
    stream = asked(client, "web")
    assert client.hears() == answer(stream, NOT_SERVING)


def test_an_unknown_pool_is_not_found(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = asked(client, "none")
    assert client.hears() == [Headers(stream, [*HEAD, (b"grpc-status", b"5")], end=True)]


def test_who_watches_is_told_at_once_and_of_every_change(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = client.asks(WATCH, frame_message(health_request("web")))
    assert client.hears() == [Headers(stream, HEAD), Data(stream, frame_message(health_response(SERVING)))]
    dialogue.pass_time(3)
    assert client.hears() == []
    dialogue.apply(pool(target("a", 1, state=TargetState.DOWN)), grpc_health=True)
    dialogue.pass_time(1.1)
    assert client.hears() == [Data(stream, frame_message(health_response(NOT_SERVING)))]
    dialogue.apply(only2(), grpc_health=True)
    dialogue.pass_time(1.1)
    assert client.hears() == [Data(stream, frame_message(health_response(SERVING)))]


def test_who_watches_an_unknown_pool_waits_for_it(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = client.asks(WATCH, frame_message(health_request("none")))
    assert client.hears()[1:] == [Data(stream, frame_message(health_response(SERVICE_UNKNOWN)))]


def test_who_stops_watching_is_forgotten(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    before = len(dialogue.services.deadlines.all)
    stream = client.asks(WATCH, frame_message(health_request("web")))
    assert len(dialogue.services.deadlines.all) == before + 1
    client.resets(stream, 8)
    assert len(dialogue.services.deadlines.all) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0",
        b"\1" + frame_message(b"")[1:],
        frame_message(b"")[:-1] + b"\7",
        frame_message(b"\xff"),
        frame_message(b"") * 2,
    ],
    ids=["nothing", "half a prefix", "compressed", "shorter than said", "no protocol buffer", "two messages"],
)
def test_what_is_no_request_is_an_error(dialogue: Dialogue, body: bytes) -> None:
    client = http2_client(dialogue)
    stream = client.asks(CHECK, body)
    (head,) = client.hears()
    assert isinstance(head, Headers)
    assert (head.stream, head.end) == (stream, True)
    assert (b"grpc-status", b"13") in head.fields


def test_a_request_that_is_too_long_is_cut_off(dialogue: Dialogue) -> None:
    client = http2_client(dialogue)
    stream = client.asks(CHECK, b"\0" * 8_000, end=False)
    head, reset = client.hears()
    assert isinstance(head, Headers)
    assert (b"grpc-status", b"8") in head.fields
    assert reset == Reset(stream, 0)


def test_calls_go_to_a_target_unless_it_is_switched_on(make_dialogue: Make) -> None:
    dialogue = make_dialogue(only2())
    asked(http2_client(dialogue))
    assert dialogue.dials == [dialogue.address("a")]
