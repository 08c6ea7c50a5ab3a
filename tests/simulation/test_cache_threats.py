"""Each line of the threats against a shared cache: the second, clean client never sees the first one's influence.

What needs sockets (a stampede, a purge without a token, a body that was not read) is the scenarios' to show.
"""

import pytest

from equipoise.model import CacheSpec
from equipoise.policy.caching import DIVERTING
from equipoise.wire.field_lines import FieldPairs
from equipoise.wire.http_date import format_date
from tests.support.caches import DictCache, Reply, always, request

MODES = ["identical", "rfc9111"]
FRESH = (b"cache-control", b"max-age=60")
WIDE = pytest.mark.parametrize("spec", [CacheSpec(), CacheSpec(key_headers=()), CacheSpec(mode="rfc9111")], ids=repr)


def echo(fields: FieldPairs) -> Reply:
    """A target that lets every header show in what it answers."""
    return Reply(200, [FRESH], b"|".join(b"%b=%b" % pair for pair in sorted(fields)))


@pytest.fixture(params=MODES)
def cache(request: pytest.FixtureRequest) -> DictCache:
    return DictCache(CacheSpec(mode=request.param))


def test_an_answer_is_given_again(cache: DictCache) -> None:
    first = cache.ask(request(), always(fields=[FRESH], body=b"a"))
    second = cache.ask(request(), always(fields=[FRESH], body=b"b"))
    assert (first.how, second.how, second.body, cache.asked) == ("miss", "hit", b"a", 1)


def test_an_answer_is_not_given_for_ever(cache: DictCache) -> None:
    cache.ask(request(), always(fields=[FRESH], body=b"a"))
    cache.now += 60
    assert cache.ask(request(), always(fields=[FRESH], body=b"b")).body == b"b"


@WIDE
@pytest.mark.parametrize("name", DIVERTING)
def test_a_header_that_diverts_a_request_does_not_reach_the_next_client(spec: CacheSpec, name: bytes) -> None:
    cache = DictCache(spec)
    cache.ask(request(fields=[(name, b"evil")]), echo)
    assert b"evil" not in cache.ask(request(), echo).body


@WIDE
def test_a_get_with_a_body_does_not_reach_the_next_client(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    cache.ask(request(), always(fields=[FRESH], body=b"evil"), body=b"q=evil")
    assert cache.ask(request(), echo).body != b"evil"


@WIDE
def test_a_port_in_the_host_does_not_reach_the_next_client(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    cache.ask(request(host=b"example.org:1"), echo)
    assert cache.ask(request(), echo).how == "miss"


@WIDE
def test_the_scheme_of_one_client_does_not_reach_another(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    redirect = [FRESH, (b"location", b"https://example.org/")]
    cache.ask(request(), always(301, redirect))
    secure = request()
    secure.scheme = b"https"
    assert cache.ask(secure, echo).how == "miss"


def test_an_answer_that_varies_by_everything_is_not_stored(cache: DictCache) -> None:
    assert cache.ask(request(), always(fields=[FRESH, (b"vary", b"*")])).reason == "vary"
    assert cache.stored == {}


def test_variants_are_kept_apart() -> None:
    cache = DictCache(CacheSpec(mode="rfc9111"))
    for language in (b"de", b"en"):
        page = always(fields=[FRESH, (b"vary", b"Accept-Language")], body=language)
        cache.ask(request(fields=[(b"accept-language", language)]), page)
    for language in (b"de", b"en"):
        got = cache.ask(request(fields=[(b"accept-language", language)]), always(500))
        assert (got.how, got.body) == ("hit", language)


def test_answers_that_vary_by_different_fields_do_not_hide_each_other() -> None:
    cache = DictCache(CacheSpec(mode="rfc9111"))
    one, two = request(fields=[(b"a", b"1")]), request(fields=[(b"b", b"1")])
    cache.ask(one, always(fields=[FRESH, (b"vary", b"a")], body=b"1"))
    cache.ask(two, always(fields=[FRESH, (b"vary", b"b")], body=b"2"))
    cache.ask(request(fields=[(b"a", b"1")]), always(fields=[FRESH, (b"vary", b"a")], body=b"3"))
    hits = [cache.ask(request(fields=[(name, b"1")]), always(500)).body for name in (b"a", b"b")]
    assert hits == [b"3", b"2"]


@pytest.mark.parametrize("field", [(b"set-cookie", b"session=1")])
def test_a_cookie_is_not_given_to_another_client(cache: DictCache, field: tuple[bytes, bytes]) -> None:
    cache.ask(request(), always(fields=[FRESH, field]))
    assert cache.ask(request(), always(fields=[FRESH])).one(b"set-cookie") is None


def test_what_credentials_brought_is_not_given_without_them(cache: DictCache) -> None:
    cache.ask(request(fields=[(b"authorization", b"Basic x")]), always(fields=[FRESH], body=b"secret"))
    assert cache.ask(request(), always(401)).status == 401


@pytest.mark.parametrize("control", [b"no-store", b"private", b"private, max-age=60", b"max-age=60; no-store"])
def test_a_page_that_says_that_it_is_personal_is_not_stored_whatever_its_path_looks_like(
    cache: DictCache, control: bytes
) -> None:
    page = always(fields=[(b"cache-control", control)], body=b"secret")
    cache.ask(request(b"/account/x.css"), page)
    assert cache.ask(request(b"/account/x.css"), always(404)).status == 404


@pytest.mark.parametrize("status", [400, 413, 414, 431, 500, 501, 502, 503])
def test_an_error_that_one_client_provoked_is_not_given_to_another(cache: DictCache, status: int) -> None:
    cache.ask(request(), always(status, [FRESH]))
    assert cache.ask(request(), always()).status == 200


def test_a_404_provoked_by_a_header_is_kept_from_those_without_it() -> None:
    cache = DictCache(CacheSpec())
    cache.ask(request(fields=[(b"x-odd", b"\x80")]), always(404))
    assert cache.ask(request(), always()).status == 200


@WIDE
def test_head_does_not_leave_an_empty_answer_for_get(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    cache.ask(request(method=b"HEAD"), always(fields=[FRESH, (b"content-length", b"4")]))
    assert cache.ask(request(), always(fields=[FRESH], body=b"page")).body == b"page"


@WIDE
def test_a_part_is_not_given_as_the_whole(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    part = always(206, [FRESH, (b"content-range", b"bytes 0-0/4")], b"p")
    cache.ask(request(fields=[(b"range", b"bytes=0-0")]), part)
    got = cache.ask(request(), always(fields=[FRESH], body=b"page"))
    assert (got.status, got.body) == (200, b"page")


@WIDE
def test_a_part_that_calls_itself_whole_is_not_stored(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    cache.ask(request(), always(200, [FRESH, (b"content-range", b"bytes 0-0/4")], b"p"))
    assert cache.stored == {}


@WIDE
def test_a_condition_of_one_client_does_not_leave_a_304_for_another(spec: CacheSpec) -> None:
    cache = DictCache(spec)
    cache.ask(request(fields=[(b"if-none-match", b'"a"')]), always(304, [FRESH]))
    assert cache.ask(request(), always()).status == 200


def test_huge_ranges_stay_inside() -> None:
    """nginx CVE-2017-7529."""
    cache = DictCache(CacheSpec(mode="rfc9111"))
    cache.ask(request(), always(fields=[FRESH], body=b"page"))
    asked = request(fields=[(b"range", b"bytes=-9223372036854775807,-18446744073709551615")])
    assert cache.ask(asked, always(500)).body == b"page"


@pytest.mark.parametrize(
    "reply", [Reply(200, [FRESH, (b"content-length", b"9")], b"half"), Reply(200, [FRESH], b"half", framed=False)]
)
def test_half_an_answer_is_not_stored(cache: DictCache, reply: Reply) -> None:
    cache.ask(request(), lambda _: reply)
    assert cache.stored == {}


def test_fields_behind_the_body_would_be_lost_so_nothing_is_stored(cache: DictCache) -> None:
    cache.ask(request(), lambda _: Reply(200, [FRESH], b"a", trailers=True))
    assert cache.stored == {}


def test_grpc_is_never_stored(cache: DictCache) -> None:
    asked = request(method=b"POST", fields=[(b"content-type", b"application/grpc+proto")])
    assert cache.ask(asked, always(fields=[FRESH])).how == "bypass"
    assert cache.stored == {}


# -- the life of an answer by the rules of HTTP


def validated(fields: FieldPairs) -> Reply:
    return Reply(304, [FRESH, (b"etag", b'"a"')]) if (b"if-none-match", b'"a"') in fields else Reply(body=b"new")


def tagged(control: bytes = b"max-age=60") -> DictCache:
    cache = DictCache(CacheSpec(mode="rfc9111"))
    cache.ask(request(), always(fields=[(b"cache-control", control), (b"etag", b'"a"')], body=b"page"))
    return cache


def test_a_stale_answer_is_confirmed_and_is_fresh_again() -> None:
    cache = tagged()
    cache.now += 100
    got = cache.ask(request(), validated)
    assert (got.how, got.status, got.body, got.one(b"age")) == ("validated", 200, b"page", b"0")
    cache.now += 50
    assert cache.ask(request(), always(500)).how == "hit"


def test_a_client_whose_copy_is_confirmed_gets_304() -> None:
    cache = tagged()
    cache.now += 100
    got = cache.ask(request(fields=[(b"if-none-match", b'"a"')]), validated)
    assert (got.how, got.status) == ("validated", 304)


def test_a_client_whose_old_copy_is_not_confirmed_gets_the_new_one() -> None:
    cache = tagged()
    cache.now += 100
    got = cache.ask(request(fields=[(b"if-none-match", b'"old"')]), validated)
    assert (got.status, got.body) == (200, b"page")


def test_a_304_that_forbids_storing_answers_once() -> None:
    cache = tagged()
    cache.now += 100
    forbidding = always(304, [(b"cache-control", b"no-store"), (b"etag", b'"a"')])
    assert cache.ask(request(), forbidding).body == b"page"
    assert cache.ask(request(), always(body=b"new")).body == b"new"


def test_a_304_of_something_else_leads_to_the_whole_answer() -> None:
    cache = tagged()
    cache.now += 100

    def other(fields: FieldPairs) -> Reply:
        return Reply(304, [(b"etag", b'"b"')]) if dict(fields).get(b"if-none-match") else Reply(body=b"new")

    got = cache.ask(request(), other)
    assert (got.status, got.body) == (200, b"new")


def test_while_it_is_validated_a_stale_answer_is_given() -> None:
    cache = tagged(b"max-age=60, stale-while-revalidate=60")
    cache.now += 100
    assert cache.ask(request(), validated).reason == "stale_while_revalidate"
    assert cache.ask(request(), always(500)).reason == "fresh"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_stale_answer_stands_in_for_a_target_that_fails(status: int) -> None:
    cache = tagged(b"max-age=60, stale-if-error=60")
    cache.now += 100
    got = cache.ask(request(), always(status))
    assert (got.how, got.body) == ("stale", b"page")


def test_a_write_invalidates_what_was_stored() -> None:
    cache = tagged()
    cache.ask(request(method=b"DELETE"), always(204))
    assert cache.ask(request(), always(404)).status == 404


def test_a_query_is_given_again_for_the_same_body_only() -> None:
    cache = DictCache(CacheSpec(mode="rfc9111"))
    for body in (b"a", b"b", b"a", b"b"):
        cache.ask(request(method=b"QUERY"), always(fields=[FRESH], body=body), body)
    assert cache.asked == 2
    assert cache.ask(request(method=b"QUERY"), always(500), b"b").body == b"b"
    assert cache.ask(request(), always(404)).status == 404


def test_an_answer_without_freshness_is_guessed_at_no_longer_than_the_ttl() -> None:
    cache = DictCache(CacheSpec(mode="rfc9111", ttl=10.0))
    old = [(b"last-modified", format_date(1_000_000_000))]
    cache.ask(request(), always(fields=old, body=b"page"))
    cache.now += 9
    assert cache.ask(request(), always(500)).how == "hit"
    cache.now += 2
    assert cache.ask(request(), always(500)).status == 500
