import pytest

from equipoise.policy.cache_request import CacheAnswer
from equipoise.wire.cache_control import NO_STORE
from equipoise.wire.field_lines import FieldPairs
from tests.support.caches import request


def answer(fields: FieldPairs) -> CacheAnswer:
    return CacheAnswer(200, fields, True, 0, 0)


def test_the_path_is_without_the_query() -> None:
    assert request(b"/a/b?c=/d").path() == b"/a/b"


def test_all_values_of_a_field_of_a_request_are_found() -> None:
    assert request(fields=[(b"a", b"1"), (b"a", b"2")]).values(b"a") == [b"1", b"2"]


def test_a_field_of_an_answer_is_found() -> None:
    found = answer([(b"etag", b'"a"'), (b"vary", b"a"), (b"vary", b"b"), (b"x", b"y")])
    assert (found.one(b"etag"), found.one(b"vary"), found.values(b"vary")) == (b'"a"', None, [b"a", b"b"])
    assert (found.has(b"vary"), found.has(b"age"), found.values(b"age")) == (True, False, [])


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([(b"content-length", b"12")], 12),
        ([], -1),
        ([(b"content-length", b"+1")], -1),
        ([(b"content-length", b"")], -1),
        ([(b"content-length", b"9" * 19)], -1),
        ([(b"content-length", b"1"), (b"content-length", b"1")], -1),
    ],
)
def test_the_length_is_digits_or_unknown(fields: FieldPairs, length: int) -> None:
    assert answer(fields).content_length == length


def test_several_lines_of_cache_control_are_one() -> None:
    directives = answer([(b"cache-control", b"max-age=5"), (b"cache-control", b"no-store")]).directives
    assert (directives.max_age, directives.flags) == (5, NO_STORE)


@pytest.mark.parametrize(
    ("targeted", "seconds", "counts"),
    [(b"max-age=60", 60, True), (b"", 5, False), (b"max-age=60,", 5, False), (b"MAX-AGE=60", 5, False)],
)
def test_a_valid_targeted_field_stands_in_the_place_of_cache_control(
    targeted: bytes, seconds: int, counts: bool
) -> None:
    found = answer([(b"cache-control", b"max-age=5"), (b"cdn-cache-control", targeted)])
    assert (found.directives.max_age, found.targeted) == (seconds, counts)
