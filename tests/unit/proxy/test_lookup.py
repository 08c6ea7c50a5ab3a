"""One request and the cache: what is answered from it, what is asked of a target, and what of that is kept."""

import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from equipoise.model import CacheSpec
from equipoise.policy import caching
from equipoise.proxy.access_log import JsonLog
from equipoise.proxy.services import LogPort
from equipoise.proxy.upstream_http1 import UpstreamHttp1
from tests.support.cached_dialogue import (
    Answer,
    CachedDialogue,
    SharedCache,
    by_rfc9111,
    chunks,
    get,
    heard,
    identical,
    ok,
    post,
)
from tests.support.dialogue import limits, only, web
from tests.support.ends import Http1Client, Http2Client, Http2Target
from tests.support.http2_peer import only2
from tests.support.transport import Peer

Make = Callable[..., CachedDialogue]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FRESH = b"Cache-Control: max-age=60"
TAGGED = b'ETag: "1"'
STALE = b"Cache-Control: max-age=10"
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=10\r\n\r\n'


@pytest.fixture
def make() -> Iterator[Make]:
    """Dialogues with a cache; at the end nothing may be left of them."""
    talks: list[CachedDialogue] = []

    def start(spec: CacheSpec, *pools: Any, **more: Any) -> CachedDialogue:
        talks.append(CachedDialogue(spec, *pools, **more))
        return talks[-1]

    yield start
    for talk in talks:
        talk.close()


@pytest.fixture
def talk(make: Make) -> CachedDialogue:
    """Mode `identical`, one target."""
    return make(identical())


@pytest.fixture
def web9111(make: Make) -> CachedDialogue:
    """Mode `rfc9111`, one target."""
    return make(by_rfc9111())


def filled(talk: CachedDialogue, request: bytes, answer: bytes) -> Peer:
    """The target's connection, after it has given an answer that is stored now."""
    client = talk.client()
    client.says(request)
    target = talk.accept()
    target.says(answer)
    assert client.hears()
    client.ends()
    target.hears()
    return target


def asked(talk: CachedDialogue, request: bytes) -> Answer:
    """The answer that a client of its own gets at once."""
    client = talk.client()
    client.says(request)
    answer = heard(client)
    client.ends()
    return answer


def asked_target(talk: CachedDialogue, target: Peer, request: bytes, answer: bytes) -> tuple[bytes, Answer]:
    """What an idle target hears of a request, and what its client hears of the answer."""
    client = talk.client()
    client.says(request)
    went_up = target.hears()
    assert went_up, "it was answered from the cache"
    target.says(answer)
    got = heard(client)
    client.ends()
    return went_up, got


# Hit, miss, bypass


def test_the_second_request_is_answered_without_a_target(talk: CachedDialogue) -> None:
    target = filled(talk, get(b"/a"), ok(b"stored", b"X: y"))
    talk.clock.advance(7)
    answer = asked(talk, get(b"/a"))
    assert (answer.status, answer.body, answer.one(b"x")) == (200, b"stored", b"y")
    assert (answer.one(b"age"), answer.one(b"cache-status")) == (b"7", b"equipoise; hit; ttl=53")
    assert (answer.one(b"content-length"), answer.one(b"x-request-id")) == (b"6", b"0000000000000001")
    assert (target.hears(), talk.dials) == (b"", [])
    assert talk.cached() == [("miss", ""), ("hit", "")]


def test_a_miss_says_that_it_was_stored(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    talk.accept().says(ok())
    assert heard(client).one(b"cache-status") == b"equipoise; fwd=miss; stored"


def test_a_hit_leaves_what_is_in_flight_and_the_target_alone(talk: CachedDialogue) -> None:
    filled(talk, get(), ok())
    before = talk.totals()
    assert asked(talk, get()).body == b"ok"
    assert (talk.in_flight, talk.totals()) == ({}, before)
    assert talk.records[1].target is None
    assert (talk.records[1].attempts, talk.records[1].upstream_ms) == (0, None)


@pytest.mark.parametrize("jump", [-86_400, -1, 86_400], ids=repr)
@pytest.mark.parametrize("mode", ["identical", "rfc9111"])
def test_a_wall_clock_that_is_set_makes_no_answer_older_or_younger(make: Make, mode: str, jump: int) -> None:
    talk = make(CacheSpec(enabled=True, mode=mode, ttl=60))
    target = filled(talk, get(), ok(b"stored", b"Cache-Control: max-age=60"))
    now = talk.clock.now()
    talk.services.set_wall_clock(now, talk.services.wall(now) + jump * 1_000_000_000)
    talk.clock.advance(59)
    assert (asked(talk, get()).one(b"age"), target.hears()) == (b"59", b"")
    talk.clock.advance(1)
    assert asked_target(talk, target, get(), ok(b"new"))[1].body == b"new"


def test_an_answer_is_no_older_for_a_wall_clock_that_was_set_while_it_was_asked_for(make: Make) -> None:
    talk = make(CacheSpec(enabled=True, mode="rfc9111", ttl=60))
    client = talk.client()
    client.says(get())
    target = talk.accept()
    now = talk.clock.now()
    talk.services.set_wall_clock(now, talk.services.wall(now) + 86_400_000_000_000)
    target.says(ok(b"stored", b"Cache-Control: max-age=60"))
    assert asked(talk, get()).one(b"age") == b"0"


def test_an_answer_is_not_used_when_its_time_is_over(talk: CachedDialogue) -> None:
    target = filled(talk, get(), ok())
    talk.clock.advance(60)
    went_up, got = asked_target(talk, target, get(), ok(b"new"))
    assert b"If-None-Match" not in went_up
    assert (got.body, asked(talk, get()).body) == (b"new", b"new")


def test_a_client_goes_on_behind_a_hit(talk: CachedDialogue) -> None:
    filled(talk, get(), ok())
    client = talk.client()
    client.says(get() + get())
    assert client.hears().count(b"equipoise; hit") == 2
    assert repr(client) == "open"


def test_a_hit_ends_the_connection_when_the_client_wants_so(talk: CachedDialogue) -> None:
    filled(talk, get(), ok())
    client = talk.client()
    client.says(get(b"/", b"Connection: close"))
    assert heard(client).one(b"connection") == b"close"
    assert repr(client) == "closed"


@pytest.mark.parametrize(
    ("request_bytes", "why"),
    [
        (get(method=b"PUT"), "method"),
        (get(b"/", b"Authorization: Basic eDp5"), "authorization"),
        (get(b"/", b"Cache-Control: no-store"), "request_no_store"),
        (get(b"/", b"Cache-Control: max-age=1; no-store"), "request_malformed"),
        (post(b"x", b"Content-Type: application/grpc"), "grpc"),
        (post(b"hello", b"Expect: 100-continue"), "expect"),
        (post(b"x" * 4097), "body_too_large"),
    ],
)
def test_a_request_that_leaves_the_cache_out_says_why(talk: CachedDialogue, request_bytes: bytes, why: str) -> None:
    for _ in range(2):
        client = talk.client()
        client.says(request_bytes)
        target = talk.accept()
        target.says(ok(b"", b"Connection: close"))
        status = heard(client).one(b"cache-status")
        assert status == b'equipoise; fwd=bypass; detail="%b"' % why.encode()
        client.ends()
    assert talk.cached() == [("bypass", why)] * 2
    assert talk.stats()["stores"] == 0


@pytest.mark.parametrize(
    ("line", "why"), [(b'If-Match: "1"', "precondition"), (b"If-Unmodified-Since: x", "precondition")]
)
def test_a_precondition_is_the_target_s_to_evaluate(web9111: CachedDialogue, line: bytes, why: str) -> None:
    target = filled(web9111, get(), ok(b"ok", FRESH))
    went_up, got = asked_target(web9111, target, get(b"/", line), ok(b"", status=b"412 Precondition Failed"))
    assert line in went_up
    assert (got.status, web9111.cached()[-1]) == (412, ("bypass", why))


def test_a_get_with_a_body_leaves_the_cache_out_where_nothing_says_what_that_means(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"ok", FRESH))
    went_up, _ = asked_target(web9111, target, post(b"fat", method=b"GET"), ok(b"poison", FRESH))
    assert went_up.endswith(b"fat")
    assert web9111.cached()[-1] == ("bypass", "body")
    assert asked(web9111, get()).body == b"ok"


def test_an_upgrade_has_no_part_of_the_cache(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get(b"/", b"Connection: Upgrade", b"Upgrade: websocket"))
    talk.accept().says(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
    assert heard(client).one(b"cache-status") is None
    assert talk.cached() == [("off", "")]


def test_a_request_without_a_host_leaves_the_cache_out(talk: CachedDialogue) -> None:
    """The target hears the address in its place, which is no part of the key."""
    client = talk.client()
    client.says(b"GET / HTTP/1.0\r\n\r\n")
    target = talk.accept()
    assert b"Host: 192.0.2.80:8080\r\n" in target.hears()
    target.says(ok())
    assert talk.cached() == [("bypass", "no_host")]


# What is not kept


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(b"", b"Set-Cookie: a=b"), caching.SET_COOKIE),
        (ok(b"", b"Cache-Control: no-store"), caching.NO_STORE),
        (ok(b"", b"Cache-Control: private"), caching.PRIVATE),
        (ok(b"", b"Cache-Control: no-cache"), caching.NO_CACHE),
        (ok(b"", b"Cache-Control: public; max-age=1"), caching.MALFORMED),
        (ok(b"", b"Vary: *"), caching.VARY),
        (ok(b"", b"Vary: X-Request-Id"), caching.VARY),
        (ok(b"", b"Vary: X-Forwarded-For"), caching.VARY),
        (ok(b"", status=b"500 Oops"), caching.STATUS),
        (ok(b"", status=b"400 Bad"), caching.STATUS),
        (ok(b"", status=b"431 Large"), caching.STATUS),
        (ok(b"", b"Content-Range: bytes 0-0/9", status=b"206 Partial"), caching.PARTIAL_ANSWER),
        (ok(b"", b"Content-Range: bytes 0-0/9"), caching.PARTIAL_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n" + bytes(4097), caching.TOO_LARGE),
        (CHUNKED + chunks(bytes(4000), bytes(97), b""), caching.TOO_LARGE),
        (CHUNKED + chunks(b"ok") + b"0\r\nX-Sum: 1\r\n\r\n", caching.TRAILERS),
    ],
)
def test_an_answer_that_is_not_kept_says_why(talk: CachedDialogue, answer: bytes, why: str) -> None:
    target = filled(talk, get(b"/", b"TE: trailers"), answer)
    asked_target(talk, target, get(b"/", b"TE: trailers"), answer)
    assert talk.stats()["stores"] == 0
    assert talk.cached() == [("miss", why)] * 2


def test_an_answer_that_ends_with_its_connection_is_not_kept(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    target = talk.accept()
    target.says(b"HTTP/1.1 200 OK\r\n\r\nhalf or whole")
    target.ends()
    assert client.hears().endswith(b"half or whole\r\n0\r\n\r\n")
    assert (talk.cached(), talk.stats()["stores"]) == ([("miss", caching.UNFRAMED)], 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(), caching.NOT_FRESH),
        (ok(b"", b"Cache-Control: no-store, max-age=9"), caching.NO_STORE),
        (ok(b"", b"Cache-Control: private"), caching.PRIVATE),
        (ok(b"", FRESH, b"Vary: *"), caching.VARY),
    ],
)
def test_an_answer_that_rfc9111_does_not_let_be_kept_says_why(web9111: CachedDialogue, answer: bytes, why: str) -> None:
    filled(web9111, get(), answer)
    assert (web9111.cached(), web9111.stats()["stores"]) == ([("miss", why)], 0)


# Bodies of requests


def test_requests_with_other_bodies_are_others(talk: CachedDialogue) -> None:
    target = filled(talk, post(b"one"), ok(b"1"))
    _, got = asked_target(talk, target, post(b"two"), ok(b"2"))
    assert got.body == b"2"
    assert (asked(talk, post(b"one")).body, asked(talk, post(b"two")).body) == (b"1", b"2")


def test_the_target_hears_the_body_that_was_gathered(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(post(b"one, two")[:-3], b"t")
    assert talk.dials == []
    client.says(b"wo")
    assert talk.accept().hears().endswith(b"\r\n\r\none, two")
    client.ends()


def test_the_body_counts_and_not_how_it_came(talk: CachedDialogue) -> None:
    filled(talk, post(b"hello"), ok(b"by length"))
    head = get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
    client = talk.client()
    client.says(head, chunks(b"he"), chunks(b"llo") + b"0\r\n\r\n")
    assert heard(client).body == b"by length"
    assert asked(talk, head + chunks(b"hello", b"")).body == b"by length"
    client2 = Http2Client(talk)
    client2.asks(b"POST")
    client2.sends(b"hel")
    client2.sends(b"lo")
    client2.ends()
    assert client2.hears().body == b"by length"
    assert talk.stats()["stores"] == 1


def test_a_chunked_body_that_was_gathered_goes_up_chunked(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), chunks(b"a", b"b", b""))
    head, _, body = talk.accept().hears().partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head + b"\r\n"
    assert body == b"2\r\nab\r\n0\r\n\r\n"
    client.ends()


def test_a_body_that_is_told_too_large_is_not_waited_for(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(post(bytes(5000))[:-4999])
    target = talk.accept()
    assert target.hears().endswith(b"\r\n\r\n\0")
    client.says(bytes(4999))
    assert target.hears() == bytes(4999)
    target.says(ok())
    assert heard(client).body == b"ok"
    assert talk.cached() == [("bypass", "body_too_large")]


def test_a_body_that_turns_out_too_large_streams_past(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"), chunks(bytes(4096)))
    assert talk.dials == []
    client.says(chunks(b"x"))
    target = talk.accept()
    assert len(target.hears()) > 4097
    client.says(chunks(b"yz"))
    assert target.hears() == b"2\r\nyz\r\n"
    client.says(b"0\r\n\r\n")
    assert target.hears() == b"0\r\n\r\n"
    target.says(ok())
    assert heard(client).body == b"ok"
    assert talk.cached() == [("bypass", "body_too_large")]


def test_a_client_of_http2_may_send_what_is_gathered(make: Make) -> None:
    """Its window is opened while nobody takes the body yet."""
    talk = make(identical(max_body=400_000), shared=SharedCache(max_bytes=16 << 20))
    client = Http2Client(talk)
    client.asks(b"POST")
    room = 65_535
    for _ in range(20):
        room -= 16_000
        assert room >= 0, "its window stays shut"
        client.sends(bytes(16_000))
        room += client.peer.granted(1)
    client.ends()
    target = talk.accept()
    assert target.hears().endswith(b"0\r\n\r\n")
    target.says(ok())
    assert client.hears().body == b"ok"


def test_trailers_of_a_request_leave_the_cache_out(talk: CachedDialogue) -> None:
    head = get(b"/", b"Transfer-Encoding: chunked", b"Trailer: X", method=b"POST")
    end = chunks(b"a") + b"0\r\nX: 1\r\n\r\n"
    target = filled(talk, get(), ok())
    for pieces in ((head + end,), (head, end), (head, end[:6], end[6:]), (head + end[6:],)):
        client = talk.client()
        client.says(*pieces)
        body = target.hears().partition(b"\r\n\r\n")[2]
        assert body == (b"" if pieces[0] == head + end[6:] else chunks(b"a")) + b"0\r\nx: 1\r\n\r\n"
        target.says(ok())
        assert client.hears()
        client.ends()
    assert talk.cached()[1:] == [("bypass", "trailers")] * 4


def test_a_client_that_waits_for_continue_hears_it_from_the_target(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(post(b"hello", b"Expect: 100-continue")[:-5])
    target = talk.accept()
    target.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.says(b"hello")
    target.says(ok())
    assert heard(client).body == b"ok"


def test_a_client_that_leaves_within_its_body_leaves_nothing(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(post(b"hello")[:-2])
    client.ends()
    assert (talk.dials, talk.record.status) == ([], 499)


def test_a_slow_body_is_not_the_target_s_time(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(post(b"hello")[:-2])
    talk.clock.advance(9)
    client.says(b"lo")
    target = talk.accept()
    talk.clock.advance(1)
    target.says(ok())
    assert (talk.record.duration_ms, talk.record.upstream_ms) == (10_000.0, 1_000.0)


# Framing


def test_a_chunked_answer_is_stored_without_its_chunks(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    target = talk.accept()
    target.says(CHUNKED + chunks(b"one, "))
    target.says(chunks(b"two") + b"0\r\n\r\n")
    first = heard(client)
    assert (first.one(b"transfer-encoding"), first.body) == (b"chunked", chunks(b"one, ", b"two") + b"0\r\n\r\n")
    second = asked(talk, get())
    assert (second.one(b"content-length"), second.one(b"transfer-encoding")) == (b"8", None)
    assert second.body == b"one, two"


def test_a_chunked_answer_that_comes_at_once_has_a_length(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    talk.accept().says(CHUNKED + chunks(b"all", b""))
    answer = heard(client)
    assert (answer.one(b"content-length"), answer.one(b"transfer-encoding"), answer.body) == (b"3", None, b"all")
    assert asked(talk, get()).body == b"all"


def test_a_client_of_http_1_0_gets_a_chunked_answer_plainly_while_it_is_stored(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get(version=b"1.0"))
    target = talk.accept()
    target.says(CHUNKED + chunks(b"one, "))
    target.says(chunks(b"two") + b"0\r\n\r\n")
    answer = heard(client)
    assert (answer.one(b"connection"), answer.body) == (b"close", b"one, two")
    assert repr(client) == "closed"
    assert asked(talk, get(version=b"1.0")).body == b"one, two"


def test_a_chunked_answer_that_is_not_stored_is_passed_on_whole(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    target = talk.accept()
    target.says(CHUNKED.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n") + chunks(b"one"))
    target.says(chunks(b"two") + b"0\r\nX-Sum: 1\r\n\r\n")
    assert heard(client).body == chunks(b"one", b"two") + b"0\r\nx-sum: 1\r\n\r\n"


def test_an_answer_to_head_is_kept_with_its_length_and_without_a_body(talk: CachedDialogue) -> None:
    target = filled(talk, get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    answer = asked(talk, get(method=b"HEAD"))
    assert (answer.status, answer.one(b"content-length"), answer.body) == (200, b"1000", b"")
    _, got = asked_target(talk, target, get(), ok(b"whole"))
    assert got.body == b"whole"


def test_an_answer_to_head_needs_no_length_to_be_kept(talk: CachedDialogue) -> None:
    filled(talk, get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")
    answer = asked(talk, get(method=b"HEAD"))
    assert (answer.one(b"x"), answer.one(b"content-length"), answer.body) == (b"y", None, b"")


def test_an_answer_without_content_is_kept(talk: CachedDialogue) -> None:
    filled(talk, get(), b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n")
    answer = asked(talk, get())
    assert (answer.status, answer.one(b"content-length"), answer.body) == (204, None, b"")


@pytest.mark.parametrize(("one", "other"), [(Http1Client, Http2Client), (Http2Client, Http1Client)])
def test_clients_of_both_protocols_share_what_is_stored(make: Make, one: type[Any], other: type[Any]) -> None:
    talk = make(identical())
    first, second = one(talk), other(talk)
    first.asks_all(b"GET", b"/a", (b"cookie", b"a=b; c=d"), (b"accept", b"x/y"))
    target = talk.accept()
    target.says(ok(b"stored", b"Content-Type: a/b"))
    assert first.hears().body == b"stored"
    second.asks_all(b"GET", b"/a", (b"cookie", b"a=b; c=d"), (b"accept", b"x/y"))
    arrived = second.hears()
    assert (arrived.status, arrived.body, arrived.length, arrived.whole) == (200, b"stored", 6, True)
    fields = dict(arrived.fields)
    assert (fields[b"content-type"], fields[b"cache-status"]) == (b"a/b", b"equipoise; hit; ttl=60")


def test_what_a_target_of_http2_answers_is_kept(make: Make) -> None:
    talk = make(identical(), only2())
    client = Http2Client(talk)
    client.asks_all(b"GET")
    target = Http2Target(talk)
    target.answers(200, (b"x", b"y"))
    target.sends(b"in ")
    target.sends(b"pieces")
    target.ends()
    assert client.hears().body == b"in pieces"
    answer = asked(talk, get())
    assert (answer.body, answer.one(b"x"), answer.one(b"content-length")) == (b"in pieces", b"y", b"9")
    head = Http2Client(talk)
    head.asks_all(b"GET")
    assert head.hears().body == b"in pieces"


# Mode rfc9111: validation


def validated(talk: CachedDialogue, answer: bytes, *lines: bytes, request: bytes = b"") -> tuple[bytes, Answer]:
    """What went up and came down when a stale answer with an entity tag was asked for."""
    target = filled(talk, get(), ok(b"stored", b"Cache-Control: max-age=10" + b"".join(lines), TAGGED))
    talk.clock.advance(11)
    return asked_target(talk, target, request or get(), answer)


def test_a_stale_answer_is_validated_and_used(web9111: CachedDialogue) -> None:
    went_up, got = validated(web9111, NOT_MODIFIED)
    assert b'\r\nif-none-match: "1"\r\n' in went_up
    assert (got.status, got.body, got.one(b"age")) == (200, b"stored", b"0")
    assert asked(web9111, get()).body == b"stored"
    assert web9111.cached() == [("miss", "absent"), ("hit", "validated"), ("hit", "fresh")]
    assert (web9111.in_flight, web9111.totals()["responses"]) == ({}, 2)


def test_a_validation_goes_up_in_place_of_the_client_s_own(web9111: CachedDialogue) -> None:
    request = get(b"/", b'If-None-Match: "1"', b"Range: bytes=0-1", b"X: y")
    went_up, got = validated(web9111, NOT_MODIFIED, request=request)
    assert went_up.lower().count(b"if-none-match") == 1
    assert b"range" not in went_up.lower()
    assert b"\r\nX: y\r\n" in went_up
    # The client has it.
    assert (got.status, got.body) == (304, b"")


def test_a_new_answer_takes_the_place_of_what_was_validated(web9111: CachedDialogue) -> None:
    _, got = validated(web9111, ok(b"new", FRESH))
    assert (got.status, got.body) == (200, b"new")
    assert asked(web9111, get()).body == b"new"


def test_a_304_of_something_else_is_asked_for_again_without_conditions(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"stored", STALE, TAGGED))
    web9111.clock.advance(11)
    client = web9111.client()
    client.says(get(b"/", b"X: y"))
    assert b"if-none-match" in target.hears()
    target.says(b'HTTP/1.1 304 Not Modified\r\nETag: "2"\r\n\r\n')
    assert client.hears() == b""
    again = target.hears()
    assert b"if-none-match" not in again.lower()
    assert b"\r\nX: y\r\n" in again
    target.says(ok(b"whole", FRESH))
    assert (heard(client).body, asked(web9111, get()).body) == (b"whole", b"whole")
    assert web9111.in_flight == {}


def test_a_304_to_the_client_s_own_condition_is_passed_on(web9111: CachedDialogue) -> None:
    client = web9111.client()
    client.says(get(b"/", b'If-None-Match: "9"'))
    target = web9111.accept()
    assert b'If-None-Match: "9"' in target.hears()
    target.says(b'HTTP/1.1 304 Not Modified\r\nETag: "9"\r\n\r\n')
    assert heard(client).status == 304
    assert web9111.stats()["stores"] == 0


@pytest.mark.parametrize("answer", [ok(b"", status=b"503 Busy"), ok(b"x" * 9, status=b"500 Oops")])
def test_an_error_at_validation_is_the_answer(web9111: CachedDialogue, answer: bytes) -> None:
    _, got = validated(web9111, answer)
    assert got.status in {500, 503}
    assert web9111.cached()[-1] == ("miss", caching.STATUS)


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"", status=b"503 Busy"),
        b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\nthe beginning",
        CHUNKED.replace(b"200 OK", b"502 Bad"),
    ],
)
def test_an_error_at_validation_gives_way_to_what_is_stored(web9111: CachedDialogue, answer: bytes) -> None:
    _, got = validated(web9111, answer, b", stale-if-error=100")
    assert (got.status, got.body, got.one(b"age")) == (200, b"stored", b"11")
    assert web9111.cached()[-1] == ("hit", "stale_if_error")
    assert web9111.in_flight == {}


def test_a_target_that_is_down_gives_way_to_what_is_stored(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"stored", b"Cache-Control: max-age=10, stale-if-error=100", TAGGED))
    web9111.clock.advance(11)
    target.ends()
    client = web9111.client()
    client.says(get())
    web9111.refuse()
    assert (heard(client).body, web9111.cached()[-1]) == (b"stored", ("hit", "stale_if_error"))
    assert (web9111.records[-1].status, web9111.records[-1].error) == (200, None)
    assert web9111.reports == [("web", "a", "connect_failed")]


def test_what_nothing_can_validate_stands_in_for_a_target_that_is_down(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"stored", b"Cache-Control: max-age=10, stale-if-error=100"))
    web9111.clock.advance(11)
    went_up, got = asked_target(web9111, target, get(b"/", b'If-None-Match: "9"'), ok(b"", status=b"503 Busy"))
    assert b'If-None-Match: "9"' in went_up
    assert (got.status, got.body) == (200, b"stored")
    # What is not ours to ask is not ours to hear.
    _, got = asked_target(web9111, target, get(b"/", b'If-None-Match: "9"'), b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert got.status == 304


def test_without_stale_if_error_a_target_that_is_down_is_502(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"stored", STALE, TAGGED))
    web9111.clock.advance(11)
    target.ends()
    client = web9111.client()
    client.says(get())
    web9111.refuse()
    assert heard(client).status == 502


def test_a_304_that_forbids_storing_ends_what_is_stored_with_this_answer(web9111: CachedDialogue) -> None:
    _, got = validated(web9111, NOT_MODIFIED.replace(b"max-age=10", b"no-store"))
    assert (got.status, got.body) == (200, b"stored")
    client = web9111.client()
    client.says(get())
    assert client.hears() == b"", "it has to be asked for again"


def test_a_validation_over_http2_replaces_the_client_s_conditions(make: Make) -> None:
    talk = make(by_rfc9111(), only2())
    client = Http2Client(talk)
    client.asks_all(b"GET")
    target = Http2Target(talk)
    target.answers(200, (b"etag", b'"1"'), (b"cache-control", b"max-age=10"))
    target.sends(b"stored")
    target.ends()
    client.hears()
    target.hears()
    talk.clock.advance(11)
    again = Http2Client(talk)
    again.asks_all(b"GET", b"/", (b"if-none-match", b'"0"'), (b"range", b"bytes=0-0"), (b"x", b"y"))
    target.arrived = type(target.arrived)()
    asked = dict(target.hears().fields)
    assert (asked[b"if-none-match"], asked.get(b"range"), asked[b"x"]) == (b'"1"', None, b"y")
    target.stream = 3
    target.answers(304, (b"etag", b'"1"'), bodiless=True)
    assert again.hears().status == 206


# Mode rfc9111: the client's wishes, and what of a stored answer it gets


def test_only_if_cached_is_answered_from_the_cache_or_not_at_all(web9111: CachedDialogue) -> None:
    request = get(b"/", b"Cache-Control: only-if-cached")
    answer = asked(web9111, request)
    assert (answer.status, web9111.dials) == (504, [])
    assert web9111.record.error == "not_cached (self)"
    filled(web9111, get(), ok(b"stored", FRESH))
    assert asked(web9111, request).body == b"stored"
    web9111.clock.advance(61)
    assert asked(web9111, request).status == 504


def test_no_cache_has_what_is_stored_validated(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(), ok(b"stored", FRESH, TAGGED))
    went_up, got = asked_target(web9111, target, get(b"/", b"Cache-Control: no-cache"), NOT_MODIFIED)
    assert b'if-none-match: "1"' in went_up
    assert (got.status, got.body) == (200, b"stored")


def test_head_is_answered_from_what_get_has_stored(web9111: CachedDialogue) -> None:
    filled(web9111, get(), ok(b"stored", FRESH))
    answer = asked(web9111, get(method=b"HEAD"))
    assert (answer.status, answer.one(b"content-length"), answer.body) == (200, b"6", b"")
    client = Http2Client(web9111)
    client.asks_all(b"HEAD")
    arrived = client.hears()
    assert (arrived.status, arrived.length, arrived.body, arrived.whole) == (200, 6, b"", True)


def test_head_stores_nothing_that_get_would_be_answered_from(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n%b\r\n\r\n" % FRESH)
    _, got = asked_target(web9111, target, get(), ok(b"whole!", FRESH))
    assert got.body == b"whole!"


@pytest.mark.parametrize(
    ("wanted", "status", "said", "body"),
    [
        (b"bytes=2-3", 206, b"bytes 2-3/6", b"or"),
        (b"bytes=-2", 206, b"bytes 4-5/6", b"ed"),
        (b"bytes=6-", 416, b"bytes */6", b""),
        (b"bytes=0-1,3-4", 200, None, b"stored"),
        (b"lines=1-2", 200, None, b"stored"),
    ],
)
def test_a_range_of_what_is_stored_is_answered(
    web9111: CachedDialogue, wanted: bytes, status: int, said: bytes | None, body: bytes
) -> None:
    filled(web9111, get(), ok(b"stored", FRESH))
    answer = asked(web9111, get(b"/", b"Range: " + wanted))
    assert (answer.status, answer.one(b"content-range"), answer.body) == (status, said, body)
    assert answer.one(b"content-length") == b"%d" % len(body)
    client = Http2Client(web9111)
    client.asks_all(b"GET", b"/", (b"range", wanted))
    arrived = client.hears()
    assert (arrived.status, arrived.body, arrived.whole) == (status, body, True)


def test_a_range_that_is_not_stored_is_passed_on_and_not_taken_for_the_whole(web9111: CachedDialogue) -> None:
    target = filled(
        web9111,
        get(b"/", b"Range: bytes=0-1"),
        ok(b"st", FRESH, b"Content-Range: bytes 0-1/6", status=b"206 Partial Content"),
    )
    _, got = asked_target(web9111, target, get(), ok(b"stored", FRESH))
    assert got.body == b"stored"


@pytest.mark.parametrize("odd", [get(b"/", b"Range: x"), get(method=b"HEAD")])
def test_what_cannot_be_stored_is_not_waited_for(web9111: CachedDialogue, odd: bytes) -> None:
    """Otherwise one client could have every second fetch of the others go alone."""
    client = web9111.client()
    client.says(odd)
    first = web9111.accept()
    clients = waiting_clients(web9111)
    first.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n\r\n" % FRESH)
    assert client.hears()
    assert (web9111.waiting(), web9111.cached()) == (3, [("miss", "partial" if b"Range" in odd else "method")])
    web9111.accept().says(ok(b"whole", FRESH))
    assert [heard(each).body for each in clients] == [b"whole"] * 4


def test_query_is_answered_for_the_same_body_only(web9111: CachedDialogue) -> None:
    target = filled(web9111, post(b"q1", method=b"QUERY"), ok(b"a1", FRESH))
    _, got = asked_target(web9111, target, post(b"q2", method=b"QUERY"), ok(b"a2", FRESH))
    assert got.body == b"a2"
    assert asked(web9111, post(b"q1", method=b"QUERY")).body == b"a1"


# Vary


def test_variants_are_told_apart(web9111: CachedDialogue) -> None:
    vary = (FRESH, b"Vary: Accept-Language")
    target = filled(web9111, get(b"/", b"Accept-Language: de"), ok(b"Hallo", *vary))
    _, got = asked_target(web9111, target, get(b"/", b"Accept-Language: en"), ok(b"Hello", *vary))
    assert got.body == b"Hello"
    _, got = asked_target(web9111, target, get(), ok(b"?", *vary))
    for line, body in ((b"Accept-Language: de", b"Hallo"), (b"Accept-Language: en", b"Hello"), (b"X: y", b"?")):
        assert asked(web9111, get(b"/", line)).body == body


def test_a_new_variant_is_fetched_once_for_many(web9111: CachedDialogue) -> None:
    vary = (FRESH, b"Vary: Accept-Language")
    target = filled(web9111, get(b"/", b"Accept-Language: de"), ok(b"Hallo", *vary))
    clients = [web9111.client() for _ in range(5)]
    for client in clients:
        client.says(get(b"/", b"Accept-Language: en"))
    assert (target.hears().count(b"GET "), web9111.dials, web9111.waiting()) == (1, [], 4)
    target.says(ok(b"Hello", *vary))
    assert [heard(client).body for client in clients] == [b"Hello"] * 5


def test_many_that_wait_for_the_first_variant_fetch_the_others_once(web9111: CachedDialogue) -> None:
    vary = (FRESH, b"Vary: Accept-Language")
    german, english = ([web9111.client() for _ in range(3)] for _ in range(2))
    for client in german:
        client.says(get(b"/", b"Accept-Language: de"))
    for client in english:
        client.says(get(b"/", b"Accept-Language: en"))
    target = web9111.accept()
    target.says(ok(b"Hallo", *vary))
    assert [heard(client).body for client in german] == [b"Hallo"] * 3
    assert (web9111.dials, web9111.waiting()) == ([], 2)
    target.hears()
    target.says(ok(b"Hello", *vary))
    assert [heard(client).body for client in english] == [b"Hello"] * 3


def test_a_stale_variant_is_validated_once_for_many(web9111: CachedDialogue) -> None:
    vary = (STALE, TAGGED, b"Vary: Accept-Language")
    target = filled(web9111, get(b"/", b"Accept-Language: de"), ok(b"Hallo", *vary))
    web9111.clock.advance(5)
    asked_target(web9111, target, get(b"/", b"Accept-Language: en"), ok(b"Hello", *vary))
    web9111.clock.advance(6)
    clients = [web9111.client() for _ in range(4)]
    for client in clients:
        client.says(get(b"/", b"Accept-Language: de"))
    assert (target.hears().count(b"GET "), web9111.dials) == (1, [])
    target.says(NOT_MODIFIED)
    assert [heard(client).body for client in clients] == [b"Hallo"] * 4


def test_a_hit_of_a_variant_is_one_hit(web9111: CachedDialogue) -> None:
    vary = (FRESH, b"Vary: Accept-Language")
    filled(web9111, get(b"/", b"Accept-Language: de"), ok(b"Hallo", *vary))
    for _ in range(3):
        asked(web9111, get(b"/", b"Accept-Language: de"))
    stats = web9111.stats()
    assert (stats["hits"], stats["misses"]) == (3, 1)


# Writes


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"MKCOL"])
def test_a_write_ends_what_is_stored(web9111: CachedDialogue, method: bytes) -> None:
    target = filled(web9111, get(), ok(b"old", FRESH))
    asked_target(web9111, target, get(method=method), ok(b"done"))
    _, got = asked_target(web9111, target, get(), ok(b"new", FRESH))
    assert (got.body, asked(web9111, get()).body) == (b"new", b"new")


def test_a_write_ends_all_variants(web9111: CachedDialogue) -> None:
    vary = (FRESH, b"Vary: Accept-Language")
    target = filled(web9111, get(b"/", b"Accept-Language: de"), ok(b"alt", *vary))
    asked_target(web9111, target, get(b"/", b"Accept-Language: en"), ok(b"old", *vary))
    asked_target(web9111, target, post(b"x"), ok(b"done"))
    for language, body in ((b"de", b"neu"), (b"en", b"new")):
        line = b"Accept-Language: " + language
        _, got = asked_target(web9111, target, get(b"/", line), ok(body, *vary))
        assert (got.body, asked(web9111, get(b"/", line)).body) == (body, body)


def test_a_write_ends_what_its_location_names(web9111: CachedDialogue) -> None:
    target = filled(web9111, get(b"/list"), ok(b"old", FRESH))
    asked_target(web9111, target, post(b"x", path=b"/new"), ok(b"", b"Location: /list", status=b"201 Created"))
    _, got = asked_target(web9111, target, get(b"/list"), ok(b"new", FRESH))
    assert got.body == b"new"


@pytest.mark.parametrize("answer", [ok(b"", status=b"500 Oops"), ok(b"", b"Location: http://y/list"), ok(b"", FRESH)])
def test_what_a_write_does_not_touch_stays(web9111: CachedDialogue, answer: bytes) -> None:
    target = filled(web9111, get(b"/list"), ok(b"old", FRESH))
    asked_target(web9111, target, post(b"x", path=b"/other"), answer)
    assert asked(web9111, get(b"/list")).body == b"old"


# One fetch for many


def waiting_clients(talk: CachedDialogue, count: int = 4, request: bytes = b"") -> list[Peer]:
    """So many clients that ask for the same; one leads."""
    clients = [talk.client() for _ in range(count)]
    for client in clients:
        client.says(request or get())
    assert (len(talk.dials), talk.waiting()) == (1, count - 1)
    return clients


def test_many_wait_for_one_fetch(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk, 50)
    assert talk.in_flight == {"a": 1}
    talk.accept().says(ok(b"for all"))
    assert [heard(client).body for client in clients] == [b"for all"] * 50
    assert sorted(talk.cached()) == [("hit", "")] * 49 + [("miss", "")]
    assert (talk.totals()["responses"], talk.stats()["followed"]) == (1, 49)


def test_those_who_wait_are_answered_when_the_answer_is_whole(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    target = talk.accept()
    target.says(ok(b"in two")[:-3])
    assert heard(clients[0]).body == b"in "
    assert [client.hears() for client in clients[1:]] == [b""] * 3
    target.says(b"two")
    assert [heard(client).body for client in clients[1:]] == [b"in two"] * 3


def test_when_the_leader_s_client_leaves_the_next_one_leads(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    first = talk.accept()
    first.says(ok(b"never whole")[:-3])
    clients[0].ends()
    assert (repr(first), talk.stats()["stores"]) == ("closed", 0) or repr(first) == "aborted"
    assert (len(talk.dials), talk.waiting(), talk.in_flight) == (1, 2, {"a": 1})
    talk.accept().says(ok(b"whole"))
    assert [heard(client).body for client in clients[1:]] == [b"whole"] * 3
    assert talk.in_flight == {}


def test_when_the_target_dies_in_the_middle_the_next_one_leads(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    target = talk.accept()
    target.says(ok(b"never whole")[:-3])
    target.resets()
    assert repr(clients[0]) == "aborted"
    assert (len(talk.dials), talk.waiting(), talk.stats()["stores"]) == (1, 2, 0)
    talk.accept().says(ok(b"whole"))
    assert [heard(client).body for client in clients[1:]] == [b"whole"] * 3


def test_when_no_target_can_be_reached_they_try_one_after_the_other(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    for client in clients:
        assert len(talk.dials) == 1
        talk.refuse()
        assert heard(client).status == 502
    assert (talk.dials, talk.waiting(), talk.in_flight) == ([], 0, {})


def test_an_answer_that_is_not_for_all_lets_each_go(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    talk.accept().says(ok(b"mine", b"Set-Cookie: a=1"))
    assert heard(clients[0]).body == b"mine"
    # The first takes the leader's connection.
    assert (talk.waiting(), talk.in_flight) == (0, {"a": 3})
    for client in clients[1:]:
        client.ends()
    while talk.dials:
        talk.refuse()


def test_nobody_waits_for_what_was_not_for_all_a_moment_ago(talk: CachedDialogue) -> None:
    filled(talk, get(), ok(b"mine", b"Set-Cookie: a=1"))
    clients = [talk.client() for _ in range(3)]
    for client in clients:
        client.says(get())
    assert (talk.waiting(), talk.in_flight) == (0, {"a": 3})
    for client in clients:
        client.ends()
    while talk.dials:
        talk.refuse()
    talk.clock.advance(1)
    last = [talk.client() for _ in range(2)]
    for client in last:
        client.says(get())
    assert (talk.waiting(), talk.in_flight) == (1, {"a": 1})


def test_one_who_waits_may_leave(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    clients[2].ends()
    assert (talk.waiting(), talk.record.status) == (2, 499)
    talk.accept().says(ok())
    assert [heard(clients[n]).body for n in (0, 1, 3)] == [b"ok"] * 3


def test_nobody_waits_longer_than_for_an_answer(make: Make) -> None:
    """A target that hangs takes each client's time once, not one after the other's."""
    talk = make(identical(), limits=limits(response_timeout=10))
    clients = waiting_clients(talk, 3)
    talk.accept()
    talk.pass_time(9)
    late = talk.client()
    late.says(get())
    talk.pass_time(2)
    assert heard(clients[0]).status == 504
    while talk.dials:
        talk.accept()
    talk.pass_time(11)
    assert [heard(client).status for client in clients[1:]] == [504, 504]
    while talk.dials:
        talk.accept()
    talk.pass_time(11)
    assert heard(late).status == 504


def test_those_who_wait_in_another_worker_are_answered(make: Make) -> None:
    shared = SharedCache()
    one = make(identical(), shared=shared)
    other = make(identical(), shared=shared, clock=one.clock)
    leader, follower = one.client(), other.client()
    leader.says(get())
    follower.says(get())
    assert (one.dials, other.dials) == (["10.0.0.1"], [])
    one.accept().says(ok(b"for all"))
    other.clock.advance(0.002)
    other.loop.settle()
    assert (heard(leader).body, heard(follower).body) == (b"for all", b"for all")
    assert other.cached() == [("hit", "")]
    assert asked(other, get()).body == b"for all"


def test_when_another_worker_s_leader_fails_one_here_leads(make: Make) -> None:
    shared = SharedCache()
    one = make(identical(), shared=shared)
    other = make(identical(), shared=shared, clock=one.clock)
    leader = one.client()
    leader.says(get())
    followers = [other.client() for _ in range(3)]
    for follower in followers:
        follower.says(get())
    one.refuse()
    assert heard(leader).status == 502
    other.clock.advance(0.002)
    other.loop.settle()
    assert (len(other.dials), other.waiting()) == (1, 2)
    other.accept().says(ok())
    assert [heard(follower).body for follower in followers] == [b"ok"] * 3


def test_the_flights_of_others_are_looked_at_only_while_somebody_waits(make: Make) -> None:
    shared = SharedCache()
    one = make(identical(), shared=shared)
    other = make(identical(), shared=shared, clock=one.clock)
    leader, follower = one.client(), other.client()
    leader.says(get())
    follower.says(get())
    assert other.port.watched
    follower.ends()
    other.clock.advance(0.002)
    other.loop.settle()
    assert not other.port.watched


# Purges and switches


def test_what_was_asked_for_before_a_purge_is_not_stored_after_it(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    target = talk.accept()
    talk.clock.advance(0.1)
    talk.shared.supervisor.purge_all(talk.clock.ns)
    talk.clock.advance(0.1)
    target.says(ok(b"old"))
    assert heard(client).body == b"old"
    _, got = asked_target(talk, target, get(), ok(b"new"))
    assert (got.body, asked(talk, get()).body) == (b"new", b"new")


def test_a_purge_of_a_path_leaves_the_others(talk: CachedDialogue) -> None:
    target = filled(talk, get(b"/a?q"), ok(b"a"))
    asked_target(talk, target, get(b"/b"), ok(b"b"))
    talk.clock.advance(0.1)
    assert talk.shared.purge_path(b"/a", talk.clock.ns) == 1
    talk.clock.advance(0.1)
    assert asked(talk, get(b"/b")).body == b"b"
    _, got = asked_target(talk, target, get(b"/a?q"), ok(b"new"))
    assert got.body == b"new"


def test_a_cache_that_is_switched_off_lets_all_go_on_and_stores_nothing(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    target = talk.accept()
    target.says(ok(b"whole")[:-3])
    talk.spec = identical(enabled=False)
    talk.apply(only())
    talk.loop.settle()
    assert talk.in_flight == {"a": 4}
    target.says(b"ole")
    assert heard(clients[0]).body == b"whole"
    for client in clients[1:]:
        client.ends()
    while talk.dials:
        talk.refuse()
    assert talk.shared.supervisor.stats()["stores"] == 0
    _, got = asked_target(talk, target, get(), ok(b"uncached"))
    assert (got.body, got.one(b"cache-status")) == (b"uncached", None)
    assert talk.records[-1].cache == "off"


def test_a_longer_ttl_leaves_what_is_stored_and_who_waits(talk: CachedDialogue) -> None:
    target = filled(talk, get(), ok(b"stored"))
    clients = [talk.client() for _ in range(2)]
    for client in clients:
        client.says(get(b"/other"))
    talk.spec = identical(ttl=100.0)
    talk.apply(only())
    assert asked(talk, get()).body == b"stored"
    target.says(ok(b"other"))
    assert [heard(client).body for client in clients] == [b"other"] * 2


# Another attempt


def test_a_request_that_was_gathered_can_be_tried_elsewhere(make: Make) -> None:
    talk = make(identical(), web())
    client = talk.client()
    client.says(post(b"body", method=b"QUERY"))
    talk.refuse()
    target = talk.accept()
    assert target.hears().endswith(b"\r\n\r\nbody")
    target.says(ok())
    assert heard(client).body == b"ok"
    assert asked(talk, post(b"body", method=b"QUERY")).body == b"ok"


def test_interim_answers_go_to_the_one_who_asks_and_are_not_kept(talk: CachedDialogue) -> None:
    client = talk.client()
    client.says(get())
    talk.accept().says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", ok())
    assert client.hears().startswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert asked(talk, get()).body == b"ok"


# The access log


class KeptLines(JsonLog):
    """A JSON log whose lines a test reads."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, lines: bytes, count: int) -> None:
        self.lines.extend(lines.splitlines(keepends=True))
        assert lines.count(b"\n") == count


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("spec", [identical(), by_rfc9111()], ids=["identical", "rfc9111"])
@pytest.mark.parametrize("body", [b"", b"hello", b"\xff", b"x" * 100])
@pytest.mark.parametrize("path", [b"/a?b=c&d=%20", b'/a"b\\c'])
def test_the_line_of_a_hit_says_what_its_record_says(
    make: Make, protocol: str, spec: CacheSpec, body: bytes, path: bytes
) -> None:
    talk = make(spec)
    kept = talk.services.log
    filled(talk, post(body, path=path, method=b"QUERY"), ok(b"stored", FRESH))
    sink = KeptLines()
    for port in (LogPort(sink, 16, ()), kept):
        talk.services.log = port
        if protocol == "HTTP/2":
            client = Http2Client(talk)
            client.asks(b"QUERY", path)
            if body:
                client.sends(body)
            client.ends()
        else:
            talk.client().says(post(body, path=path, method=b"QUERY"))
        if port is not None:
            port.flush()
    (raw,) = sink.lines
    line, record = json.loads(raw), msgspec.to_builtins(talk.records[-1])
    assert list(line) == list(record)
    assert line | {"request_id": "", "time": ""} == record | {"request_id": "", "time": ""}
    assert (line["cache"], line["protocol"], line["target"], line["attempts"]) == ("hit", protocol, None, 0)
    assert line.get("cache_reason") == (None if spec.mode == "identical" else "fresh")


# Nothing is left


def talk_hit(talk: CachedDialogue) -> None:
    filled(talk, get(), ok(b"x", FRESH))
    asked(talk, get())


def talk_miss_for_many(talk: CachedDialogue) -> None:
    clients = waiting_clients(talk)
    talk.accept().says(ok(b"x", FRESH))
    for client in clients:
        client.ends()


def talk_and_leave(talk: CachedDialogue) -> None:
    for client in waiting_clients(talk):
        client.ends()
        while talk.dials:
            talk.refuse()


def talk_and_fail(talk: CachedDialogue) -> None:
    for client in waiting_clients(talk):
        talk.refuse()
        client.ends()


def talk_and_bypass(talk: CachedDialogue) -> None:
    filled(talk, get(b"/", b"Cache-Control: no-store"), ok())


def talk_and_validate(talk: CachedDialogue) -> None:
    line = b"Cache-Control: max-age=10, stale-while-revalidate=9"
    target = filled(talk, get(), ok(b"x", line, TAGGED))
    for answer in (b"HTTP/1.1 304 Not Modified\r\n" + line + b"\r\n\r\n", ok(b"y", line)):
        talk.clock.advance(11)
        # The second one finds that it is fetched.
        assert [asked(talk, get()).body for _ in range(2)] == [b"x", b"x"]
        target.says(answer)


TALKS = [talk_hit, talk_miss_for_many, talk_and_leave, talk_and_fail, talk_and_bypass]


def garbage(spec: CacheSpec, converse: Callable[[CachedDialogue], None]) -> list[str]:
    """The types of ours that only the collector could free."""
    talk = CachedDialogue(spec)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        converse(talk)
        talk.loop.settle()
        gc.collect()
        return sorted({type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("equipoise.")})
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()
        talk.close()


@pytest.mark.parametrize("converse", TALKS)
@pytest.mark.parametrize("spec", [identical(), by_rfc9111()], ids=["identical", "rfc9111"])
def test_no_cycle_is_left_of_a_request(spec: CacheSpec, converse: Callable[[CachedDialogue], None]) -> None:
    assert garbage(spec, converse) == []


def test_no_cycle_is_left_of_a_refresh() -> None:
    assert garbage(by_rfc9111(), talk_and_validate) == []


def test_the_rules_of_the_connection_hold_for_a_hit_too(talk: CachedDialogue) -> None:
    """After a hit an idle target's connection is as idle as before."""
    filled(talk, get(), ok())
    asked(talk, get())
    stacks = talk.services.idle.by_slot.values()
    assert [type(each) for stack in stacks for each in stack.connections] == [UpstreamHttp1]
