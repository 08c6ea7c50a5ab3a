"""What may be stored, under which keys, and for how long (RFC 9111 3, 4.1, 4.2)."""

import pytest

from equipoise.model import CacheSpec
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.cached import MAX_VARY_NAMES, NEVER, unpack, unpack_marker
from equipoise.policy.caching import Rules
from equipoise.policy.rfc9111_store import Place, cache, initial_age, keep, lifetime, refuse, variant_key
from equipoise.wire.field_lines import FieldPairs
from equipoise.wire.http_date import format_date
from tests.support.caches import request

NS = 1_000_000_000
BORN = 1_800_000_000
RULES = Rules(CacheSpec(mode="rfc9111", keep_stale=100.0), "p")
IDENTICAL = Rules(CacheSpec(ttl=30.0), "p")
TAG = (b"etag", b'"a"')
FRESH = (b"cache-control", b"max-age=60")
MINUTE = 60 * NS


def date(name: bytes, seconds: int) -> tuple[bytes, bytes]:
    return name, format_date(BORN + seconds)


def answer(*fields: tuple[bytes, bytes], status: int = 200, delay: int = 0) -> CacheAnswer:
    return CacheAnswer(status, list(fields), True, (BORN - delay) * NS, BORN * NS)


def considered(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> CacheRequest:
    made = request(fields=list(fields), method=method)
    assert RULES.consider(made, 0) == ""
    return made


# -- what may be stored


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([FRESH], ""),
        ([(b"cache-control", b"public, s-maxage=5")], ""),
        ([TAG], ""),
        ([date(b"expires", 60)], ""),
        ([(b"cache-control", b"no-cache"), TAG], ""),
        ([(b"cache-control", b"max-age=0, stale-if-error=5")], ""),
        ([(b"cache-control", b"no-store, max-age=60")], "no_store"),
        ([(b"cache-control", b"no-store, must-understand, max-age=60")], ""),
        ([(b"cache-control", b"private, max-age=60")], "private"),
        ([(b"cache-control", b'private="x", max-age=60')], "private"),
        ([(b"cache-control", b"private, max-age=60"), (b"cdn-cache-control", b"max-age=60")], ""),
        ([FRESH, (b"cdn-cache-control", b"no-store")], "no_store"),
        ([FRESH, (b"vary", b"*")], "vary"),
        ([FRESH, (b"vary", b"accept, *")], "vary"),
        ([FRESH, (b"vary", b"x-forwarded-for")], "vary"),
        ([FRESH, (b"vary", b",".join(b"n%d" % i for i in range(MAX_VARY_NAMES + 1)))], "vary"),
        ([FRESH, (b"vary", b"accept, cookie")], ""),
        ([], "not_fresh"),
        ([(b"cache-control", b"public")], "not_fresh"),
        ([(b"cache-control", b"max-age=0")], "not_fresh"),
        ([(b"expires", b"0")], "not_fresh"),
        ([FRESH, (b"age", b"60")], "not_fresh"),
        ([(b"etag", b"broken")], "not_fresh"),
    ],
)
def test_what_an_answer_says_decides_whether_it_is_stored(fields: FieldPairs, why: str) -> None:
    assert refuse(RULES, considered(), answer(*fields)) == why


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (b"max-age=60", "authorization"),
        (b"public, max-age=60", ""),
        (b"s-maxage=60", ""),
        (b"must-revalidate, max-age=60", ""),
        (b"proxy-revalidate, max-age=60", "authorization"),
    ],
)
def test_an_answer_to_credentials_is_shared_only_when_it_says_so(control: bytes, why: str) -> None:
    asked = considered((b"authorization", b"Basic x"))
    assert refuse(RULES, asked, answer((b"cache-control", control))) == why


def test_an_answer_without_a_body_is_not_stored_for_those_who_want_one() -> None:
    assert refuse(RULES, considered(method=b"HEAD"), answer(FRESH)) == "method"


@pytest.mark.parametrize(
    ("status", "fields", "why"),
    [
        (201, [TAG], "not_fresh"),
        (302, [TAG, date(b"last-modified", -100)], "not_fresh"),
        (201, [TAG, FRESH], ""),
        (201, [TAG, (b"cache-control", b"public")], ""),
        (302, [date(b"expires", 60)], ""),
        (302, [TAG, date(b"expires", 60), (b"cdn-cache-control", b"must-revalidate")], "not_fresh"),
        (301, [TAG], ""),
    ],
)
def test_an_answer_of_another_status_is_stored_only_when_it_says_so(status: int, fields: FieldPairs, why: str) -> None:
    assert refuse(RULES, considered(), answer(*fields, status=status)) == why


# -- how long


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([(b"cache-control", b"s-maxage=5, max-age=6"), date(b"expires", 7)], 5),
        ([(b"cache-control", b"max-age=6"), date(b"expires", 7)], 6),
        ([(b"cache-control", b"max-age=6, max-age=7")], 0),
        ([(b"cache-control", b"max-age=x"), date(b"expires", 7)], 0),
        ([date(b"expires", 7), date(b"date", 0)], 7),
        ([date(b"expires", 7), date(b"date", -3)], 10),
        ([date(b"expires", 7)], 7),
        ([date(b"expires", -7)], 0),
        ([date(b"expires", 7), date(b"expires", 8)], 0),
        ([(b"expires", b"0"), date(b"last-modified", -100)], 0),
        ([(b"cdn-cache-control", b"max-age=5"), (b"cache-control", b"s-maxage=6")], 5),
        ([(b"cdn-cache-control", b"public"), (b"cache-control", b"s-maxage=6"), date(b"expires", 7)], 0),
        ([(b"cdn-cache-control", b"max-age=5,"), (b"cache-control", b"s-maxage=6")], 6),
        ([date(b"last-modified", -100)], 10),
        ([date(b"last-modified", -100), date(b"date", -50)], 5),
        ([date(b"last-modified", -100_000)], 60),
        ([date(b"last-modified", 100)], 0),
        ([(b"cache-control", b"max-age=99999999999")], 2**31),
    ],
)
def test_how_long_an_answer_is_fresh(fields: FieldPairs, seconds: int) -> None:
    assert lifetime(answer(*fields), MINUTE) == seconds * NS


@pytest.mark.parametrize(("status", "seconds"), [(200, 10), (301, 10), (404, 10), (302, 0), (201, 0)])
def test_what_does_not_say_is_fresh_for_a_while_only_with_some_statuses(status: int, seconds: int) -> None:
    assert lifetime(answer(date(b"last-modified", -100), status=status), MINUTE) == seconds * NS


def test_a_public_answer_of_any_status_may_be_guessed() -> None:
    fields = (date(b"last-modified", -100), (b"cache-control", b"public"))
    assert lifetime(answer(*fields, status=302), MINUTE) == 10 * NS


@pytest.mark.parametrize(
    ("fields", "delay", "seconds"),
    [
        ([], 0, 0),
        ([], 3, 3),
        ([(b"age", b"5")], 3, 8),
        ([(b"age", b"5, 9")], 0, 5),
        ([(b"age", b"-5")], 0, 0),
        ([(b"age", b"x")], 0, 0),
        ([date(b"date", -20), (b"age", b"5")], 0, 20),
        ([date(b"date", 20)], 0, 0),
        ([(b"date", b"broken")], 0, 0),
    ],
)
def test_how_old_an_answer_is_when_it_comes(fields: FieldPairs, delay: int, seconds: int) -> None:
    assert initial_age(answer(*fields, delay=delay)) == seconds * NS


def test_a_date_within_its_second_is_not_old() -> None:
    late = BORN * NS + 999_999_999
    came = CacheAnswer(200, [date(b"date", 0)], True, late, late)
    assert initial_age(came) == 0


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([FRESH], 60),
        ([FRESH, (b"age", b"20")], 40),
        ([FRESH, TAG], 160),
        ([(b"cache-control", b"max-age=60, stale-if-error=500, stale-while-revalidate=30"), TAG], 560),
    ],
)
def test_an_answer_is_kept_as_long_as_it_may_be_of_use(fields: FieldPairs, seconds: int) -> None:
    kept = keep(RULES, considered(), answer(*fields), 0, Place(b"k", []))
    assert kept.keep_for == seconds * NS


# -- what is stored


def test_what_is_of_one_connection_or_made_anew_is_not_stored() -> None:
    fields = [(b"age", b"1"), (b"connection", b"x"), (b"x-request-id", b"1"), (b"te", b"a"), FRESH, date(b"date", 0)]
    stored = cache(RULES, considered(), answer(*fields), 3)
    assert stored.fields() == [FRESH, date(b"date", 0), (b"content-length", b"3")]


def test_an_answer_without_a_date_gets_that_of_its_arrival() -> None:
    assert cache(RULES, considered(), answer(FRESH), 0).find(b"date") == format_date(BORN)


@pytest.mark.parametrize(
    ("method", "status", "fields", "length"),
    [
        (b"GET", 200, [], b"7"),
        (b"GET", 200, [(b"content-length", b"7")], b"7"),
        (b"GET", 204, [], None),
        (b"HEAD", 200, [(b"content-length", b"900")], b"900"),
        (b"HEAD", 200, [], None),
    ],
)
def test_a_stored_answer_says_the_length_of_its_body(
    method: bytes, status: int, fields: FieldPairs, length: bytes | None
) -> None:
    asked = request(method=method)
    assert IDENTICAL.consider(asked, 0) == ""
    stored = cache(IDENTICAL, asked, answer(*fields, status=status), 0 if method == b"HEAD" else 7)
    assert stored.find(b"content-length") == length


def test_in_mode_identical_an_answer_lives_for_the_ttl_whatever_it_says() -> None:
    asked = request()
    assert IDENTICAL.consider(asked, 0) == ""
    kept = keep(IDENTICAL, asked, answer(FRESH, (b"age", b"500"), (b"vary", b"accept")), 0, Place(b"k", []))
    assert (kept.key, kept.marker_key, kept.keep_for) == (b"k", b"", 30 * NS)
    assert kept.cached.fresh_for(BORN * NS) == 30 * NS
    assert kept.cached.age(BORN * NS) == 500 * NS


def test_what_is_kept_is_what_clients_are_answered_from() -> None:
    kept = keep(RULES, considered(), answer(FRESH, TAG), 0, Place(b"k", []))
    read = unpack(kept.head)
    assert read is not None
    assert (read.block, read.lifetime, read.flags) == (kept.cached.block, MINUTE, kept.cached.flags)
    assert read.while_revalidate == NEVER


# -- several answers to one URL


def test_an_answer_that_varies_stands_under_a_key_of_its_own_behind_a_marker() -> None:
    asked = considered((b"accept", b"a"))
    kept = keep(RULES, asked, answer(FRESH, (b"vary", b"Accept")), 0, Place(b"k", []))
    assert (kept.marker_key, unpack_marker(kept.marker)) == (b"k", [b"accept"])
    assert kept.key == variant_key(b"k", [b"accept"], asked)


def test_a_marker_keeps_the_names_of_older_answers() -> None:
    kept = keep(RULES, considered(), answer(FRESH, (b"vary", b"cookie")), 0, Place(b"k", [b"accept"]))
    assert unpack_marker(kept.marker) == [b"accept", b"cookie"]


def test_an_answer_that_does_not_vary_goes_behind_the_marker_that_is_there() -> None:
    kept = keep(RULES, considered(), answer(FRESH), 0, Place(b"k", [b"accept"]))
    assert (unpack_marker(kept.marker), kept.key != b"k") == ([b"accept"], True)


def test_a_marker_does_not_grow_without_end() -> None:
    names = [b"n%02d" % i for i in range(MAX_VARY_NAMES)]
    kept = keep(RULES, considered(), answer(FRESH, (b"vary", b"accept")), 0, Place(b"k", names))
    assert unpack_marker(kept.marker) == [b"accept"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([(b"a", b"1")], [(b"a", b"2")]),
        ([(b"a", b"")], []),
        ([(b"a", b"1"), (b"a", b"2")], [(b"a", b"1, 2")]),
        ([(b"a", b"1"), (b"a", b"2")], [(b"a", b"2"), (b"a", b"1")]),
        ([(b"a", b"1")], [(b"b", b"1")]),
    ],
)
def test_variants_that_differ_have_different_keys(one: FieldPairs, other: FieldPairs) -> None:
    names = [b"a", b"b"]
    assert variant_key(b"k", names, request(fields=one)) != variant_key(b"k", names, request(fields=other))


def test_fields_that_are_not_named_do_not_tell_variants_apart() -> None:
    one, other = request(fields=[(b"a", b"1"), (b"z", b"1")]), request(fields=[(b"a", b"1"), (b"z", b"2")])
    assert variant_key(b"k", [b"a"], one) == variant_key(b"k", [b"a"], other)
