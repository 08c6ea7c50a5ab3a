"""A refresh behind the client's back: what is stale is given at once, and asked for anew by nobody's request."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from equipoise.errors import refused
from equipoise.model import CacheSpec
from equipoise.proxy.background import Background
from equipoise.proxy.client import Client
from equipoise.wire.http1 import ResponseHead
from tests.support.cached_dialogue import CachedDialogue, SharedCache, by_rfc9111, chunks, get, heard, ok, post
from tests.support.dialogue import limits
from tests.support.ends import Http2Client, Http2Target
from tests.support.http2_peer import only2
from tests.support.transport import Peer

Make = Callable[..., CachedDialogue]

LIVES = b"Cache-Control: max-age=10, stale-while-revalidate=100"
TAGGED = b'ETag: "1"'
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n" + LIVES + b"\r\n\r\n"


@pytest.fixture
def make() -> Iterator[Make]:
    """Dialogues with a cache; at the end nothing may be left of them."""
    talks: list[CachedDialogue] = []

    def start(spec: CacheSpec | None = None, *pools: Any, **more: Any) -> CachedDialogue:
        talks.append(CachedDialogue(by_rfc9111() if spec is None else spec, *pools, **more))
        return talks[-1]

    yield start
    for talk in talks:
        talk.close()


@pytest.fixture
def talk(make: Make) -> CachedDialogue:
    return make()


def body_of(talk: CachedDialogue, request: bytes) -> bytes:
    """What a client of its own gets at once."""
    client = talk.client()
    client.says(request)
    body = heard(client).body
    client.ends()
    return body


def stale(talk: CachedDialogue, request: bytes = b"", *lines: bytes) -> Peer:
    """The idle connection of the target, whose answer has been stale for a second."""
    client = talk.client()
    client.says(request or get())
    target = talk.accept()
    target.says(ok(b"old", LIVES, *lines))
    assert client.hears()
    client.ends()
    target.hears()
    talk.clock.advance(11)
    return target


def test_what_is_stale_is_given_at_once_and_asked_for_anew(talk: CachedDialogue) -> None:
    target = stale(talk)
    client = talk.client()
    client.says(get())
    answer = heard(client)
    assert (answer.body, answer.one(b"age"), answer.one(b"cache-status")) == (b"old", b"11", b"equipoise; hit; ttl=-1")
    assert target.hears().startswith(b"GET / HTTP/1.1\r\n")
    target.says(ok(b"new", LIVES))
    assert client.hears() == b""
    assert body_of(talk, get()) == b"new"


def test_many_that_get_what_is_stale_lead_to_one_refresh(talk: CachedDialogue) -> None:
    target = stale(talk)
    assert [body_of(talk, get()) for _ in range(20)] == [b"old"] * 20
    assert (target.hears().count(b"GET "), talk.dials) == (1, [])
    assert talk.in_flight == {"a": 1}
    target.says(ok(b"new", LIVES))
    assert talk.in_flight == {}


def test_the_workers_refresh_once(make: Make) -> None:
    shared = SharedCache()
    one = make(shared=shared)
    other = make(shared=shared, clock=one.clock)
    target = stale(one)
    assert (body_of(one, get()), body_of(other, get())) == (b"old", b"old")
    assert (target.hears().count(b"GET "), other.dials) == (1, [])
    target.says(ok(b"new", LIVES))
    assert (body_of(one, get()), body_of(other, get())) == (b"new", b"new")


def test_a_refresh_is_conditional_when_something_can_be_compared(talk: CachedDialogue) -> None:
    target = stale(talk, b"", TAGGED)
    assert body_of(talk, get(b"/", b"Range: bytes=1-1", b"X: y")) == b"l"
    went_up = target.hears()
    assert b'\r\nif-none-match: "1"\r\n' in went_up
    assert b"\r\nX: y\r\n" in went_up
    assert b"range" not in went_up.lower()
    target.says(NOT_MODIFIED)
    talk.clock.advance(9)
    assert body_of(talk, get()) == b"old"
    assert target.hears() == b""


def test_a_refresh_says_who_asked_and_has_an_id_and_a_line_of_its_own(talk: CachedDialogue) -> None:
    target = stale(talk)
    body_of(talk, get())
    went_up = target.hears()
    assert b"X-Forwarded-For: 192.0.2.1\r\n" in went_up
    assert b"X-Request-Id: 0000000000000002\r\n" in went_up
    target.says(ok(b"new", LIVES))
    line = talk.records[-1]
    assert (line.protocol, line.client, line.request_id) == ("refresh", "192.0.2.1", "0000000000000002")
    assert (line.status, line.target, line.attempts, line.cache) == (200, "a", 1, "miss")


def test_a_refresh_is_no_hit_and_no_miss(talk: CachedDialogue) -> None:
    target = stale(talk)
    body_of(talk, get())
    target.says(ok(b"new", LIVES))
    stats = talk.stats()
    assert (stats["hits"], stats["misses"], stats["stores"]) == (1, 1, 2)


def test_the_body_of_a_query_goes_up_again(talk: CachedDialogue) -> None:
    request = post(b"question", method=b"QUERY")
    target = stale(talk, request)
    assert body_of(talk, request) == b"old"
    assert target.hears().endswith(b"\r\n\r\nquestion")


def test_the_body_of_a_chunked_query_goes_up_again_in_chunks(talk: CachedDialogue) -> None:
    request = get(b"/", b"Transfer-Encoding: chunked", method=b"QUERY") + chunks(b"ques", b"tion", b"")
    target = stale(talk, request)
    assert body_of(talk, request) == b"old"
    head, _, body = target.hears().partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body == b"8\r\nquestion\r\n0\r\n\r\n"


def test_a_client_of_http2_leads_to_a_refresh_at_a_target_of_http2(make: Make) -> None:
    talk = make(by_rfc9111(), only2())
    client = Http2Client(talk)
    client.asks_all(b"GET")
    target = Http2Target(talk)
    target.answers(200, (b"cache-control", b"max-age=10, stale-while-revalidate=100"), (b"etag", b'"1"'))
    target.sends(b"old")
    target.ends()
    client.hears()
    target.hears()
    talk.clock.advance(11)
    assert body_of(talk, get()) == b"old"
    target.arrived = type(target.arrived)()
    asked = target.hears()
    assert (asked.whole, dict(asked.fields)[b"if-none-match"]) == (True, b'"1"')
    target.stream = 3
    target.answers(304, bodiless=True)
    assert talk.in_flight == {}


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"no", status=b"503 Busy"),
        ok(b"no", b"Cache-Control: no-store"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nCache-Control: private\r\n\r\nit is not",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX: y\r\n\r\n",
    ],
)
def test_a_refresh_that_brings_nothing_to_keep_leaves_what_is_stored(talk: CachedDialogue, answer: bytes) -> None:
    target = stale(talk)
    body_of(talk, get())
    target.hears()
    target.says(answer)
    assert talk.in_flight == {}
    assert body_of(talk, get()) == b"old"


def test_a_refresh_at_a_target_that_is_down_leaves_what_is_stored(talk: CachedDialogue) -> None:
    stale(talk).ends()
    body_of(talk, get())
    talk.refuse()
    assert (talk.records[-1].status, talk.records[-1].error) == (502, "connect_refused (upstream)")
    assert body_of(talk, get()) == b"old"
    # The next one tries again.
    assert talk.dials == ["10.0.0.1"]


def test_a_refresh_that_dies_in_the_middle_stores_nothing(talk: CachedDialogue) -> None:
    target = stale(talk)
    body_of(talk, get())
    target.says(ok(b"never whole", LIVES)[:-3])
    target.resets()
    assert (talk.in_flight, talk.stats()["stores"]) == ({}, 1)
    assert body_of(talk, get()) == b"old"


def test_a_refresh_outlives_its_client(talk: CachedDialogue) -> None:
    target = stale(talk)
    client = talk.client()
    client.says(get())
    client.resets()
    target.says(ok(b"new", LIVES))
    assert body_of(talk, get()) == b"new"


def test_a_refresh_that_hangs_ends_in_time(make: Make) -> None:
    talk = make(by_rfc9111(), limits=limits(response_timeout=5))
    stale(talk)
    body_of(talk, get())
    talk.pass_time(6)
    assert (talk.in_flight, talk.records[-1].status) == ({}, 504)


def test_a_target_that_is_removed_by_force_ends_its_refreshes(talk: CachedDialogue) -> None:
    target = stale(talk)
    body_of(talk, get())
    talk.path.cut(1)
    talk.loop.settle()
    assert (repr(target), talk.in_flight) == ("aborted", {})


def test_a_refresh_that_nobody_has_to_make_leaves_nothing(talk: CachedDialogue) -> None:
    target = stale(talk)
    body_of(talk, get())
    body_of(talk, get())
    assert len(talk.services.refreshes) == 1
    target.says(ok(b"new", LIVES))
    assert talk.services.refreshes == set()


def test_nobody_hears_what_it_is_told(talk: CachedDialogue) -> None:
    client = talk.client()
    side = Background(talk.services, Client(client.transport))
    side.send_interim(ResponseHead(0, 0))
    side.send_head(ResponseHead(0, 0), b"x", False)
    side.send_body(b"x", True)
    side.send_trailers([])
    side.hold()
    side.let()
    side.abort()
    side.exchange_over()
    assert side.send_own(refused("no_target", 503, "-"), 1) == 0
    assert client.hears() == b""
    assert (side.protocol(), side.decodes) == ("refresh", True)
