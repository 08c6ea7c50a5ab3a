"""One exchange over each pair of protocols: what arrives is what was sent, whichever carries it."""

import gc
from collections.abc import Callable, Iterator

import pytest

from tests.support.dialogue import Dialogue, only
from tests.support.ends import Client, Http1Client, Http1Target, Http2Client, Http2Target, Target
from tests.support.http2_peer import Reset, only2

PIECES = (b"abc", b"d" * 20_000, b"e")
WHOLE = b"".join(PIECES)


class Pair:
    """A client of one protocol, and one target of the same or the other."""

    def __init__(self, down: str, up: str) -> None:
        self.down = down
        self.up = up
        self.dialogue = Dialogue(only() if up == "h1" else only2())
        self.client: Client = (Http1Client if down == "h1" else Http2Client)(self.dialogue)

    def accept(self) -> Target:
        """The target accepts the one connection that is wanted."""
        return (Http1Target if self.up == "h1" else Http2Target)(self.dialogue)

    def same(self) -> bool:
        return self.down == self.up


PAIRS = [(down, up) for down in ("h1", "h2") for up in ("h1", "h2")]


@pytest.fixture(params=PAIRS, ids=["-".join(each) for each in PAIRS])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Each pair of protocols; afterwards nothing is in flight."""
    made = Pair(*request.param)
    yield made
    assert made.dialogue.in_flight == {}
    made.dialogue.close()


def asked(pair: Pair, method: bytes = b"GET") -> tuple[Client, Target]:
    """A request without a body has reached its target."""
    pair.client.asks_all(method)
    return pair.client, pair.accept()


def asking(pair: Pair, length: int | None = None) -> tuple[Client, Target]:
    """The head of a request has reached its target; its body has not begun."""
    pair.client.asks(b"POST", b"/p", length=length)
    return pair.client, pair.accept()


# Messages


def test_a_request_arrives(pair: Pair) -> None:
    pair.client.asks_all(b"GET", b"/a?b=%20c", (b"accept", b"a/b"), (b"x-empty", b""))
    target = pair.accept()
    arrived = target.hears()
    assert (arrived.method, arrived.path, arrived.host) == (b"GET", b"/a?b=%20c", b"x")
    assert arrived.fields == [(b"accept", b"a/b"), (b"x-empty", b"")]
    assert (arrived.body, arrived.whole) == (b"", True)
    target.answers(204, bodiless=True)


def test_an_answer_arrives(pair: Pair) -> None:
    client, target = asked(pair)
    target.answers(404, (b"x", b"a:b"), (b"set-cookie", b"c"), (b"set-cookie", b"d"), length=2)
    target.sends(b"no")
    target.ends()
    arrived = client.hears()
    assert (arrived.status, arrived.length, arrived.body) == (404, 2, b"no")
    assert arrived.fields == [(b"x", b"a:b"), (b"set-cookie", b"c"), (b"set-cookie", b"d")]
    assert arrived.whole


@pytest.mark.parametrize("length", [None, len(WHOLE)], ids=["of unknown length", "of known length"])
def test_a_requests_body_arrives_as_it_comes(pair: Pair, length: int | None) -> None:
    client, target = asking(pair, length)
    for count, piece in enumerate(PIECES, 1):
        client.sends(piece)
        assert target.hears().body == b"".join(PIECES[:count])
    client.ends()
    arrived = target.hears()
    assert (arrived.body, arrived.length, arrived.whole) == (WHOLE, length, True)
    target.answers(204, bodiless=True)
    assert client.hears().whole


@pytest.mark.parametrize("length", [None, len(WHOLE)], ids=["of unknown length", "of known length"])
def test_an_answers_body_arrives_as_it_comes(pair: Pair, length: int | None) -> None:
    client, target = asked(pair)
    target.answers(length=length)
    for count, piece in enumerate(PIECES, 1):
        target.sends(piece)
        assert client.hears().body == b"".join(PIECES[:count])
    target.ends()
    arrived = client.hears()
    assert (arrived.body, arrived.length, arrived.whole) == (WHOLE, length, True)


def test_bodies_go_both_ways_at_once(pair: Pair) -> None:
    client, target = asking(pair)
    target.answers()
    for number in range(3):
        client.sends(b"up %d" % number)
        target.sends(b"down %d" % number)
    assert (target.hears().body, client.hears().body) == (b"up 0up 1up 2", b"down 0down 1down 2")
    client.ends()
    target.hears()
    target.ends()
    assert client.hears().whole


def test_an_empty_body_of_unknown_length_arrives(pair: Pair) -> None:
    client, target = asking(pair)
    client.ends()
    assert (target.hears().body, target.hears().whole) == (b"", True)
    target.answers()
    target.ends()
    assert (client.hears().body, client.hears().whole) == (b"", True)


def test_trailers_arrive_both_ways(pair: Pair) -> None:
    client, target = asking(pair)
    client.sends(b"up")
    client.ends((b"x-sum", b"1"), (b"x-more", b"2"))
    assert target.hears().trailers == [(b"x-sum", b"1"), (b"x-more", b"2")]
    target.answers()
    target.sends(b"down")
    target.ends((b"x-sum", b"3"))
    arrived = client.hears()
    assert (arrived.body, arrived.trailers, arrived.whole) == (b"down", [(b"x-sum", b"3")], True)


def test_trailers_without_a_body_arrive_both_ways(pair: Pair) -> None:
    client, target = asking(pair)
    client.ends((b"x-sum", b"1"))
    assert (target.hears().body, target.hears().trailers) == (b"", [(b"x-sum", b"1")])
    target.answers()
    target.ends((b"x-sum", b"2"))
    assert (client.hears().body, client.hears().trailers) == (b"", [(b"x-sum", b"2")])


def test_interim_answers_arrive_before_the_final_one(pair: Pair) -> None:
    client, target = asked(pair)
    target.interim(103, (b"link", b"</s.css>"))
    assert (client.hears().interims, client.hears().status) == ([103], 0)
    target.answers(204, bodiless=True)
    assert client.hears().status == 204


def test_continue_is_the_targets_to_say(pair: Pair) -> None:
    pair.client.asks(b"POST", b"/", (b"expect", b"100-continue"), length=2)
    target = pair.accept()
    assert (b"expect", b"100-continue") in target.hears().fields
    target.interim(100)
    assert pair.client.hears().interims == [100]
    pair.client.sends(b"ok")
    pair.client.ends()
    assert target.hears().body == b"ok"
    target.answers(204, bodiless=True)


def test_an_answer_to_head_tells_a_length_and_has_no_body(pair: Pair) -> None:
    client, target = asked(pair, b"HEAD")
    assert target.hears().method == b"HEAD"
    target.answers(200, length=1000, bodiless=True)
    arrived = client.hears()
    assert (arrived.status, arrived.length, arrived.body, arrived.whole) == (200, 1000, b"", True)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_ends_with_its_head(pair: Pair, status: int) -> None:
    client, target = asked(pair)
    target.answers(status, (b"etag", b'"1"'), bodiless=True)
    arrived = client.hears()
    assert (arrived.status, arrived.fields, arrived.whole) == (status, [(b"etag", b'"1"')], True)


def test_a_client_goes_on_after_an_answer_without_a_body(pair: Pair) -> None:
    client, target = asked(pair, b"HEAD")
    target.answers(200, bodiless=True)
    client.hears()
    if isinstance(client, Http1Client):
        client.codec.start_next_cycle()
    client.asks_all(b"GET", b"/next")
    assert pair.dialogue.dials == []
    assert pair.dialogue.in_flight == {"a": 1}
    client.gives_up()


# Early answers


def test_an_early_answer_arrives_and_ends_the_request_at_the_target(pair: Pair) -> None:
    client, target = asking(pair)
    client.sends(b"the beginning")
    target.answers(413, length=4)
    target.sends(b"stop")
    target.ends()
    arrived = client.hears()
    assert (arrived.status, arrived.body, arrived.whole) == (413, b"stop", True)
    assert pair.dialogue.in_flight == {}
    client_, target_ = repr(client.peer), repr(target.peer)
    # Of HTTP/1 the connection ends, of HTTP/2 the stream.
    assert client_ == ("half-closed" if pair.down == "h1" else "open")
    assert target_ == ("closed" if pair.up == "h1" else "open")


# Giving up


def test_a_client_that_gives_up_ends_the_request_at_the_target(pair: Pair) -> None:
    client, target = asked(pair)
    client.gives_up()
    assert target.hears().broken or repr(target.peer) == "aborted"
    assert (pair.dialogue.in_flight, pair.dialogue.record.status) == ({}, 499)
    assert pair.dialogue.reports == []


def test_a_client_that_gives_up_within_its_body_ends_the_request_at_the_target(pair: Pair) -> None:
    client, target = asking(pair)
    client.sends(b"half")
    client.gives_up()
    arrived = target.hears()
    assert (arrived.body, arrived.whole, arrived.broken) == (b"half", False, True)


def test_a_client_that_gives_up_within_the_answer_ends_it_at_the_target(pair: Pair) -> None:
    client, target = asked(pair)
    target.answers()
    target.sends(b"half")
    client.gives_up()
    assert target.hears().broken or repr(target.peer) == "aborted"
    assert (pair.dialogue.record.status, pair.dialogue.record.error) == (200, "client_left (downstream)")


def test_an_answer_that_breaks_off_is_broken_off_for_the_client(pair: Pair) -> None:
    client, target = asked(pair)
    target.answers()
    target.sends(b"half")
    assert client.hears().body == b"half"
    target.gives_up()
    arrived = client.hears()
    assert (arrived.whole, arrived.broken) == (False, True)
    assert (pair.dialogue.record.error, pair.dialogue.reports) == ("reset (upstream)", [("web", "a", "reset")])


def test_a_target_that_breaks_off_before_it_answers_is_502(pair: Pair) -> None:
    pair.client.asks_all(b"POST")
    target = pair.accept()
    target.gives_up()
    assert pair.client.hears().status == 502
    assert pair.dialogue.record.error == "reset (upstream)"


# Back-pressure


def test_a_client_that_does_not_read_holds_the_target(pair: Pair) -> None:
    client, target = asked(pair)
    target.answers()
    (client.peer.peer if isinstance(client, Http2Client) else client.peer).stops_reading()
    sent, room = 0, 65_535
    while sent < 256_000 and room >= 8_000:
        target.sends(bytes(8_000))
        sent += 8_000
        if isinstance(target, Http2Target):
            room += target.peer.granted(1) - 8_000
    if isinstance(target, Http1Target):
        assert repr(target.peer) == "held"
    else:
        assert sent < 256_000, "what waits here is granted anew"
    (client.peer.peer if isinstance(client, Http2Client) else client.peer).reads_on()
    if isinstance(client, Http2Client):
        client.peer.grants(0, 1 << 20)
        client.peer.grants(1, 1 << 20)
    target.ends()
    assert (len(client.hears().body), client.hears().whole) == (sent, True)


def test_a_target_that_does_not_read_holds_the_client(pair: Pair) -> None:
    client, target = asking(pair)
    (target.peer.peer if isinstance(target, Http2Target) else target.peer).stops_reading()
    sent, room = 0, 65_535
    while sent < 128_000 and room >= 8_000:
        client.sends(bytes(8_000))
        sent += 8_000
        if isinstance(client, Http2Client):
            room += client.peer.granted(1) - 8_000
    if isinstance(client, Http1Client):
        assert repr(client.peer) == "held"
    else:
        assert sent < 128_000, "what waits here is granted anew"
    (target.peer.peer if isinstance(target, Http2Target) else target.peer).reads_on()
    if isinstance(target, Http2Target):
        target.peer.grants(0, 1 << 20)
        target.peer.grants(1, 1 << 20)
    client.ends()
    assert (len(target.hears().body), target.hears().whole) == (sent, True)
    target.answers(204, bodiless=True)


# Nothing is left


def talk_plainly(pair: Pair) -> None:
    client, target = asking(pair)
    client.sends(b"up")
    client.ends((b"x-sum", b"1"))
    target.answers()
    target.sends(b"down")
    target.ends((b"x-sum", b"2"))


def talk_and_answer_early(pair: Pair) -> None:
    _, target = asking(pair)
    target.answers(413, length=0)


def talk_and_leave(pair: Pair) -> None:
    client, _ = asked(pair)
    client.gives_up()


def talk_and_break_off(pair: Pair) -> None:
    _, target = asked(pair, b"POST")
    target.gives_up()


def talk_and_break_off_within(pair: Pair) -> None:
    _, target = asked(pair)
    target.answers()
    target.sends(b"half")
    target.gives_up()


def talk_and_refuse(pair: Pair) -> None:
    pair.client.asks_all(b"GET")
    pair.dialogue.refuse()


TALKS = [
    talk_plainly,
    talk_and_answer_early,
    talk_and_leave,
    talk_and_break_off,
    talk_and_break_off_within,
    talk_and_refuse,
]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize(("down", "up"), PAIRS)
def test_no_cycle_is_left_of_an_exchange(talk: Callable[[Pair], None], down: str, up: str) -> None:
    """What is over is freed at once and not by the collector, which a busy worker cannot afford to wait for."""
    pair = Pair(down, up)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        talk(pair)
        pair.dialogue.loop.settle()
        gc.collect()
        left = sorted({type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("equipoise.")})
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()
        pair.dialogue.close()
    assert left == []


def test_a_stream_that_is_given_up_is_reset_at_the_target_and_no_other() -> None:
    dialogue = Dialogue(only2())
    client = Http2Client(dialogue)
    client.asks_all(b"GET")
    target = Http2Target(dialogue)
    client.asks_all(b"GET")
    target.peer.hears()
    client.peer.resets(1, 8)
    assert target.peer.hears() == [Reset(1, 8)]
    assert dialogue.in_flight == {"a": 1}
    target.peer.answers(3)
    dialogue.close()
