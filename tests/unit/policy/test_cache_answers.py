"""What a client gets from the cache (RFC 9110 13, 14; RFC 9111 5.1; RFC 9211)."""

import pytest

from equipoise.model import CacheSpec
from equipoise.policy.cache_answers import Served, forwarded_status, serve, serve_identical
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.cached import Cached
from equipoise.policy.caching import Rules
from equipoise.policy.rfc9111_store import cache
from equipoise.wire.field_lines import FieldPairs
from equipoise.wire.http_date import format_date
from tests.support.caches import request

NS = 1_000_000_000
BORN = 1_800_000_000
RULES = Rules(CacheSpec(mode="rfc9111"), "p")
BODY = b"0123456789"
MODIFIED = format_date(BORN - 1000)
PAGE: FieldPairs = [
    (b"content-type", b"text/plain"),
    (b"cache-control", b"max-age=60"),
    (b"etag", b'"a"'),
    (b"last-modified", MODIFIED),
    (b"date", format_date(BORN)),
]


def stored(fields: FieldPairs | None = None, status: int = 200) -> Cached:
    answer = CacheAnswer(status, PAGE if fields is None else fields, True, BORN * NS, BORN * NS)
    return cache(RULES, request(), answer, len(BODY))


def asked(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> CacheRequest:
    made = request(fields=list(fields), method=method)
    assert RULES.consider(made, 0) == ""
    return made


def served(made: CacheRequest, found: Cached | None = None, after: float = 7) -> Served:
    return serve(made, found or stored(), len(BODY), int((BORN + after) * NS))


def body(answer: Served) -> bytes:
    return BODY[answer.start : answer.end]


def value(answer: Served, name: bytes) -> bytes | None:
    return dict(answer.fields()).get(name)


def test_a_hit_is_the_stored_answer_with_age_and_cache_status() -> None:
    answer = served(asked())
    assert (answer.status, body(answer)) == (200, BODY)
    assert answer.head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
    assert answer.fields()[-2:] == [(b"age", b"7"), (b"cache-status", b"equipoise; hit; ttl=53")]


def test_a_stale_hit_says_how_long_it_has_been_stale() -> None:
    assert value(served(asked(), after=90), b"cache-status") == b"equipoise; hit; ttl=-30"


def test_the_cache_status_of_caches_before_stays_in_front() -> None:
    answer = served(asked(), stored([*PAGE, (b"cache-status", b"origin; hit")]))
    lines = [text for name, text in answer.fields() if name == b"cache-status"]
    assert lines == [b"origin; hit", b"equipoise; hit; ttl=53"]


def test_head_gets_the_head_of_what_get_stored() -> None:
    answer = served(asked(method=b"HEAD"))
    assert (answer.status, body(answer), value(answer, b"content-length")) == (200, b"", b"10")


# -- conditions


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "condition",
    [
        (b"if-none-match", b'"a"'),
        (b"if-none-match", b'"x", W/"a"'),
        (b"if-none-match", b"*"),
        (b"if-modified-since", MODIFIED),
        (b"if-modified-since", format_date(BORN)),
    ],
)
def test_a_client_that_has_it_gets_304(method: bytes, condition: tuple[bytes, bytes]) -> None:
    answer = served(asked(condition, method=method))
    assert (answer.status, body(answer)) == (304, b"")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"if-none-match", b'"b"')],
        [(b"if-none-match", b"a")],
        [(b"if-none-match", b'"b"'), (b"if-modified-since", MODIFIED)],
        [(b"if-modified-since", format_date(BORN - 1001))],
        [(b"if-modified-since", b"yesterday")],
        [(b"if-modified-since", MODIFIED), (b"if-modified-since", MODIFIED)],
    ],
)
def test_a_client_that_has_another_gets_it(fields: FieldPairs) -> None:
    answer = served(asked(*fields))
    assert (answer.status, body(answer)) == (200, BODY)


def test_a_304_repeats_what_it_must_and_nothing_of_the_body() -> None:
    names = [name for name, _ in served(asked((b"if-none-match", b"*"))).fields()]
    assert names == [b"cache-control", b"etag", b"last-modified", b"date", b"age", b"cache-status"]


def test_without_last_modified_the_date_is_compared() -> None:
    found = stored([(b"cache-control", b"max-age=60"), (b"date", format_date(BORN))])
    assert served(asked((b"if-modified-since", format_date(BORN))), found).status == 304
    assert served(asked((b"if-modified-since", format_date(BORN - 1))), found).status == 200


def test_conditions_are_for_a_200() -> None:
    assert served(asked((b"if-none-match", b"*")), stored(status=404)).status == 404


# -- ranges


@pytest.mark.parametrize(
    ("fields", "content_range", "part"),
    [
        ([(b"range", b"bytes=0-0")], b"bytes 0-0/10", b"0"),
        ([(b"range", b"bytes=7-")], b"bytes 7-9/10", b"789"),
        ([(b"range", b"bytes=-3")], b"bytes 7-9/10", b"789"),
        ([(b"range", b"bytes=2-3"), (b"if-range", b'"a"')], b"bytes 2-3/10", b"23"),
        ([(b"range", b"bytes=2-3"), (b"if-range", MODIFIED)], b"bytes 2-3/10", b"23"),
    ],
)
def test_a_part_of_a_whole_answer(fields: FieldPairs, content_range: bytes, part: bytes) -> None:
    answer = served(asked(*fields))
    assert (answer.status, body(answer)) == (206, part)
    assert value(answer, b"content-range") == content_range
    assert [text for name, text in answer.fields() if name == b"content-length"] == [b"%d" % len(part)]


@pytest.mark.parametrize(
    "fields",
    [
        [(b"range", b"bytes=0-0,2-3")],
        [(b"range", b"lines=0-0")],
        [(b"range", b"bytes=0-0"), (b"range", b"bytes=0-0")],
        [(b"range", b"bytes=0-0"), (b"if-range", b'"b"')],
        [(b"range", b"bytes=0-0"), (b"if-range", b'W/"a"')],
        [(b"range", b"bytes=0-0"), (b"if-range", format_date(BORN))],
        [(b"range", b"bytes=0-0"), (b"if-range", b'"a"'), (b"if-range", b'"a"')],
        [(b"if-range", b'"a"')],
    ],
)
def test_a_range_that_does_not_hold_is_answered_with_the_whole(fields: FieldPairs) -> None:
    answer = served(asked(*fields))
    assert (answer.status, body(answer), value(answer, b"content-range")) == (200, BODY, None)


def test_a_date_that_is_not_strong_gives_no_part() -> None:
    found = stored([(b"cache-control", b"max-age=60"), (b"last-modified", MODIFIED), (b"date", MODIFIED)])
    assert served(asked((b"range", b"bytes=0-0"), (b"if-range", MODIFIED)), found).status == 200


def test_a_range_behind_the_end_is_416_with_the_size() -> None:
    answer = served(asked((b"range", b"bytes=10-")))
    assert (answer.status, body(answer)) == (416, b"")
    assert (value(answer, b"content-range"), value(answer, b"content-length")) == (b"bytes */10", b"0")


@pytest.mark.parametrize("method", [b"HEAD", b"QUERY"])
def test_ranges_are_for_get(method: bytes) -> None:
    assert served(asked((b"range", b"bytes=0-0"), method=method)).status == 200


def test_ranges_are_for_a_200() -> None:
    assert served(asked((b"range", b"bytes=0-0")), stored(status=404)).status == 404


def test_a_condition_comes_before_a_range() -> None:
    assert served(asked((b"range", b"bytes=0-0"), (b"if-none-match", b'"a"'))).status == 304


def test_in_mode_identical_the_answer_is_as_it_was_stored() -> None:
    made = asked((b"range", b"bytes=0-0"), (b"if-none-match", b"*"))
    answer = serve_identical(made, stored(), len(BODY), BORN * NS)
    assert (answer.status, body(answer)) == (200, BODY)


# -- Cache-Status of what a target answered


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((b"uri-miss", 0, True, ""), b"equipoise; fwd=uri-miss; stored"),
        ((b"stale", 304, False, ""), b"equipoise; fwd=stale; fwd-status=304"),
        ((b"bypass", 0, False, "authorization"), b'equipoise; fwd=bypass; detail="authorization"'),
    ],
)
def test_the_cache_status_of_what_went_on(arguments: tuple[bytes, int, bool, str], text: bytes) -> None:
    assert forwarded_status(*arguments) == text
