import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.cache_control import (
    ABSENT,
    MAX_SECONDS,
    MUST_REVALIDATE,
    MUST_UNDERSTAND,
    NO_CACHE,
    NO_STORE,
    ONLY_IF_CACHED,
    PRIVATE,
    PROXY_REVALIDATE,
    PUBLIC,
    Directives,
    parse_cache_control,
    parse_seconds,
    parse_targeted,
)


def read(*values: bytes) -> Directives:
    return parse_cache_control(list(values))


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (b"", 0),
        (b"no-store", NO_STORE),
        (b"No-Store", NO_STORE),
        (b"no-store=1", NO_STORE),
        (b'no-cache="a, b", private="c"', NO_CACHE | PRIVATE),
        (b" ,,public\t,\tmust-revalidate , ", PUBLIC | MUST_REVALIDATE),
        (b"proxy-revalidate, must-understand, only-if-cached", PROXY_REVALIDATE | MUST_UNDERSTAND | ONLY_IF_CACHED),
        (b'unknown="no-store, private"', 0),
        (b"max-age=no-store", 0),
    ],
)
def test_directives_without_a_number_are_read(value: bytes, flags: int) -> None:
    directives = read(value)
    assert (directives.flags, directives.malformed) == (flags, False)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"max-age=60", 60),
        (b'max-age="60"', 60),
        (b"MAX-AGE=060", 60),
        (b"max-age=99999999999999999999999", MAX_SECONDS),
        (b"max-age=60, max-age=60", 60),
    ],
)
def test_a_number_of_seconds_is_read(value: bytes, seconds: int) -> None:
    assert read(value).max_age == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(b"max-age", b"max-age=-1", b"max-age=+1", b"max-age=1.5", b"max-age=1_0", b'max-age=""', b'max-age="1 "'),
        *(b"max-age=x", b"max-age=60, max-age=61", b"max-age=0x10"),
    ],
)
def test_a_number_that_is_none_or_two_makes_an_answer_stale(value: bytes) -> None:
    assert read(value).max_age == 0


@pytest.mark.parametrize(
    "value",
    [
        *(b"max-age=60; private", b"max-age = 60", b"max-age=", b'no-cache="a', b"max-age=60 public", b"=1", b"a b"),
        *(b'a"b"', b'a="b"c', b"\xb2", b'a="b\\"', b"max-age=60\x0b"),
    ],
)
def test_a_list_that_breaks_the_grammar_is_marked(value: bytes) -> None:
    assert read(value).malformed


def test_several_lines_are_one_list() -> None:
    directives = read(b"no-store", b"s-maxage=1, stale-if-error=2", b"stale-while-revalidate=3")
    found = (directives.s_maxage, directives.stale_if_error, directives.stale_while_revalidate)
    assert (directives.flags, found) == (NO_STORE, (1, 2, 3))


@pytest.mark.parametrize(
    ("value", "most"),
    [(b"max-stale", MAX_SECONDS), (b"max-stale=5", 5), (b"max-stale=x", 0), (b"max-stale=5, max-stale=6", 0)],
)
def test_max_stale_may_be_without_a_number(value: bytes, most: int) -> None:
    assert read(value).max_stale == most


@pytest.mark.parametrize(
    ("value", "least"),
    [(b"min-fresh=5", 5), (b"min-fresh=5, min-fresh=9", 9), (b"min-fresh=x", MAX_SECONDS), (b"min-fresh", MAX_SECONDS)],
)
def test_min_fresh_asks_for_the_most_that_it_can_mean(value: bytes, least: int) -> None:
    assert read(value).min_fresh == least


@pytest.mark.parametrize("name", [b"s-maxage", b"stale-while-revalidate", b"stale-if-error"])
def test_two_numbers_that_differ_count_as_none(name: bytes) -> None:
    directives = read(name + b"=5, " + name + b"=6")
    assert {directives.s_maxage, directives.stale_while_revalidate, directives.stale_if_error} == {ABSENT, 0}


@given(st.binary(max_size=40) | st.text('no-stremaxg=0123456789,;" \\', max_size=40).map(str.encode))
def test_no_bytes_break_it(value: bytes) -> None:
    assert read(value).max_age >= ABSENT


# -- CDN-Cache-Control and the like


def test_a_targeted_field_is_a_dictionary() -> None:
    directives = parse_targeted([b"max-age=60, no-cache;x", b"stale-if-error=5, unknown=(1 2)"])
    assert directives is not None
    assert (directives.max_age, directives.flags, directives.stale_if_error) == (60, NO_CACHE, 5)


@pytest.mark.parametrize("value", [b"", b" ", b"max-age=60, ,", b"Max-Age=60", b"max-age=60 private", b"max-age='6'"])
def test_a_targeted_field_that_is_empty_or_broken_is_as_if_it_were_not_there(value: bytes) -> None:
    assert parse_targeted([value]) is None


@pytest.mark.parametrize("value", [b'max-age="60"', b"max-age=60.0", b"max-age=-1", b"max-age", b"max-age=?1"])
def test_a_number_of_another_kind_makes_an_answer_stale(value: bytes) -> None:
    directives = parse_targeted([value])
    assert directives is not None
    assert directives.max_age == 0


def test_a_flag_that_is_false_does_not_apply() -> None:
    directives = parse_targeted([b"no-store=?0, private=?1"])
    assert directives is not None
    assert directives.flags == PRIVATE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"0", 0), (b"10", 10), (b"", ABSENT), (b" 1", ABSENT), (b"1\n", ABSENT), (b"9" * 30, MAX_SECONDS)],
)
def test_seconds_are_digits_and_nothing_else(value: bytes, seconds: int) -> None:
    assert parse_seconds(value) == seconds
