"""A target's connection: how its answers end, what is refused, and when it is used again."""

from collections.abc import Callable

import pytest

from tests.support.dialogue import GET, OK, Dialogue, down, limits, ok_down, only, status_of, up, web

MakeDialogue = Callable[..., Dialogue]

HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"


# How an answer ends, and whether the connection is used again


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSum: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_whole_answer_frees_the_connection_however_it_is_cut(dialogue: Dialogue, answer: bytes, size: int) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(*[answer[i : i + size] for i in range(0, len(answer), size)])
    assert (repr(a), dialogue.in_flight) == ("open", {})
    assert dialogue.record.error is None
    assert repr(client) == "open"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"more than there is",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        b"HTTP/1.1 204 No Content\r\n\r\nmore",
    ],
)
def test_a_connection_that_ends_or_is_out_of_step_is_not_used_again(dialogue: Dialogue, answer: bytes) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(answer)
    assert repr(a) == "closed"
    assert status_of(client.hears()) in {200, 204}
    assert repr(client) == "open"


def test_bytes_beyond_an_answer_reach_no_client(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET + GET)
    dialogue.accept().says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert client.hears() == ok_down()


def test_an_answer_to_head_ends_with_its_head(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(HEAD)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert (repr(a), dialogue.record.bytes_out) == ("open", 0)


# What is refused


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/2 200\r\n\r\n" + bytes(20),
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17,
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_the_rules_is_502(dialogue: Dialogue, answer: bytes) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(answer)
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert status_of(client.hears().replace(interim, b"")) == 502
    assert repr(a) == "aborted"
    assert dialogue.record.error == "malformed (upstream)"
    assert repr(client) == "open"


def test_sixteen_interim_answers_are_not_too_many(dialogue: Dialogue) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(interim * 16 + OK)
    assert client.hears() == interim * 16 + ok_down()


def test_a_bad_chunk_in_the_middle_breaks_the_answer_off(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", b"zz\r\n")
    body = b"2\r\nok\r\n"
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", body=body)
    assert (repr(client), repr(a)) == ("aborted", "aborted")


@pytest.mark.parametrize("how", ["ends", "resets"])
@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ],
)
def test_half_an_answer_breaks_off_visibly(dialogue: Dialogue, part: bytes, how: str) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(part)
    getattr(a, how)()
    assert repr(client) == "aborted"
    assert dialogue.in_flight == {}
    assert dialogue.record.error == ("closed_early (upstream)" if how == "ends" else "reset (upstream)")


def test_an_answer_that_stops_in_the_middle_breaks_off_visibly(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    dialogue.pass_time(59)
    a.says(b"2")
    dialogue.pass_time(59)
    assert repr(client) == "open"
    dialogue.pass_time(1.2)
    assert (repr(client), dialogue.record.error) == ("aborted", "response_timeout (upstream)")


# Idle connections


def test_the_connection_used_last_is_used_next(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    clients = [dialogue.client() for _ in range(3)]
    for client in clients:
        client.says(GET)
    targets = [dialogue.accept("a") for _ in clients]
    for target in (targets[1], targets[2], targets[0]):
        target.says(OK)
    for target in targets:
        target.hears()
    clients[0].says(GET)
    assert [target.hears() != b"" for target in targets] == [True, False, False]


def test_an_idle_connection_is_closed_before_the_target_would(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    dialogue.pass_time(54.8)
    assert repr(a) == "open"
    dialogue.pass_time(0.4)
    assert repr(a) == "closed"
    dialogue.client().says(GET)
    assert dialogue.dials == ["10.0.0.1"]


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_an_idle_connection_that_the_target_closes_is_forgotten(make_dialogue: MakeDialogue, how: str) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    getattr(a, how)()
    dialogue.client().says(GET)
    assert dialogue.dials == ["10.0.0.1"]
    assert dialogue.reports == []


def test_an_idle_connection_is_forgotten_as_soon_as_its_end_is_read(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    a.hears()
    client = dialogue.client()
    a.transport.incoming.append(None)
    a.transport.deliver()
    client.says(GET)
    assert (a.hears(), dialogue.dials) == (b"", ["10.0.0.1"])


def test_an_idle_connection_on_which_something_comes_is_cut(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert repr(a) == "aborted"
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(OK)
    assert client.hears() == ok_down(1)


def test_something_unread_on_an_idle_connection_keeps_a_post_off_it(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    a = dialogue.idle_target()
    a.transport.says_unnoticed(b"poison")
    dialogue.client().says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert (a.hears(), dialogue.dials, repr(a)) == (b"", ["10.0.0.1"], "closed")


def test_a_target_is_not_blamed_for_a_client_that_holds_it(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), limits=limits(response_timeout=1.0, body_timeout=10.0))
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100002\r\n\r\n" + bytes(100_000))
    dialogue.pass_time(5)
    client.reads_on()
    a.says(b"ok")
    assert dialogue.record.error is None
    assert repr(a) == "open"


def test_a_connection_lost_while_held_breaks_the_answer_off(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000))
    a.resets()
    assert repr(client) == "aborted"


def test_an_answer_that_ends_with_its_connection_is_held_to_its_end(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_000), b"the end")
    a.ends()
    assert repr(a) == "held"
    client.reads_on()
    assert client.hears().endswith(b"7\r\nthe end\r\n0\r\n\r\n")


def test_the_target_that_accepts_and_closes_at_once_was_sent_nothing(dialogue: Dialogue) -> None:
    """So that even a POST may go elsewhere."""
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    client = dialogue.client()
    client.says(post + b"hi")
    dial = dialogue.loop.dials.pop()
    a = dialogue.accept_silently(dial)
    a.transport.incoming.append(None)
    a.transport.deliver()
    dialogue.loop.settle()
    assert a.hears() == b""
    assert dialogue.accept("b").hears() == up(post, body=b"hi")
    assert dialogue.reports == [("web", "a", "reset")]


def test_a_connection_that_was_held_when_its_answer_ended_is_read_again(make_dialogue: MakeDialogue) -> None:
    """A transport may deliver what it had read already when it was paused."""
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100002\r\n\r\n" + bytes(100_000))
    assert repr(a) == "held"
    a.transport.protocol.data_received(b"ok")
    assert repr(a) == "open"
    other = dialogue.client()
    other.says(GET)
    a.says(OK)
    assert other.hears() == ok_down(1)
