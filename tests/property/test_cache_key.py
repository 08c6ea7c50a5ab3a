"""Two requests that differ where it matters never share a key, whatever the bytes are."""

from hypothesis import assume, given
from hypothesis import strategies as st

from equipoise.model import CacheSpec
from equipoise.policy.cache_request import CacheRequest
from equipoise.policy.caching import NEVER_KEYED, Rules, encode
from equipoise.policy.rfc9111_store import variant_key
from equipoise.wire.field_lines import FieldPairs, write_lines

# Few letters, and those that separate parts in the encodings: what could be confused comes up at once.
BYTES = st.text("ab:,1x\n ", max_size=6).map(str.encode)
NAMES = st.sampled_from([b"accept", b"accept-a", b"cookie", b"content-type", b"a", b"ab"])
FIELDS = st.lists(st.tuples(NAMES, BYTES), max_size=4)
# As parsers let them through: no line feed, no blanks around.
CLEAN = st.text("ab:,1x", max_size=6).map(str.encode)
CLEAN_FIELDS = st.lists(st.tuples(NAMES, CLEAN), max_size=4)
PATHS = BYTES.map(lambda rest: b"/" + rest)
METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"QUERY"])
REQUESTS = st.tuples(METHODS, st.sampled_from([b"http", b"https"]), BYTES, PATHS, FIELDS, BYTES)
Parts = tuple[bytes, bytes, bytes, bytes, FieldPairs, bytes]

ALL = Rules(CacheSpec(ignore_headers=()), "p")
NARROW = Rules(CacheSpec(key_headers=("accept", "cookie"), ignore_headers=()), "p")


def key(rules: Rules, parts: Parts) -> bytes:
    method, scheme, host, target, fields, body = parts
    request = CacheRequest(method, scheme, host, target, list(fields))
    assume(not rules.consider(request, len(body)))
    return rules.key(request, body)


def sorted_stably(fields: FieldPairs) -> FieldPairs:
    return sorted(fields, key=lambda pair: pair[0])


@given(REQUESTS, REQUESTS)
def test_requests_share_a_key_exactly_when_they_are_equal(one: Parts, other: Parts) -> None:
    equal = one[:4] == other[:4] and one[5] == other[5] and sorted_stably(one[4]) == sorted_stably(other[4])
    assert (key(ALL, one) == key(ALL, other)) == equal


@given(REQUESTS, st.data())
def test_one_byte_more_less_or_other_makes_another_key(parts: Parts, data: st.DataObject) -> None:
    method, scheme, host, target, fields, body = parts
    place = data.draw(st.sampled_from(["host", "target", "value", "name", "body"]))
    if place == "host":
        host = changed(host, data)
    elif place == "target":
        target = b"/" + changed(target[1:], data)
    elif place == "body":
        body = changed(body, data)
    elif fields:
        index = data.draw(st.integers(0, len(fields) - 1))
        name, value = fields[index]
        new = (name, changed(value, data)) if place == "value" else (b"z" + name, value)
        fields = [*fields[:index], new, *fields[index + 1 :]]
    other = (method, scheme, host, target, fields, body)
    assert (key(ALL, other) == key(ALL, parts)) == (other == parts)


def changed(text: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(text)))
    octet = bytes([data.draw(st.integers(0, 255))])
    how = data.draw(st.sampled_from(["insert", "replace", "remove"]))
    if how == "insert" or at == len(text):
        return text[:at] + octet + text[at:]
    if how == "remove":
        return text[:at] + text[at + 1 :]
    assume(text[at : at + 1] != octet)
    return text[:at] + octet + text[at + 1 :]


@given(FIELDS, FIELDS)
def test_of_a_narrow_list_the_other_headers_never_change_the_key(fields: FieldPairs, others: FieldPairs) -> None:
    wide = fields + [(b"x-other-" + name, value) for name, value in others]
    parts = (b"GET", b"http", b"h", b"/")
    assert key(NARROW, (*parts, fields, b"")) == key(NARROW, (*parts, wide, b""))


@given(FIELDS, st.permutations(sorted(NEVER_KEYED)))
def test_what_is_of_one_connection_never_changes_the_key(fields: FieldPairs, names: list[bytes]) -> None:
    wide = [*fields, *((name, b"1") for name in names)]
    parts = (b"GET", b"http", b"h", b"/")
    assert key(ALL, (*parts, fields, b"")) == key(ALL, (*parts, wide, b""))


@given(st.lists(BYTES, min_size=1, max_size=5), st.lists(BYTES, min_size=1, max_size=5), BYTES, BYTES)
def test_an_encoding_with_bytes_behind_it_belongs_to_one_list(
    one: list[bytes], other: list[bytes], behind: bytes, behind_other: bytes
) -> None:
    same = encode(one) + behind == encode(other) + behind_other
    assert same == (one == other and behind == behind_other)


@given(CLEAN_FIELDS, CLEAN)
def test_a_request_from_its_lines_has_the_key_of_its_fields(fields: FieldPairs, body: bytes) -> None:
    lines = b"POST /a HTTP/1.1\r\n" + write_lines(fields)
    made = Rules(CacheSpec(ignore_headers=()), "p")
    keys = []
    for _ in range(2):
        request = made.request(b"POST", b"http", b"h", b"/a", lines)
        assert made.consider(request, len(body)) == ""
        keys.append(made.key(request, body))
    assert keys == [key(ALL, (b"POST", b"http", b"h", b"/a", fields, body))] * 2


@given(FIELDS, FIELDS, st.lists(NAMES, unique=True, min_size=1).map(sorted))
def test_variants_share_a_key_exactly_when_the_named_fields_are_equal(
    one: FieldPairs, other: FieldPairs, names: list[bytes]
) -> None:
    requests = [CacheRequest(b"GET", b"http", b"h", b"/", fields) for fields in (one, other)]
    chosen = [[request.values(name) for name in names] for request in requests]
    keys = [variant_key(b"k", names, request) for request in requests]
    assert (keys[0] == keys[1]) == (chosen[0] == chosen[1])
