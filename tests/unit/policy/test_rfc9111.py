"""Which stored answer may be used (RFC 9111 4, RFC 5861)."""

import pytest

from equipoise.model import CacheSpec
from equipoise.policy import rfc9111
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.cached import Cached
from equipoise.policy.caching import Rules
from equipoise.policy.rfc9111_store import cache
from equipoise.wire.field_lines import FieldPairs
from tests.support.caches import request

NS = 1_000_000_000
BORN = 1_800_000_000 * NS
RULES = Rules(CacheSpec(mode="rfc9111"), "p")
TAG = (b"etag", b'"a"')


def stored(control: bytes, *more: tuple[bytes, bytes]) -> Cached:
    answer = CacheAnswer(200, [(b"cache-control", control), *more], True, BORN, BORN)
    return cache(RULES, request(), answer, 0)


def asked(control: bytes = b"") -> CacheRequest:
    made = request(fields=[(b"cache-control", control)] if control else [])
    assert RULES.consider(made, 0) == ""
    return made


def decide(control: bytes, found: Cached | None, age: float) -> tuple[int, str]:
    decision = rfc9111.decide(asked(control), found, BORN + int(age * NS))
    return decision.action, decision.reason


@pytest.mark.parametrize(
    ("age", "decision"),
    [
        (0, (rfc9111.HIT, "fresh")),
        (59.9, (rfc9111.HIT, "fresh")),
        (60, (rfc9111.VALIDATE, "stale")),
        (1e6, (rfc9111.VALIDATE, "stale")),
    ],
)
def test_an_answer_is_used_while_it_is_fresh_and_validated_after(age: float, decision: tuple[int, str]) -> None:
    assert decide(b"", stored(b"max-age=60", TAG), age) == decision


def test_a_stale_answer_that_cannot_be_validated_is_as_if_it_were_not_there() -> None:
    assert decide(b"", stored(b"max-age=60"), 60) == (rfc9111.MISS, "stale")


def test_nothing_stored_is_a_miss() -> None:
    assert decide(b"", None, 0) == (rfc9111.MISS, "absent")


def test_an_answer_with_no_cache_is_validated_each_time() -> None:
    assert decide(b"", stored(b"no-cache, max-age=60", TAG), 1) == (rfc9111.VALIDATE, "no_cache")


@pytest.mark.parametrize(
    ("control", "age", "action"),
    [
        (b"no-cache", 1, rfc9111.VALIDATE),
        (b"max-age=10", 10, rfc9111.HIT),
        (b"max-age=10", 10.1, rfc9111.VALIDATE),
        (b"max-age=x", 1, rfc9111.VALIDATE),
        (b"min-fresh=10", 50, rfc9111.HIT),
        (b"min-fresh=10", 50.1, rfc9111.VALIDATE),
        (b"max-stale=10", 70, rfc9111.HIT),
        (b"max-stale=10", 70.1, rfc9111.VALIDATE),
        (b"max-stale", 1e6, rfc9111.HIT),
        (b"max-stale, max-age=5", 61, rfc9111.VALIDATE),
        (b"only-if-cached", 1, rfc9111.HIT),
        (b"only-if-cached", 60, rfc9111.UNAVAILABLE),
        (b"only-if-cached, max-stale=5", 61, rfc9111.HIT),
        (b"only-if-cached, no-cache", 1, rfc9111.UNAVAILABLE),
        (b"unknown=5", 1, rfc9111.HIT),
    ],
)
def test_what_the_client_asks_for(control: bytes, age: float, action: int) -> None:
    assert decide(control, stored(b"max-age=60", TAG), age)[0] == action


def test_a_client_that_takes_only_what_is_stored_gets_nothing_else() -> None:
    assert decide(b"only-if-cached", None, 0) == (rfc9111.UNAVAILABLE, "only_if_cached")


@pytest.mark.parametrize("control", [b"must-revalidate", b"proxy-revalidate", b"s-maxage=60", b"no-cache"])
def test_a_client_cannot_have_stale_what_the_target_forbids(control: bytes) -> None:
    assert decide(b"max-stale", stored(b"max-age=60, " + control, TAG), 61)[0] == rfc9111.VALIDATE


@pytest.mark.parametrize(
    ("control", "age", "action"),
    [
        (b"max-age=60, stale-while-revalidate=30", 90, rfc9111.REFRESH),
        (b"max-age=60, stale-while-revalidate=30", 90.1, rfc9111.VALIDATE),
        (b"s-maxage=60, stale-while-revalidate=30", 90, rfc9111.REFRESH),
        (b"max-age=60, stale-while-revalidate=30, must-revalidate", 61, rfc9111.VALIDATE),
        (b"max-age=60, stale-while-revalidate=30, proxy-revalidate", 61, rfc9111.VALIDATE),
        (b"max-age=60, stale-while-revalidate=30, no-cache", 61, rfc9111.VALIDATE),
        (b"max-age=60, stale-while-revalidate=x", 60.1, rfc9111.VALIDATE),
    ],
)
def test_stale_while_revalidate(control: bytes, age: float, action: int) -> None:
    assert decide(b"", stored(control, TAG), age)[0] == action


def test_a_client_that_asks_for_validation_does_not_get_what_is_being_validated() -> None:
    assert decide(b"no-cache", stored(b"max-age=1, stale-while-revalidate=30", TAG), 2)[0] == rfc9111.VALIDATE


@pytest.mark.parametrize(
    ("control", "client", "age", "may"),
    [
        (b"max-age=60, stale-if-error=30", b"", 90, True),
        (b"max-age=60, stale-if-error=30", b"", 90.1, False),
        (b"max-age=60", b"", 61, False),
        (b"max-age=60", b"stale-if-error=30", 90, True),
        (b"max-age=60", b"stale-if-error=30", 90.1, False),
        (b"s-maxage=60", b"stale-if-error=30", 61, False),
        (b"s-maxage=60, stale-if-error=30", b"", 61, True),
        (b"max-age=60, stale-if-error=30, must-revalidate", b"stale-if-error=30", 61, False),
        (b"max-age=60, stale-if-error=30, no-cache", b"", 61, False),
    ],
)
def test_stale_if_error(control: bytes, client: bytes, age: float, may: bool) -> None:
    assert rfc9111.may_use_on_error(asked(client), stored(control), BORN + int(age * NS)) == may


# -- validation


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ([TAG], [(b"if-none-match", b'"a"')]),
        (
            [(b"etag", b'W/"a"'), (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT")],
            [(b"if-none-match", b'W/"a"'), (b"if-modified-since", b"Sun, 06 Nov 1994 08:49:37 GMT")],
        ),
        ([(b"etag", b"broken")], []),
    ],
)
def test_a_validation_asks_with_the_validators_that_are_stored(fields: FieldPairs, conditions: FieldPairs) -> None:
    assert rfc9111.validators(stored(b"max-age=60", *fields)) == conditions


def not_modified(*fields: tuple[bytes, bytes]) -> CacheAnswer:
    return CacheAnswer(304, list(fields), True, BORN + 100 * NS, BORN + 100 * NS)


def test_a_304_brings_the_fields_up_to_date() -> None:
    old = stored(b"max-age=60", TAG, (b"x", b"old"), (b"y", b"1"), (b"age", b"7"))
    new = rfc9111.freshened(old, not_modified(TAG, (b"x", b"1"), (b"x", b"2"), (b"cache-control", b"max-age=5")))
    assert new is not None
    kept = [pair for pair in new.fields if pair[0] not in {b"date", b"content-length"}]
    assert sorted(kept) == sorted([TAG, (b"cache-control", b"max-age=5"), (b"x", b"1"), (b"x", b"2"), (b"y", b"1")])
    assert (new.status, new.directives.max_age, new.answered) == (200, 5, BORN + 100 * NS)


@pytest.mark.parametrize(
    "name", [b"content-length", b"content-type", b"content-encoding", b"content-range", b"set-cookie"]
)
def test_a_304_does_not_change_what_describes_the_stored_body(name: bytes) -> None:
    new = rfc9111.freshened(stored(b"", TAG), not_modified(TAG, (name, b"999")))
    assert new is not None
    assert (name, b"999") not in new.fields


@pytest.mark.parametrize(
    ("old", "fields"),
    [
        ([TAG], [(b"etag", b'"b"')]),
        ([TAG], [(b"etag", b"broken")]),
        ([TAG], [TAG, (b"etag", b'"b"')]),
        ([TAG], [TAG, (b"vary", b"accept")]),
        ([(b"last-modified", b"a")], [(b"last-modified", b"b")]),
        ([(b"last-modified", b"a")], [TAG]),
    ],
)
def test_a_304_of_something_else_is_refused(old: FieldPairs, fields: FieldPairs) -> None:
    assert rfc9111.freshened(stored(b"", *old), not_modified(*fields)) is None


@pytest.mark.parametrize("fields", [[], [(b"etag", b'W/"a"')], [TAG]])
def test_a_304_that_says_the_same_or_nothing_of_validators_is_taken(fields: FieldPairs) -> None:
    assert rfc9111.freshened(stored(b"", TAG), not_modified(*fields)) is not None


# -- invalidation


def after(status: int, fields: FieldPairs, method: bytes = b"PUT", host: bytes = b"example.org") -> list[bytes]:
    answer = CacheAnswer(status, fields, True, 0, 0)
    return rfc9111.invalidated(request(b"/a/b?q", method=method, host=host), answer)


@pytest.mark.parametrize("method", [b"PUT", b"POST", b"DELETE", b"PATCH", b"PURGE", b"get"])
def test_a_write_invalidates_its_target(method: bytes) -> None:
    assert after(204, [], method) == [b"/a/b?q"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"])
def test_a_safe_method_invalidates_nothing(method: bytes) -> None:
    assert after(200, [(b"location", b"/x")], method) == []


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_a_write_that_failed_invalidates_nothing(status: int) -> None:
    assert after(status, []) == []


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (b"/x?y#z", b"/x?y"),
        (b"http://example.org/x", b"/x"),
        (b"HTTP://EXAMPLE.org", b"/"),
        (b"c", b"/a/c"),
        (b"../c", b"/c"),
        (b"?r", b"/a/b?r"),
        (b"//example.org/c", b"/c"),
    ],
)
@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_a_write_invalidates_what_its_answer_names_at_the_same_origin(name: bytes, value: bytes, target: bytes) -> None:
    assert after(201, [(name, value)]) == [b"/a/b?q", target]


@pytest.mark.parametrize(
    "value",
    [
        *(b"http://other.org/x", b"https://example.org/x", b"http://example.org:8080/x", b"//other.org/x"),
        *(b"http://user@example.org/x", b"http://[::1/x", b"/\xff", b"mailto:a@b"),
    ],
)
def test_a_write_invalidates_nothing_at_another_origin(value: bytes) -> None:
    assert after(201, [(b"location", value)]) == [b"/a/b?q"]


def test_a_target_that_is_named_twice_is_invalidated_once() -> None:
    assert after(201, [(b"location", b"/x"), (b"content-location", b"/x")]) == [b"/a/b?q", b"/x"]
