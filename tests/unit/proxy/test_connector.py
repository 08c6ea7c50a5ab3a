"""New connections: who waits for them, which protocol they speak, and what their failure means."""

import errno
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from equipoise.errors import RETRY_ALWAYS, SELF, UPSTREAM
from equipoise.model import PoolSpec, TargetState, TargetTlsSpec
from equipoise.proxy.connector import connect_failure
from equipoise.wire.http2_errors import CANCEL, NO_ERROR, PROTOCOL_ERROR
from tests.support.dialogue import GET, OK, Dialogue, limits
from tests.support.http2_peer import (
    Goaway,
    Http2Peer,
    ask,
    h2c,
    http2_client,
    http2_target,
    only2,
    status_of,
    streams,
    web2,
)
from tests.support.ledgers import pool, target
from tests.support.transport import Dial, Peer

MakeDialogue = Callable[..., Dialogue]
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def talk(make_dialogue: MakeDialogue) -> Dialogue:
    """With one target of HTTP/2 in clear text."""
    return make_dialogue(only2())


def secure(**settings: Any) -> PoolSpec:
    """One target over TLS."""
    return pool(target("a", 1, scheme="https", tls=TargetTlsSpec(server_name="a.test"), **settings))


def accept(talk: Dialogue, alpn: str) -> Peer:
    """The target that was dialled accepts over TLS, and chooses a protocol."""
    peer = talk.accept_silently(talk.loop.dials.pop(0), alpn=alpn)
    talk.loop.settle()
    return peer


def asked(talk: Dialogue, count: int = 1) -> Http2Peer:
    """A client that has asked so often."""
    client = http2_client(talk)
    for _ in range(count):
        client.asks(ask())
    return client


# A connection that many share


def test_those_who_ask_while_a_connection_is_made_wait_for_it(talk: Dialogue) -> None:
    client = asked(talk, 3)
    assert len(talk.dials) == 1
    there = http2_target(talk)
    assert streams(there.hears()) == [1, 3, 5]
    for stream in (1, 3, 5):
        there.answers(stream)
    assert talk.in_flight == {}
    assert len(client.hears()) == 3


def test_nothing_is_asked_before_the_target_has_said_what_it_takes(talk: Dialogue) -> None:
    asked(talk)
    there = Http2Peer(talk.accept(), is_client=False)
    assert there.hears() == []
    there.greets()
    assert streams(there.hears()) == [1]
    there.answers(1)


def test_of_those_who_wait_only_as_many_get_a_stream_as_the_target_takes(talk: Dialogue) -> None:
    client = asked(talk, 5)
    first = http2_target(talk, s3=2)
    assert streams(first.hears()) == [1, 3]
    assert len(talk.dials) == 1, "the others wait for another connection together"
    second = http2_target(talk, s3=2)
    third = http2_target(talk, s3=2)
    assert (streams(second.hears()), streams(third.hears())) == ([1, 3], [1])
    for peer, stream in ((first, 1), (first, 3), (second, 1), (second, 3), (third, 1)):
        peer.answers(stream)
    assert [status_of(client.hears(), 1)] == [200]
    assert talk.in_flight == {}


def test_a_target_that_takes_no_stream_at_all_is_no_target(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = asked(talk)
    first = http2_target(talk, "a", s3=0)
    assert repr(first) == "aborted"
    http2_target(talk, "b").answers(1)
    assert (status_of(client.hears(), 1), talk.reports) == (200, [])


def test_a_target_that_takes_a_connection_and_says_nothing_is_out_of_time(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(only2(), limits=limits(connect_timeout=3.0))
    client = asked(talk, 2)
    there = talk.accept()
    talk.pass_time(2.8)
    assert client.hears() == []
    talk.pass_time(0.4)
    heard = client.hears()
    assert (status_of(heard, 1), status_of(heard, 3)) == (504, 504)
    assert {record.error for record in talk.records} == {"connect_timeout (upstream)"}
    assert (repr(there), talk.in_flight) == ("aborted", {})


def test_a_target_that_speaks_http_1_is_told_apart(talk: Dialogue) -> None:
    client = asked(talk)
    there = talk.accept()
    there.says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    assert status_of(client.hears(), 1) == 502
    assert (talk.record.error, talk.reports) == ("malformed (upstream)", [("web", "a", "malformed")])
    assert repr(there) == "closed"


def test_a_target_that_closes_before_it_has_said_anything_has_done_nothing(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask(b"POST"))
    talk.accept("a").ends()
    http2_target(talk, "b").answers(1)
    assert status_of(client.hears(), 1) == 200


def test_a_target_that_says_goaway_at_once_is_asked_again_elsewhere(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(web2())
    client = http2_client(talk)
    client.asks(ask(b"POST"))
    a = Http2Peer(talk.accept("a"), is_client=False)
    with a.at_once():
        a.greets()
        a.goes_away(0)
    talk.loop.settle()
    http2_target(talk, "b").answers(1)
    assert status_of(client.hears(), 1) == 200


def test_all_who_wait_are_told_of_a_refusal(talk: Dialogue) -> None:
    client = asked(talk, 3)
    talk.refuse()
    heard = client.hears()
    assert [status_of(heard, stream) for stream in (1, 3, 5)] == [502, 502, 502]
    assert talk.in_flight == {}


def test_one_who_has_left_while_it_waited_takes_no_stream(talk: Dialogue) -> None:
    client = asked(talk, 2)
    client.resets(1, CANCEL)
    there = http2_target(talk)
    assert streams(there.hears()) == [1]
    there.answers(1)
    assert status_of(client.hears(), 3) == 200


def test_a_connection_for_those_who_have_all_left_is_kept(talk: Dialogue) -> None:
    client = asked(talk)
    client.peer.resets()
    there = http2_target(talk)
    assert (there.hears(), repr(there)) == ([], "open")
    other = asked(talk)
    there.answers(1)
    assert status_of(other.hears(), 1) == 200


def test_a_connection_to_a_target_that_moved_meanwhile_serves_those_who_wait_and_no_others(
    make_dialogue: MakeDialogue,
) -> None:
    talk = make_dialogue(only2())
    client = asked(talk)
    talk.apply(pool(h2c("a", 1, addresses=("10.9.9.9",))))
    old = http2_target(talk)
    assert streams(old.hears()) == [1]
    old.answers(1)
    assert (old.hears(), repr(old)) == ([Goaway(0, NO_ERROR)], "closed")
    client.asks(ask())
    assert talk.dials == ["10.9.9.9"]
    http2_target(talk).answers(1)
    assert status_of(client.hears(), 3) == 200


# What is chosen over TLS


def dial_of(talk: Dialogue) -> Dial:
    (dial,) = talk.loop.dials
    return dial


def test_a_target_over_tls_is_asked_by_its_name(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(secure())
    asked(talk)
    there = talk.services.world().pools["web"].targets[0]
    assert (dial_of(talk).context, dial_of(talk).server_name) == (there.tls, "a.test")
    peer = Http2Peer(accept(talk, "h2"), is_client=False)
    peer.greets()
    peer.answers(1)


def test_a_target_that_chooses_http_2_is_shared(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(secure())
    client = asked(talk, 2)
    there = Http2Peer(accept(talk, "h2"), is_client=False)
    there.greets()
    client.asks(ask())
    assert streams(there.hears()) == [1, 3, 5]
    for stream in (1, 3, 5):
        there.answers(stream)
    assert talk.in_flight == {}


@pytest.mark.parametrize("chosen", ["http/1.1", ""], ids=["http/1.1", "nothing"])
def test_a_target_that_chooses_http_1_gets_a_connection_for_each_request(
    make_dialogue: MakeDialogue, chosen: str
) -> None:
    talk = make_dialogue(secure())
    client = asked(talk, 3)
    first = accept(talk, chosen)
    assert first.hears().startswith(b"GET / HTTP/1.1\r\nHost: x\r\n")
    talk.loop.settle()
    there = talk.services.world().pools["web"].targets[0]
    assert [dial.context for dial in talk.loop.dials] == [there.tls_http1] * 2, "it is known by now"
    for peer in (first, accept(talk, "http/1.1"), accept(talk, "http/1.1")):
        peer.says(OK)
    heard = client.hears()
    assert [status_of(heard, stream) for stream in (1, 3, 5)] == [200, 200, 200]


def test_an_upgrade_wants_http_1_at_once(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(secure())
    client = talk.client()
    client.says(UPGRADE)
    there = talk.services.world().pools["web"].targets[0]
    assert dial_of(talk).context is there.tls_http1
    accept(talk, "http/1.1").says(OK)
    assert client.hears().startswith(b"HTTP/1.1 200")


def test_an_upgrade_takes_no_stream_of_a_shared_connection(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(secure())
    asked(talk)
    there = Http2Peer(accept(talk, "h2"), is_client=False)
    there.greets()
    client = talk.client()
    client.says(UPGRADE)
    accept(talk, "http/1.1").says(OK)
    assert client.hears().startswith(b"HTTP/1.1 200")
    assert streams(there.hears()) == [1]
    there.answers(1)


def test_a_plain_target_is_never_asked_for_http_2(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(pool(target("a", 1)))
    client = talk.client()
    client.says(GET)
    assert (dial_of(talk).context, dial_of(talk).server_name) == (None, None)
    talk.accept().says(OK)


def test_a_target_over_tls_that_closes_at_once_is_502(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(secure())
    client = asked(talk)
    peer = talk.accept_silently(talk.loop.dials.pop(0), alpn="http/1.1")
    peer.transport.close()
    talk.loop.settle()
    assert (status_of(client.hears(), 1), talk.record.error) == (502, "reset (upstream)")


# What a failure means


def not_tls() -> ssl.SSLError:
    """What a handshake with a target that does not speak TLS ends with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(heard, said, server_hostname="a.test")
    heard.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    try:
        connection.do_handshake()
    except ssl.SSLError as error:
        return error
    raise AssertionError("that was no TLS")


@pytest.mark.parametrize(
    ("error", "kind", "side", "status"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), "connect_refused", UPSTREAM, 502),
        (OSError(errno.EHOSTUNREACH, ""), "connect_failed", UPSTREAM, 502),
        (OSError("no number"), "connect_failed", UPSTREAM, 502),
        (OSError(errno.EMFILE, ""), "no_resources", SELF, 503),
        (not_tls(), "tls_failed", UPSTREAM, 502),
    ],
)
def test_a_failed_connect_says_whose_fault_it_was_and_may_be_tried_elsewhere(
    error: OSError, kind: str, side: str, status: int
) -> None:
    failure = connect_failure(error)
    assert (failure.kind, failure.side, failure.status, failure.retry) == (kind, side, status, RETRY_ALWAYS)


def test_a_target_whose_handshake_fails_is_reported_and_the_next_is_tried(make_dialogue: MakeDialogue) -> None:
    tls = TargetTlsSpec(server_name="a.test")
    talk = make_dialogue(pool(target("a", 1, scheme="https", tls=tls), h2c("b", 2)))
    client = asked(talk)
    talk.refuse(not_tls())
    http2_target(talk, "b").answers(1)
    assert status_of(client.hears(), 1) == 200
    assert talk.reports == [("web", "a", "connect_failed")]


def test_a_target_that_breaks_the_rules_in_its_first_words_is_told(talk: Dialogue) -> None:
    asked(talk)
    there = Http2Peer(talk.accept(), is_client=False)
    there.pings()
    assert there.hears() == [Goaway(0, PROTOCOL_ERROR)]
    assert talk.record.error == "malformed (upstream)"


def test_a_target_that_is_down_is_not_dialled(make_dialogue: MakeDialogue) -> None:
    talk = make_dialogue(pool(h2c("a", 1, state=TargetState.DOWN)))
    asked(talk)
    assert talk.dials == []
