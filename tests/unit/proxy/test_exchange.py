"""An exchange from its head to its log line: bytes in on one side, expected bytes out on the other."""

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.model import PoolSpec, QueueSpec, RetrySpec, RouteSpec, TargetState
from equipoise.policy.retry import RESERVE
from equipoise.proxy.services import LogPort
from tests.support.dialogue import GET, OK, Dialogue, down, limits, ok_down, only, status_of, up, web
from tests.support.ledgers import pool, target

MakeDialogue = Callable[..., Dialogue]

POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
PUT = b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


# The plain course


def test_a_request_reaches_a_target_and_its_answer_the_client(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    assert a.hears() == up(GET)
    a.says(OK)
    assert client.hears() == ok_down()


def test_a_request_is_in_flight_from_its_pick_to_the_end_of_its_answer(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    assert dialogue.in_flight == {"a": 1}, "while connecting"
    a = dialogue.accept()
    assert dialogue.in_flight == {"a": 1}, "while waiting"
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    assert dialogue.in_flight == {"a": 1}, "while the answer comes"
    a.says(b"k")
    assert dialogue.in_flight == {}


def test_a_log_line_says_all_of_an_exchange(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST /p?q=1 HTTP/1.1\r\nHost: x:80\r\nX-Request-Id: mine\r\nContent-Length: 5\r\n\r\nhello")
    a = dialogue.accept()
    dialogue.clock.advance(0.25)
    a.says(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nd")
    dialogue.clock.advance(0.5)
    a.says(b"one")
    record = dialogue.record
    assert (record.method, record.path, record.host, record.protocol) == ("POST", "/p?q=1", "x:80", "HTTP/1.1")
    assert (record.status, record.target, record.pool, record.attempts) == (201, "a", "web", 1)
    assert (record.request_id, record.client, record.cache, record.error) == ("mine", "192.0.2.1", "off", None)
    assert (record.upstream_ms, record.duration_ms) == (250.0, 750.0)
    assert (record.bytes_in, record.bytes_out, record.body) == (5, 4, "hello")
    assert record.why == "round_robin: 0 in flight, 3 targets"


def test_an_exchange_counts_its_answer_and_its_bytes(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"hello")
    a = dialogue.accept()
    dialogue.clock.advance(0.007)
    a.says(OK)
    assert dialogue.totals() == {
        "requests": 1,
        "ok": 1,
        "responses": 1,
        "response_ns": 7_000_000,
        "status_2xx": 1,
        "bytes_in": 5,
        "bytes_out": 2,
        "le_10ms": 1,
    }


@pytest.mark.parametrize(
    ("body", "logged", "truncated"),
    [(b"exactly 16 bytes", "exactly 16 bytes", False), (b"not quite 16 bytes", "not quite 16 byt", True)],
)
def test_a_logged_body_ends_at_its_limit(dialogue: Dialogue, body: bytes, logged: str, truncated: bool) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    dialogue.accept().says(OK)
    assert (dialogue.record.body, getattr(dialogue.record, "body_truncated", False)) == (logged, truncated)


def test_a_logged_body_that_goes_on_after_its_limit_is_marked(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n", b"exactly 16 bytes", b"more")
    dialogue.accept().says(OK)
    assert (dialogue.record.body, getattr(dialogue.record, "body_truncated", None)) == ("exactly 16 bytes", True)


def test_a_logged_body_is_without_the_chunks_framing(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"
    )
    dialogue.accept().says(OK)
    assert dialogue.record.body == "hello"


def test_a_field_that_is_to_be_logged_is_and_a_secret_one_is_hidden(dialogue: Dialogue) -> None:
    fields = ((b"accept", False), (b"authorization", True), (b"missing", False))
    dialogue.services.log = LogPort(dialogue.log, 16, fields)
    client = dialogue.client()
    client.says(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: a/b\r\nAuthorization: Basic xyz\r\n\r\n")
    dialogue.accept().says(OK)
    assert getattr(dialogue.record, "headers", None) == {"accept": "a/b", "authorization": "[redacted]"}


def test_targets_take_turns_over_their_idle_connections(dialogue: Dialogue) -> None:
    client = dialogue.client()
    for name in "abc":
        client.says(GET)
        dialogue.accept(name).says(OK)
    client.says(GET)
    assert dialogue.dials == []
    assert dialogue.in_flight == {"a": 1}


# Routing


def test_a_request_goes_to_the_pool_of_its_route(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(
        pool(target("a", 1), name="one"),
        pool(target("z", 11), name="two", slot=10),
        routes=(RouteSpec(pool="two", path="/z"), RouteSpec(pool="one", host="x")),
    )
    client = dialogue.client()
    client.says(b"GET /z HTTP/1.1\r\nHost: x\r\n\r\n")
    dialogue.accept("z").says(OK)
    client.says(GET)
    dialogue.accept("a").says(OK)
    assert [record.pool for record in dialogue.records] == ["two", "one"]


def test_no_route_is_404_and_nobodys_request(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), routes=(RouteSpec(pool="web", host="y"),))
    client = dialogue.client()
    client.says(GET)
    assert status_of(client.hears()) == 404
    assert (dialogue.record.error, dialogue.record.pool, dialogue.record.target) == ("no_route (self)", None, None)


# Own answers


def test_no_target_is_503_with_retry_after(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(target("a", 1, state=TargetState.DOWN)))
    client = dialogue.client()
    client.says(GET)
    answer = client.hears()
    assert status_of(answer) == 503
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert dialogue.record.error == "no_target (self)"


def limited(size: int = 10, timeout: float = 5.0, **settings: Any) -> PoolSpec:
    """One target that takes one request at a time."""
    return pool(target("a", 1, max_in_flight=1), queue=QueueSpec(size, timeout), **settings)


def test_a_target_at_its_limit_is_not_picked(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited(size=0))
    first, second = dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(GET)
    answer = second.hears()
    assert status_of(answer) == 503
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert dialogue.record.error == "queue_full (self)"
    assert dialogue.in_flight == {"a": 1}


def test_requests_wait_for_room_and_go_on_in_their_order(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited())
    clients = [dialogue.client() for _ in range(3)]
    for client in clients:
        client.says(GET)
    a = dialogue.accept()
    assert dialogue.dials == []
    for client in clients:
        assert dialogue.in_flight == {"a": 1}
        assert a.hears().startswith(b"GET / HTTP/1.1")
        a.says(OK)
        assert status_of(client.hears()) == 200
    assert dialogue.in_flight == {}


def test_a_body_that_comes_while_its_request_waits_goes_up_with_it(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited())
    first, second = dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(POST, b"he", b"llo")
    a = dialogue.accept()
    a.hears()
    a.says(OK)
    # A method that must not be sent twice is not risked on a connection that may be closed.
    assert a.hears().endswith(b"\r\n\r\nhello")


def test_who_comes_later_does_not_overtake_who_waits(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited())
    first, second, third = dialogue.client(), dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
    a = dialogue.accept()
    a.hears()
    dialogue.apply(pool(target("a", 1, max_in_flight=1), target("b", 2, max_in_flight=1)))
    third.says(b"GET /third HTTP/1.1\r\nHost: x\r\n\r\n")
    b = dialogue.accept("b")
    assert b.hears().startswith(b"GET /second ")


def test_a_request_that_waits_for_too_long_is_503(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited(timeout=2.0))
    first, second = dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(GET)
    dialogue.pass_time(1.8)
    assert second.hears() == b""
    dialogue.pass_time(0.4)
    answer = second.hears()
    assert status_of(answer) == 503
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert dialogue.record.error == "queue_timeout (self)"
    assert dialogue.ledger.worker(0)["waiting"] == 0


def test_a_client_that_leaves_while_it_waits_leaves_its_place(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited(size=1))
    first, second, third = dialogue.client(), dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(GET)
    dialogue.pass_time(0.1)
    assert dialogue.supervisor.worker(0)["waiting"] == 1
    second.ends()
    third.says(GET)
    a = dialogue.accept()
    a.says(OK)
    a.says(OK)
    assert status_of(third.hears()) == 200
    assert [record.status for record in dialogue.records] == [499, 200, 200]
    assert dialogue.totals()["requests"] == 2


def test_room_that_another_workers_request_leaves_is_found(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited(), workers=2)
    other = dialogue.other_workers[0]
    other.take(1)
    client = dialogue.client()
    client.says(GET)
    dialogue.pass_time(0.1)
    assert dialogue.dials == []
    other.give(1)
    dialogue.pass_time(0.1)
    assert len(dialogue.dials) == 1


def test_a_limit_that_is_lifted_lets_those_who_wait_go_on(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited())
    clients = [dialogue.client() for _ in range(3)]
    for client in clients:
        client.says(GET)
    dialogue.apply(pool(target("a", 1)))
    dialogue.loop.settle()
    assert dialogue.in_flight == {"a": 3}


def test_a_waiting_request_of_a_target_that_goes_down_is_503(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(limited())
    first, second = dialogue.client(), dialogue.client()
    first.says(GET)
    second.says(GET)
    dialogue.apply(pool(target("a", 1, max_in_flight=1, state=TargetState.DOWN)))
    dialogue.loop.settle()
    assert status_of(second.hears()) == 503


# A target that is removed by force


def test_what_is_in_flight_at_a_target_removed_by_force_goes_elsewhere_when_it_may(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    dialogue.path.cut(1)
    dialogue.loop.settle()
    assert repr(a) == "aborted"
    dialogue.accept("b").says(OK)
    assert client.hears() == ok_down()
    assert dialogue.reports == []
    assert dialogue.totals("a")["failures"] == 0


def test_an_answer_of_a_target_removed_by_force_breaks_off(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept("a").says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    dialogue.path.cut(1)
    dialogue.loop.settle()
    assert repr(client) == "aborted"
    assert dialogue.record.error == "target_removed (self)"
    assert dialogue.in_flight == {}


def test_what_is_in_flight_elsewhere_does_not_notice(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    dialogue.path.cut(2)
    a.says(OK)
    assert client.hears() == ok_down()


def test_an_own_answer_carries_the_request_id_and_keeps_the_connection(dialogue: Dialogue) -> None:
    dialogue.apply(pool())
    client = dialogue.client()
    client.says(GET)
    assert b"X-Request-Id: 0000000000000000\r\n" in client.hears()
    assert repr(client) == "open"


def test_an_own_answer_is_no_byte_of_the_target(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().resets()
    assert status_of(client.hears()) == 502
    assert dialogue.totals() == {"requests": 1, "failures": 1, "retries": 1}
    assert dialogue.record.bytes_out > 0


# Retries


def test_a_refused_connect_is_tried_elsewhere_whatever_the_method(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"hello")
    dialogue.refuse()
    b = dialogue.accept("b")
    assert b.hears() == up(POST, body=b"hello")
    b.says(OK)
    assert client.hears() == ok_down()
    assert (dialogue.record.attempts, dialogue.record.target) == (2, "b")
    assert dialogue.reports == [("web", "a", "connect_failed")]


def test_a_refused_connect_moves_the_unit_in_flight(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.refuse()
    assert dialogue.in_flight == {"b": 1}


def test_refused_connects_are_tried_until_every_target_was(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(*(target(name, slot) for slot, name in enumerate("abcdef", 1))))
    client = dialogue.client()
    client.says(GET)
    for _ in "abcdef":
        dialogue.refuse()
    assert status_of(client.hears()) == 502
    assert dialogue.record.attempts == 6
    assert sorted(name for _, name, _ in dialogue.reports) == list("abcdef")


def test_a_connect_that_takes_too_long_is_tried_elsewhere(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.pass_time(5.2)
    assert dialogue.dials == ["10.0.0.2"]
    assert dialogue.reports == [("web", "a", "connect_failed")]
    dialogue.accept("b").says(OK)
    assert client.hears() == ok_down()


def test_a_reset_before_an_answer_is_tried_elsewhere_when_the_method_is_idempotent(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(PUT + b"hello")
    dialogue.accept("a").resets()
    b = dialogue.accept("b")
    assert b.hears() == up(PUT, body=b"hello")
    b.says(OK)
    assert client.hears() == ok_down()
    assert dialogue.reports == [("web", "a", "reset")]
    assert dialogue.totals("a") == {"requests": 1, "failures": 1, "retries": 1}
    assert dialogue.totals("b")["ok"] == 1


def test_a_reset_before_an_answer_is_the_end_of_a_post(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"hello")
    dialogue.accept("a").resets()
    assert dialogue.dials == []
    assert status_of(client.hears()) == 502
    assert dialogue.record.error == "reset (upstream)"


def test_a_close_before_an_answer_is_tried_elsewhere(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept("a").ends()
    dialogue.accept("b").says(OK)
    assert client.hears() == ok_down()


def test_a_target_that_does_not_answer_is_left_for_another(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    dialogue.pass_time(60.2)
    assert repr(a) == "aborted"
    dialogue.accept("b").says(OK)
    assert client.hears() == ok_down()
    assert dialogue.reports == [("web", "a", "timeout")]


def test_a_post_that_is_not_answered_gets_504(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"hello")
    dialogue.accept("a")
    dialogue.pass_time(60.2)
    assert status_of(client.hears()) == 504


def test_a_malformed_answer_is_502_and_not_tried_again(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    a.says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    assert status_of(client.hears()) == 502
    assert (repr(a), dialogue.dials) == ("aborted", [])
    assert dialogue.reports == [("web", "a", "malformed")]


def test_half_a_head_is_no_byte_of_an_answer(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    a.says(b"HTTP/1.1 200 OK\r\nContent-Le")
    a.resets()
    dialogue.accept("b").says(OK)
    assert client.hears() == ok_down()


def test_after_a_byte_of_the_answer_there_is_no_other_attempt(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    a.resets()
    assert client.hears() == down(b"HTTP/1.1 200 OK\r\nContent-Length: 9", body=b"half")
    assert (repr(client), dialogue.dials) == ("aborted", [])
    assert (dialogue.record.status, dialogue.record.error) == (200, "reset (upstream)")
    assert dialogue.totals("a")["requests"] == 1


def test_attempts_are_limited_once_something_was_sent(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(pool(*(target(name, slot) for slot, name in enumerate("abcdef", 1))))
    client = dialogue.client()
    client.says(GET)
    for _ in range(3):
        dialogue.accept().resets()
    assert dialogue.dials == []
    assert status_of(client.hears()) == 502
    assert dialogue.record.attempts == 3


def test_an_empty_budget_ends_the_retries(dialogue: Dialogue) -> None:
    budget = dialogue.services.world().pools["web"].budget
    for _ in range(int(RESERVE)):
        assert budget.spend(dialogue.clock.ns)
    client = dialogue.client()
    client.says(GET)
    dialogue.accept("a").resets()
    assert status_of(client.hears()) == 502
    assert dialogue.dials == []


def test_a_refused_connect_needs_no_budget(dialogue: Dialogue) -> None:
    budget = dialogue.services.world().pools["web"].budget
    while budget.spend(dialogue.clock.ns):
        pass
    client = dialogue.client()
    client.says(GET)
    dialogue.refuse()
    assert dialogue.dials == ["10.0.0.2"]


def test_a_body_larger_than_the_buffer_cannot_be_sent_again(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(retry=RetrySpec(buffer=4)))
    client = dialogue.client()
    client.says(PUT + b"hello")
    a = dialogue.accept("a")
    assert a.hears() == up(PUT, body=b"hello"), "it is sent once all the same"
    a.resets()
    assert dialogue.dials == []
    assert status_of(client.hears()) == 502


def test_a_body_that_was_still_coming_is_sent_again_from_its_beginning(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(PUT + b"he")
    a = dialogue.accept("a")
    client.says(b"l")
    assert a.hears() == up(PUT, body=b"hel")
    a.resets()
    client.says(b"l")
    b = dialogue.accept("b")
    assert b.hears() == up(PUT, body=b"hell")
    client.says(b"o")
    assert b.hears() == b"o"
    b.says(OK)
    assert client.hears() == ok_down()


def test_a_bad_status_reaches_the_client_and_counts_as_failure(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.accept().says(b"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n")
    assert client.hears() == down(b"HTTP/1.1 503 Sorry\r\nContent-Length: 0")
    assert dialogue.reports == [("web", "a", "bad_status")]
    counts = dialogue.totals()
    assert (counts["requests"], counts["responses"], counts["failures"], counts["ok"]) == (1, 1, 1, 0)


def test_a_bad_status_that_breaks_off_is_one_failure(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nhalf")
    a.resets()
    counts = dialogue.totals()
    assert (counts["requests"], counts["failures"], counts["ok"]) == (1, 1, 0)
    assert repr(client) == "aborted"


# Reused connections that the target has closed


def test_a_reused_connection_that_was_closed_is_tried_elsewhere_first(dialogue: Dialogue) -> None:
    a = dialogue.idle_target()
    client = dialogue.client()
    for _ in "bc":
        client.says(GET)
        dialogue.accept().says(OK)
    client.says(GET)
    assert a.hears() != b""
    a.ends()
    assert dialogue.in_flight == {"b": 1}


def test_the_only_target_is_tried_again_when_it_closed_a_reused_connection(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    old = dialogue.idle_target()
    client = dialogue.client()
    client.says(GET)
    assert old.hears() != b""
    old.ends()
    new = dialogue.accept("a")
    assert new.hears() == up(GET, number=1)
    new.says(OK)
    assert client.hears() == ok_down(1)
    assert (dialogue.records[-1].status, dialogue.records[-1].attempts) == (200, 2)


def test_the_only_target_is_not_tried_again_for_ever(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    old = dialogue.idle_target()
    client = dialogue.client()
    client.says(GET)
    old.ends()
    dialogue.accept("a").ends()
    assert dialogue.dials == []
    assert status_of(client.hears()) == 502


def test_a_post_is_not_risked_on_a_connection_that_the_target_has_closed(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    old = dialogue.idle_target()
    old.transport.close_unnoticed()
    client = dialogue.client()
    client.says(POST + b"hello")
    assert old.hears() == b""
    dialogue.accept("a").says(OK)
    assert client.hears() == ok_down(1)


def test_a_post_uses_an_idle_connection_that_is_open(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(only())
    old = dialogue.idle_target()
    client = dialogue.client()
    client.says(POST + b"hello")
    assert old.hears() == up(POST, number=1, body=b"hello")
    assert dialogue.dials == []


# The client leaves


@pytest.mark.parametrize("leave", ["ends", "resets"])
def test_a_client_that_leaves_while_connecting_is_nobodys_failure(dialogue: Dialogue, leave: str) -> None:
    client = dialogue.client()
    client.says(GET)
    getattr(client, leave)()
    assert dialogue.in_flight == {}
    assert (dialogue.record.status, dialogue.record.error) == (499, "client_left (downstream)")
    assert dialogue.reports == []


def test_a_connect_that_completes_after_the_client_left_sends_nothing(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.resets()
    a = dialogue.accept("a")
    assert (a.hears(), repr(a)) == (b"", "closed")
    assert len(dialogue.records) == 1


def test_a_connect_that_fails_after_the_client_left_is_not_tried_elsewhere(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    client.resets()
    dialogue.refuse()
    assert (dialogue.dials, len(dialogue.records)) == ([], 1)


@pytest.mark.parametrize("leave", ["ends", "resets"])
def test_a_client_that_leaves_before_the_answer_ends_the_attempt(dialogue: Dialogue, leave: str) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    getattr(client, leave)()
    assert repr(a) == "aborted"
    assert dialogue.record.status == 499
    assert dialogue.totals() == {"requests": 1}


@pytest.mark.parametrize("leave", ["ends", "resets"])
def test_a_client_that_leaves_in_the_middle_of_its_request_ends_the_attempt(dialogue: Dialogue, leave: str) -> None:
    client = dialogue.client()
    client.says(POST + b"he")
    a = dialogue.accept()
    getattr(client, leave)()
    assert repr(a) == "aborted"
    assert (dialogue.record.status, dialogue.record.bytes_in) == (499, 2)


@pytest.mark.parametrize("leave", ["ends", "resets"])
def test_a_client_that_leaves_in_the_middle_of_the_answer_keeps_its_status(dialogue: Dialogue, leave: str) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    getattr(client, leave)()
    assert repr(a) == "aborted"
    assert (dialogue.record.status, dialogue.record.error) == (200, "client_left (downstream)")
    assert dialogue.totals()["requests"] == 1


def test_a_client_that_leaves_after_the_answer_says_nothing_more(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(OK)
    client.ends()
    assert dialogue.record.status == 200
    assert repr(a) == "open"


def test_both_sides_lost_in_one_turn_end_the_exchange_once(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.transport.lose(ConnectionResetError())
    client.transport.lose(ConnectionResetError())
    dialogue.loop.settle()
    dialogue.refuse()
    assert len(dialogue.records) == 1
    assert dialogue.in_flight == {}


# The request breaks off


def test_a_request_that_breaks_the_rules_in_its_body_ends_the_attempt(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    a = dialogue.accept()
    client.says(b"zz\r\n")
    assert repr(a) == "aborted"
    assert status_of(client.hears()) == 400
    assert dialogue.totals() == {"requests": 1, "bytes_in": 3}
    assert dialogue.reports == []


def test_a_request_that_stops_gets_408_and_the_target_is_not_to_blame(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"he")
    a = dialogue.accept()
    dialogue.pass_time(30.2)
    assert status_of(client.hears()) == 408
    assert (repr(a), dialogue.reports) == ("aborted", [])


def test_a_target_is_not_to_blame_for_a_slow_client_whatever_the_limits(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), limits=limits(response_timeout=2.0, body_timeout=10.0))
    client = dialogue.client()
    client.says(POST + b"he")
    a = dialogue.accept()
    dialogue.pass_time(8)
    client.says(b"llo")
    a.says(OK)
    assert client.hears() == ok_down()


def test_a_target_that_does_not_take_the_request_times_out(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(), limits=limits(response_timeout=2.0, body_timeout=10.0))
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    dialogue.accept().stops_reading()
    client.says(bytes(100_000))
    dialogue.pass_time(3)
    assert status_of(client.hears()) == 504


# Back-pressure


def test_a_target_that_does_not_read_holds_the_client(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    a = dialogue.accept()
    a.stops_reading()
    client.says(bytes(100_000))
    assert repr(client) == "held"
    a.reads_on(90_000)
    assert repr(client) == "open"


def test_a_client_that_sends_ahead_of_the_connect_is_held(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    client.says(bytes(70_000))
    assert repr(client) == "held"
    dialogue.accept()
    assert repr(client) == "open"


def test_a_client_stays_held_when_the_target_does_not_take_what_was_kept(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    client.says(bytes(70_000))
    a = dialogue.answer(dialogue.loop.dials.pop(), reads=False)
    assert repr(client) == "held"
    a.reads_on()
    assert repr(client) == "open"


def test_a_client_that_does_not_read_holds_the_target(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    client.stops_reading()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    assert repr(a) == "held"
    client.reads_on(90_000)
    assert repr(a) == "open"


def test_a_held_target_has_no_deadline(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    client.stops_reading()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000))
    for _ in range(10):
        dialogue.pass_time(20)
        client.reads_on(1)
    assert repr(a) == "held"
    assert dialogue.reports == []


def test_a_connection_is_reused_after_its_last_bytes_met_a_client_that_does_not_read(
    make_dialogue: MakeDialogue,
) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    client.stops_reading()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
    assert repr(a) == "open"
    other = dialogue.client()
    other.says(GET)
    a.says(OK)
    assert other.hears() == ok_down(1)


def test_a_connection_is_reused_after_its_last_piece_met_a_client_that_does_not_read(
    make_dialogue: MakeDialogue,
) -> None:
    dialogue = make_dialogue(only())
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    client.stops_reading()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", bytes(100_000))
    assert repr(a) == "open"


# Interim and early answers


def test_interim_answers_pass_on_and_are_not_the_answer(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    a = dialogue.accept()
    a.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"
    client.says(b"hello")
    a.says(OK)
    assert client.hears() == ok_down()
    assert dialogue.totals()["responses"] == 1


def test_a_reset_after_an_interim_answer_may_be_tried_elsewhere(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept()
    a.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    a.resets()
    dialogue.accept("b").says(OK)
    assert client.hears() == b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok_down()


def test_an_early_answer_ends_the_exchange_and_neither_connection_is_used_again(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"he")
    a = dialogue.accept()
    a.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert client.hears() == down(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close")
    assert (repr(client), repr(a)) == ("half-closed", "closed")
    assert dialogue.in_flight == {}


def test_the_rest_of_a_request_goes_up_while_its_early_answer_comes_down(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(POST + b"he")
    a = dialogue.accept()
    a.hears()
    a.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    client.says(b"llo")
    assert a.hears() == b"llo"
    a.says(b"lf")
    assert client.hears().endswith(b"\r\n\r\nhalf")
    assert repr(client) == "closed"


# Algorithms that misbehave


def test_an_algorithm_that_raises_is_500_and_takes_nothing(make_dialogue: MakeDialogue) -> None:
    dialogue = make_dialogue(web(algorithm="python:tests.support.algorithms:Raises"))
    client = dialogue.client()
    client.says(GET)
    assert status_of(client.hears()) == 500
    assert dialogue.record.error == "algorithm_failed (self)"


@pytest.mark.parametrize("name", ["TooHigh", "TooLow"])
def test_an_algorithm_that_names_no_target_is_503(make_dialogue: MakeDialogue, name: str) -> None:
    dialogue = make_dialogue(web(algorithm=f"python:tests.support.algorithms:{name}"))
    client = dialogue.client()
    client.says(GET)
    assert status_of(client.hears()) == 503


# Changes of the world


def test_an_exchange_ends_under_the_world_it_began_in(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    a = dialogue.accept("a")
    dialogue.apply(pool(target("b", 2), target("c", 3)))
    a.says(OK)
    assert client.hears() == ok_down()
    assert dialogue.supervisor.in_flight(1) == 0


def test_a_retry_sees_the_new_world(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.apply(pool(target("a", 1), target("n", 9)))
    dialogue.refuse()
    assert dialogue.dials == ["10.0.0.9"]


def test_a_retry_after_the_pool_was_removed_goes_on_in_the_old_one(dialogue: Dialogue) -> None:
    client = dialogue.client()
    client.says(GET)
    dialogue.apply(pool(target("z", 11), name="other", slot=10))
    dialogue.refuse()
    assert dialogue.dials == ["10.0.0.2"]
    peer = dialogue.accept()
    peer.says(OK)
    assert client.hears() == ok_down()
