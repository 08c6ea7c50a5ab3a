"""A client's connection: what is read from it, how answers are framed for it, and when it closes."""

from collections.abc import Callable

import msgspec
import pytest

from tests.support.dialogue import GET, OK, Dialogue, down, limits, ok_down, status_of, up, web

MakeDialogue = Callable[..., Dialogue]

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# Requests


def test_a_head_may_come_byte_by_byte(dialogue: Dialogue) -> None:
    client = dialogue.client()
    for i in range(len(GET)):
        client.says(GET[i : i + 1])
    assert dialogue.accept().hears() == up(GET)


def test_a_body_with_a_length_passes_as_it_comes(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"h")
    a = dialogue.accept()
    assert a.hears() == up(POST, body=b"h")
    client.says(b"el")
    assert a.hears() == b"el"
    client.says(b"lo")
    assert a.hears() == b"lo"
    a.says(OK)
    assert repr(a) == "open"


def test_a_chunked_body_passes_in_chunks_of_its_own(dialogue: Dialogue) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    client = dialogue.client()
    client.says(head + b"Transfer-Encoding: chunked\r\n\r\n", b"5;ext=1\r\nhel", b"lo\r\n0\r\n", b"Sum: 1\r\n\r\n")
    a = dialogue.accept()
    assert a.hears() == up(head + b"Transfer-Encoding: chunked\r\n\r\n", body=b"5\r\nhello\r\n0\r\nsum: 1\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000, 431),
        (b"GET /" + b"a" * 9_000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n", 417),
    ],
)
def test_a_request_that_is_refused_reaches_no_target(dialogue: Dialogue, request_bytes: bytes, status: int) -> None:
    client = dialogue.client()
    client.says(request_bytes)
    answer = client.hears()
    assert status_of(answer) == status
    assert b"\r\nConnection: close\r\n" in answer
    assert (dialogue.dials, repr(client)) == ([], "half-closed")
    assert (dialogue.record.status, dialogue.record.client, dialogue.record.target) == (status, "192.0.2.1", None)
    assert dialogue.supervisor.worker(0)["own_4xx"] == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 11", b"Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_413(make_dialogue: MakeDialogue, framing: bytes) -> None:
    dialogue = make_dialogue(web(), limits=limits(request_body=10))
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
    if b"chunked" in framing:
        a = dialogue.accept()
        client.says(b"b\r\nhello world\r\n")
        assert repr(a) == "aborted"
    assert status_of(client.hears()) == 413
    assert dialogue.dials == []


def test_an_own_answer_is_a_problem_document(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"nonsense\r\n\r\n")
    head, _, body = client.hears().partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json\r\n" in head
    assert b"Content-Length: %d\r\n" % len(body) in head
    problem = msgspec.json.decode(body)
    assert (problem["status"], problem["title"], problem["kind"]) == (400, "Bad Request", "malformed")


def test_an_own_answer_to_head_has_no_body(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue()
    dialogue.apply()
    client = dialogue.client()
    client.says(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.hears().partition(b"\r\n\r\n")[2] == b""


# Fields about the client


def test_fields_about_the_client_are_appended_to_what_came(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.1.1.1\r\nVia: 1.1 edge\r\n\r\n")
    heard = dialogue.accept().hears()
    assert b"\r\nX-Forwarded-For: 10.1.1.1, 192.0.2.1\r\n" in heard
    assert b"\r\nVia: 1.1 edge, 1.1 equipoise\r\n" in heard


def test_fields_about_the_client_follow_the_host_of_each_request(dialogue: Dialogue) -> None:
    client = dialogue.client()
    for host in (b"x", b"y", b"x"):
        client.says(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        target = dialogue.accept()
        assert b"\r\nX-Forwarded-Host: " + host + b"\r\n" in target.hears()
        target.says(OK)


def test_via_names_the_version_of_each_request(dialogue: Dialogue) -> None:
    client = dialogue.client()
    for version in (b"1.0", b"1.1", b"1.0"):
        client.says(b"GET / HTTP/" + version + b"\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        target = dialogue.accept()
        assert b"\r\nVia: " + version + b" equipoise\r\n" in target.hears()
        target.says(OK)


def test_a_request_without_a_host_gets_the_address_it_came_to(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nHost: 192.0.2.80:8080\r\n" in dialogue.accept().hears()


# Answers


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"1\r\na\r\n0\r\nSum: 1\r\n\r\n"])
def test_a_chunked_answer_keeps_its_chunks(dialogue: Dialogue, body: bytes) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(CHUNKED + body)
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", body=body)
    assert repr(client) == "open"


def test_a_chunked_answer_reaches_an_old_client_without_framing(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    a = dialogue.accept()
    a.says(CHUNKED + b"3\r\nhel", b"\r\n2\r\nlo\r\n0\r\n\r\n")
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nConnection: close", body=b"hello")
    assert repr(client) == "closed"
    assert repr(a) == "open"


def test_an_answer_that_ends_with_its_connection_becomes_chunked(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    a.ends()
    body = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", body=body)
    assert repr(client) == "open"


def test_an_answer_that_ends_with_its_connection_ends_the_old_clients_too(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    a = dialogue.accept()
    a.says(b"HTTP/1.0 200 OK\r\n\r\nhello")
    assert repr(client) == "open"
    a.ends()
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nConnection: close", body=b"hello")
    assert repr(client) == "closed"


def test_an_answer_without_an_end_is_broken_off_when_its_connection_breaks(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\n\r\nhel")
    a.resets()
    assert not client.hears().endswith(b"0\r\n\r\n")
    assert repr(client) == "aborted"


@pytest.mark.parametrize("head", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_answer_to_head_has_the_fields_of_a_body_and_none(dialogue: Dialogue, head: bytes) -> None:
    client = dialogue.client()
    client.says(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\n" + head)
    assert (repr(client), repr(a)) == ("open", "open")


def test_a_large_body_follows_its_head(dialogue: Dialogue) -> None:
    body = bytes(50_000)
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + body)
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nContent-Length: 50000", body=body)


def test_an_old_client_hears_no_interim_answer(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    a = dialogue.accept()
    a.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.hears() == b""


# Keep-alive


@pytest.mark.parametrize(
    ("line", "fields", "kept", "told"),
    [
        (b"HTTP/1.1", b"", "open", b""),
        (b"HTTP/1.1", b"Connection: close\r\n", "closed", b"Connection: close\r\n"),
        (b"HTTP/1.0", b"", "closed", b"Connection: close\r\n"),
        (b"HTTP/1.0", b"Connection: keep-alive\r\n", "open", b"Connection: keep-alive\r\n"),
    ],
)
def test_a_connection_is_kept_as_the_client_asks(
    dialogue: Dialogue, line: bytes, fields: bytes, kept: str, told: bytes
) -> None:
    client = dialogue.client()
    client.says(b"GET / " + line + b"\r\nHost: x\r\n" + fields + b"\r\n")
    dialogue.accept().says(OK)
    expected = down((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + told).removesuffix(b"\r\n"), body=b"ok")
    assert client.hears() == expected
    assert repr(client) == kept


def test_an_idle_connection_closes_after_its_time(dialogue: Dialogue) -> None:
    client = dialogue.client()
    dialogue.pass_time(74.8)
    assert repr(client) == "open"
    dialogue.pass_time(0.3)
    assert repr(client) == "closed"
    assert dialogue.records == []


def test_a_connection_is_idle_from_the_end_of_its_answer(dialogue: Dialogue) -> None:
    client = dialogue.client()
    dialogue.pass_time(70)
    client.says(GET)
    dialogue.accept().says(OK)
    dialogue.pass_time(70)
    assert repr(client) == "open"


# Pipelining


def test_pipelined_requests_are_answered_in_order_one_at_a_time(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET * 3)
    assert dialogue.in_flight == {"a": 1}
    for number, name in enumerate("abc"):
        target = dialogue.accept(name)
        assert target.hears() == up(GET, number)
        target.says(OK)
        assert client.hears() == ok_down(number)
    assert len(dialogue.records) == 3


def test_what_follows_a_body_is_the_next_request(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"hello" + GET)
    a = dialogue.accept("a")
    assert a.hears() == up(POST, body=b"hello")
    a.says(OK)
    assert dialogue.accept("b").hears() == up(GET, 1)


def test_what_follows_a_chunked_body_is_the_next_request(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET[:10])
    dialogue.accept("a").says(OK)
    client.says(GET[10:])
    assert dialogue.accept("b").hears() == up(GET, 1)


def test_a_long_row_of_pipelined_requests_does_not_nest(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue()
    dialogue.apply()
    client = dialogue.client()
    client.says(GET * 1_500)
    for _ in range(200):
        dialogue.loop.settle()
    assert len(dialogue.records) == 1_500


def test_a_client_that_sends_too_far_ahead_is_held(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET, bytes(70_000))
    assert repr(client) == "held"
    dialogue.accept().says(OK)
    assert status_of(client.hears()) == 200


def test_a_client_that_asks_for_more_and_does_not_read_waits(dialogue: Dialogue) -> None:
    """Or each answer of a long row would pile up in memory."""
    client = dialogue.client()
    client.stops_reading()
    client.says(GET + GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
    assert dialogue.dials == []
    client.says(GET)
    assert dialogue.dials == []
    assert dialogue.in_flight == {}
    client.reads_on()
    assert dialogue.in_flight == {"b": 1}
    dialogue.accept("b").says(OK)
    dialogue.accept("c").says(OK)
    assert client.hears().endswith(ok_down(1) + ok_down(2))


def test_a_client_that_asks_for_far_more_and_does_not_read_is_held(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.stops_reading()
    client.says(GET)
    dialogue.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
    client.says(GET * 3_000)
    assert repr(client) == "held"
    client.reads_on()
    assert dialogue.in_flight == {"b": 1}


# Deadlines


def test_a_head_that_does_not_come_gets_408(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HT")
    dialogue.pass_time(5)
    client.says(b"TP/1.1\r\n")
    dialogue.pass_time(5.2)
    assert status_of(client.hears()) == 408
    assert dialogue.record.status == 408


def test_a_client_that_reads_nothing_of_its_answer_is_cut(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    dialogue.pass_time(30.2)
    assert (repr(client), repr(a)) == ("aborted", "aborted")
    assert dialogue.record.error == "client_left (downstream)"


def test_a_client_that_reads_slowly_is_not_cut(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.stops_reading()
    dialogue.accept().says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    for _ in range(5):
        dialogue.pass_time(29)
        client.reads_on(1)
    assert repr(client) == "open"


def test_a_last_answer_that_is_not_read_does_not_keep_the_connection_for_ever(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.stops_reading()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    dialogue.accept().says(OK)
    assert repr(client) == "closing"
    dialogue.pass_time(30.2)
    assert repr(client) == "aborted"


def test_a_last_answer_that_is_read_slowly_arrives(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.stops_reading()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    dialogue.accept().says(OK)
    for _ in range(3):
        dialogue.pass_time(29)
        client.reads_on(1)
    dialogue.pass_time(1.2)
    client.reads_on()
    assert client.hears().endswith(b"\r\n\r\nok")


def test_an_idle_connection_with_an_answer_that_nobody_reads_is_cut(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.stops_reading()
    client.says(GET)
    dialogue.accept().says(OK)
    dialogue.pass_time(75.2)
    assert repr(client) == "closing"
    dialogue.pass_time(30.2)
    assert repr(client) == "aborted"


# Lingering


def test_after_a_refusal_the_rest_is_read_and_thrown_away(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"nonsense\r\n\r\n")
    client.hears()
    client.says(GET)
    assert (client.hears(), dialogue.dials, len(dialogue.records)) == (b"", [], 1)
    client.ends()
    assert repr(client) == "closed"


def test_a_refused_client_that_stays_is_cut(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"nonsense\r\n\r\n")
    dialogue.pass_time(2.2)
    assert repr(client) == "aborted"


def test_a_refused_client_that_sends_without_end_is_cut(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"nonsense\r\n\r\n", *[bytes(1024 * 1024)] * 5)
    assert repr(client) == "aborted"


# Counting, limits, drain


def test_open_connections_are_counted(dialogue: Dialogue) -> None:
    one, two = dialogue.client(), dialogue.client()
    assert (dialogue.path.connections, dialogue.supervisor.worker(0)["connections"]) == (2, 2)
    one.ends()
    two.resets()
    assert (dialogue.path.connections, dialogue.supervisor.worker(0)["connections"]) == (0, 0)


def test_a_connection_over_the_limit_is_answered_503(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), limits=limits(connections=1))
    first = dialogue.client()
    second = dialogue.client()
    assert (status_of(first.hears()), status_of(second.hears())) == (0, 503)
    second.ends()
    first.ends()
    third = dialogue.client()
    third.says(GET)
    dialogue.accept().says(OK)
    assert third.hears() == ok_down()


def test_a_tunnel_counts_to_the_limit_of_connections(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), limits=limits(connections=2))
    client = dialogue.client()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    dialogue.accept().says(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert status_of(dialogue.client().hears()) == 0
    assert status_of(dialogue.client().hears()) == 503


def test_half_a_request_and_the_end_leave_no_trace(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"GET / HT")
    client.ends()
    assert (repr(client), dialogue.records) == ("closed", [])


def test_requests_sent_ahead_die_with_their_client(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET + GET)
    a = dialogue.accept()
    a.transport.incoming.append(OK)
    client.transport.incoming.append(None)
    a.transport.deliver()
    client.transport.deliver()
    dialogue.loop.settle()
    assert dialogue.in_flight == {}
    assert [record.status for record in dialogue.records] == [200]


@pytest.mark.parametrize("request_bytes", [b"nonsense\r\n\r\n", GET])
def test_a_client_that_closes_its_sending_side_still_gets_what_was_written(
    make_dialogue: MakeDialogue, request_bytes: bytes
) -> None:
    dialogue = make_dialogue()
    dialogue.apply()
    client = dialogue.client()
    client.stops_reading()
    client.says(request_bytes)
    client.ends()
    client.reads_on()
    assert status_of(client.hears()) in {400, 404}
    assert repr(client) == "closed"
