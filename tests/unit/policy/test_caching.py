"""Mode `identical`, and what both modes share."""

import pytest

from equipoise.model import CacheSpec
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.caching import ALWAYS_KEYED, NEVER_KEYED, REMEMBERED, REMEMBERED_SIZE, Rules, encode, vary_names
from equipoise.wire.field_lines import FieldPairs
from tests.support.caches import request

PAGE: FieldPairs = [(b"content-length", b"4")]


def rules(**settings: object) -> Rules:
    return Rules(CacheSpec(**settings), "p")  # type: ignore[arg-type]


def key(made: Rules, asked: CacheRequest, body: bytes = b"") -> bytes:
    assert made.consider(asked, len(body)) == ""
    return made.key(asked, body)


def answer(status: int = 200, fields: FieldPairs | None = None, *, framed: bool = True) -> CacheAnswer:
    return CacheAnswer(status, PAGE if fields is None else fields, framed, 0, 0)


def refused(made: Rules, fields: FieldPairs, asked: CacheRequest | None = None) -> str:
    known = asked or request()
    made.consider(known, 0)
    return made.refuse(known, answer(200, fields))


# -- who is looked up


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"QUERY"])
def test_a_method_of_the_configuration_is_looked_up(method: bytes) -> None:
    assert rules().consider(request(method=method), 0) == ""


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"get", b"OPTIONS"])
def test_another_method_is_not(method: bytes) -> None:
    assert rules().consider(request(method=method), 0) == "method"


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ((b"authorization", b"Basic x"), "authorization"),
        ((b"cache-control", b"no-store"), "request_no_store"),
        ((b"cache-control", b"max-age=1; x"), "request_malformed"),
        ((b"content-type", b"application/grpc"), "grpc"),
        ((b"content-type", b"Application/gRPC-Web+proto"), "grpc"),
        ((b"upgrade", b"websocket"), "upgrade"),
    ],
)
def test_a_request_that_is_not_looked_up_says_why(field: tuple[bytes, bytes], why: str) -> None:
    assert rules().consider(request(fields=[field]), 0) == why


@pytest.mark.parametrize(("length", "why"), [(100, ""), (-1, ""), (101, "body_too_large")])
def test_a_body_above_the_limit_is_not_looked_up(length: int, why: str) -> None:
    assert rules(max_body=100).consider(request(method=b"POST"), length) == why


def test_authorization_is_looked_up_when_the_configuration_says_so() -> None:
    made = rules(store_anyway=("authorization",))
    one = key(made, request(fields=[(b"authorization", b"a")]))
    assert one != key(made, request(fields=[(b"authorization", b"b")]))


# -- the key


SAME = request(fields=[(b"accept", b"a"), (b"cookie", b"b")])


def test_equal_requests_have_one_key() -> None:
    assert key(rules(), request(fields=list(SAME.fields))) == key(rules(), SAME)


def test_the_order_of_different_fields_does_not_tell_two_requests_apart() -> None:
    assert key(rules(), request(fields=[(b"cookie", b"b"), (b"accept", b"a")])) == key(rules(), SAME)


def test_the_order_of_equal_fields_does() -> None:
    one, two = (b"x", b"1"), (b"x", b"2")
    assert key(rules(), request(fields=[one, two])) != key(rules(), request(fields=[two, one]))


@pytest.mark.parametrize(
    "other",
    [
        CacheRequest(b"HEAD", b"http", b"example.org", b"/", SAME.fields),
        CacheRequest(b"GET", b"https", b"example.org", b"/", SAME.fields),
        CacheRequest(b"GET", b"http", b"example.org:8080", b"/", SAME.fields),
        CacheRequest(b"GET", b"http", b"Example.org", b"/", SAME.fields),
        CacheRequest(b"GET", b"http", b"", b"/", SAME.fields),
        CacheRequest(b"GET", b"http", b"example.org", b"/?", SAME.fields),
        CacheRequest(b"GET", b"http", b"example.org", b"//", SAME.fields),
        request(fields=[(b"accept", b"a")]),
        request(fields=[(b"accept", b"a"), (b"cookie", b"b"), (b"x-new", b"")]),
        request(fields=[(b"accept", b"a"), (b"cookie", b"b"), (b"cookie", b"b")]),
        request(fields=[(b"accept", b"a b"), (b"cookie", b"b")]),
        request(fields=[(b"accept", b"a\ncookie\nb")]),
    ],
)
def test_requests_that_differ_have_different_keys(other: CacheRequest) -> None:
    assert key(rules(), other) != key(rules(), SAME)


def test_the_body_is_part_of_the_key() -> None:
    keys = {key(rules(), request(method=b"POST"), body) for body in (b"", b"a", b"b", b"a\n", b"\n")}
    assert len(keys) == 5


def test_the_type_of_the_body_is_part_of_the_key_even_when_the_list_is_narrow() -> None:
    made = rules(key_headers=("accept",))
    types = [[], [(b"content-type", b"text/plain")], [(b"content-type", b"application/json")]]
    assert len({key(made, request(method=b"POST", fields=fields), b"{}") for fields in types}) == 3


@pytest.mark.parametrize("name", [b"x-request-id", b"traceparent", b"b3", *NEVER_KEYED])
def test_what_is_new_in_each_request_or_of_one_connection_is_left_out(name: bytes) -> None:
    assert key(rules(), request(fields=[(name, b"1")])) == key(rules(), request(fields=[(name, b"2")]))


def test_a_field_that_the_configuration_ignores_is_left_out() -> None:
    made = rules(ignore_headers=("cookie",))
    assert key(made, request(fields=[(b"cookie", b"1")])) == key(made, request())


def test_a_list_narrows_the_key() -> None:
    made = rules(key_headers=("accept",), ignore_headers=())
    wide = request(fields=[(b"accept", b"a"), (b"cookie", b"1"), (b"user-agent", b"2")])
    assert key(made, wide) == key(made, request(fields=[(b"accept", b"a")]))
    assert key(made, wide) != key(made, request(fields=[(b"accept", b"b")]))


@pytest.mark.parametrize("name", sorted({*ALWAYS_KEYED} - {b"authorization"}))
def test_a_narrow_list_cannot_leave_out_what_diverts_a_request(name: bytes) -> None:
    made = rules(key_headers=("accept",))
    assert key(made, request(fields=[(name, b"1")])) != key(made, request())


def test_other_rules_make_other_keys() -> None:
    """What one rule left out of the key is not known to be equal under another."""
    made = [rules(), rules(key_headers=()), rules(ignore_headers=()), rules(store_anyway=("private",))]
    made += [Rules(CacheSpec(), "q"), rules(mode="rfc9111")]
    assert len({key(each, request()) for each in made}) == 6


def test_another_ttl_keeps_the_keys() -> None:
    assert key(rules(ttl=1.0, max_bytes=7), request()) == key(rules(), request())


def test_a_list_and_its_encoding_belong_together() -> None:
    lists = [[b"a", b"b"], [b"a\nb"], [b"a", b"b", b""], [b"", b"a", b"b"], [b"ab"], [b"1:a", b"b"], [b"1:a1:b"]]
    lists += [[b"a\n", b"b"], [b"a", b"\nb"], [b"a\nb", b""]]
    assert len({encode(parts) for parts in lists}) == len(lists)


# -- what may be stored


@pytest.mark.parametrize("status", [200, 201, 204, 299, 301, 302, 308, 404])
def test_final_answers_of_2xx_3xx_and_404_may_be_stored(status: int) -> None:
    assert rules().refuse(request(), answer(status)) == ""


@pytest.mark.parametrize("status", [101, 304, 400, 401, 403, 405, 410, 414, 431, 500, 502, 503])
def test_other_answers_may_not(status: int) -> None:
    assert rules().refuse(request(), answer(status)) == "status"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([(b"set-cookie", b"a=b")], "set_cookie"),
        ([(b"cache-control", b"no-store")], "no_store"),
        ([(b"cache-control", b"private")], "private"),
        ([(b"cache-control", b'private="set-cookie"')], "private"),
        ([(b"cache-control", b"no-cache")], "no_cache"),
        ([(b"cache-control", b"public; max-age=5")], "malformed"),
        ([(b"content-length", b"1048577")], "too_large"),
        ([(b"content-range", b"bytes 0-0/10")], "partial"),
        ([(b"vary", b"*")], "vary"),
        ([(b"vary", b"Accept, X-Forwarded-For")], "vary"),
        ([(b"vary", b"X-Request-Id")], "vary"),
        ([(b"vary", b"accept encoding")], "vary"),
        ([(b"cdn-cache-control", b"no-store"), (b"cache-control", b"public")], "no_store"),
    ],
)
def test_an_answer_that_is_not_stored_says_why(fields: FieldPairs, why: str) -> None:
    assert refused(rules(), fields) == why


def test_a_part_is_never_stored() -> None:
    assert rules().refuse(request(), answer(206)) == "partial"


def test_an_answer_that_ends_with_the_connection_is_not_stored() -> None:
    assert rules().refuse(request(), answer(framed=False)) == "unframed"


@pytest.mark.parametrize(
    ("anyway", "field"),
    [
        ("set-cookie", (b"set-cookie", b"a=b")),
        ("no-store", (b"cache-control", b"no-store")),
        ("private", (b"cache-control", b"private")),
        ("no-cache", (b"cache-control", b"no-cache")),
    ],
)
def test_the_configuration_may_want_it_stored_anyway(anyway: str, field: tuple[bytes, bytes]) -> None:
    assert refused(rules(store_anyway=(anyway,)), [field]) == ""


def test_a_targeted_field_speaks_for_the_cache_in_the_place_of_cache_control() -> None:
    fields = [(b"cdn-cache-control", b"max-age=60"), (b"cache-control", b"no-store")]
    assert refused(rules(), fields) == ""


@pytest.mark.parametrize("vary", [b"Accept", b"Cookie, , origin", b"Host", b"X-Forwarded-Proto"])
def test_an_answer_that_varies_by_what_the_key_holds_is_stored(vary: bytes) -> None:
    assert refused(rules(), [(b"vary", vary)]) == ""


@pytest.mark.parametrize(
    "fields", [[(b"vary", b"Accept-Language")], [(b"content-encoding", b"gzip")], [(b"vary", b"a"), (b"vary", b"b")]]
)
def test_an_answer_that_varies_by_what_a_narrow_key_leaves_out_is_not(fields: FieldPairs) -> None:
    assert refused(rules(key_headers=("a",)), fields) == "vary"


def test_a_head_request_is_not_measured_by_the_length_of_what_get_would_bring() -> None:
    asked = request(method=b"HEAD")
    assert rules(max_body=1).refuse(asked, answer()) == ""
    assert rules(max_body=1).refuse_end(asked, answer(), 0, trailers=False) == ""


@pytest.mark.parametrize(
    ("size", "trailers", "why"),
    [(4, False, ""), (3, False, "incomplete"), (5, False, "too_large"), (4, True, "trailers")],
)
def test_the_end_of_an_answer_may_show_that_it_must_not_be_stored(size: int, trailers: bool, why: str) -> None:
    assert rules(max_body=4).refuse_end(request(), answer(), size, trailers) == why


def test_an_answer_whose_length_nobody_said_is_whole_when_it_ends() -> None:
    assert rules().refuse_end(request(), answer(fields=[]), 7, trailers=False) == ""


def test_the_names_in_vary_are_sorted_and_each_is_there_once() -> None:
    found = vary_names(answer(fields=[(b"vary", b"B, a"), (b"vary", b"\tb ,C,")]))
    assert found == [b"a", b"b", b"c"]


# -- mode rfc9111


@pytest.mark.parametrize(("method", "why"), [(b"GET", ""), (b"HEAD", ""), (b"QUERY", ""), (b"POST", "method")])
def test_by_the_rules_of_http_only_safe_methods_are_looked_up(method: bytes, why: str) -> None:
    assert rules(mode="rfc9111").consider(request(method=method), 0) == why


@pytest.mark.parametrize(("method", "length"), [(b"GET", 1), (b"GET", -1), (b"HEAD", 1)])
def test_a_body_that_means_nothing_is_not_looked_up(method: bytes, length: int) -> None:
    assert rules(mode="rfc9111").consider(request(method=method), length) == "body"


@pytest.mark.parametrize("name", [b"if-match", b"if-unmodified-since"])
def test_preconditions_are_for_the_target_to_evaluate(name: bytes) -> None:
    assert rules(mode="rfc9111").consider(request(fields=[(name, b'"a"')]), 0) == "precondition"


def test_head_is_looked_up_under_the_key_of_get() -> None:
    made = rules(mode="rfc9111")
    assert key(made, request(method=b"HEAD")) == key(made, request())


def test_query_has_a_key_of_its_own_with_the_body_and_what_describes_it() -> None:
    made = rules(mode="rfc9111")
    kind = [(b"content-type", b"application/sql")]
    keys = {key(made, request(method=b"QUERY", fields=kind), b"a"), key(made, request(method=b"QUERY"), b"a")}
    keys |= {key(made, request(method=b"QUERY", fields=kind), b"b"), key(made, request(fields=kind))}
    assert len(keys) == 4


def test_headers_are_not_in_the_key_since_vary_chooses_among_the_answers() -> None:
    made = rules(mode="rfc9111")
    wide = [(b"accept", b"a"), (b"cookie", b"b"), (b"range", b"bytes=0-1"), (b"if-none-match", b"*")]
    assert key(made, request(fields=wide)) == key(made, request())


def test_set_cookie_is_not_shared_by_the_rules_of_http_either() -> None:
    fields = [(b"set-cookie", b"a=b"), (b"cache-control", b"public, max-age=60")]
    assert refused(rules(mode="rfc9111"), fields) == "set_cookie"


def test_by_the_rules_of_http_the_configuration_cannot_overrule_no_store_in_a_request() -> None:
    made = rules(mode="rfc9111", store_anyway=("no-store",))
    assert made.consider(request(fields=[(b"cache-control", b"no-store")]), 0) == "request_no_store"


# -- heads that are remembered


HEAD = b"POST /a?b HTTP/1.1\r\nHost: example.org\r\nAccept: a\r\nCache-Control: max-age=5\r\n"


def from_lines(made: Rules, lines: bytes, scheme: bytes = b"http") -> CacheRequest:
    method, target, _ = lines.split(b"\r\n")[0].split(b" ")
    return made.request(method, scheme, b"example.org", target, lines)


@pytest.mark.parametrize("body", [b"", b"a", b"b"])
def test_a_head_that_is_remembered_leads_to_the_same_key(body: bytes) -> None:
    made = rules()
    fields = [(b"accept", b"a"), (b"cache-control", b"max-age=5")]
    expected = key(made, request(b"/a?b", fields, b"POST"), body)
    assert [key(made, from_lines(made, HEAD), body) for _ in range(3)] == [expected] * 3


def test_bodies_that_differ_behind_a_remembered_head_have_different_keys() -> None:
    made = rules()
    assert len({key(made, from_lines(made, HEAD), body) for body in (b"", b"a", b"b", b"a", b"")}) == 3


def test_a_remembered_head_of_a_secure_connection_is_another() -> None:
    made = rules()
    assert key(made, from_lines(made, HEAD)) != key(made, from_lines(made, HEAD, b"https"))


def test_a_remembered_head_is_judged_as_the_first_time() -> None:
    made = rules(max_body=1)
    lines = HEAD + b"Authorization: x\r\n"
    assert [made.consider(from_lines(made, lines), 0) for _ in range(2)] == ["authorization"] * 2
    assert [made.consider(from_lines(made, HEAD), length) for length in (0, 2, 1)] == ["", "body_too_large", ""]


def test_no_more_heads_are_remembered_than_fit() -> None:
    made = rules()
    for number in range(2 * REMEMBERED + 1):
        from_lines(made, HEAD + b"X: %d\r\n" % number)
    assert len(made._plain) <= REMEMBERED


def test_a_long_head_is_not_remembered() -> None:
    made = rules()
    asked = from_lines(made, HEAD + b"X: " + b"a" * REMEMBERED_SIZE + b"\r\n")
    assert (made.consider(asked, 0), len(made._plain)) == ("", 0)
