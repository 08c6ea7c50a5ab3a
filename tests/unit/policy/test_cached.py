import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.policy.cached import (
    MAX_VARY_NAMES,
    NS,
    PREFIX,
    VALIDATED,
    Cached,
    head_block,
    pack_marker,
    unpack,
    unpack_marker,
)

NUMBERS = st.integers(-1, 2**62)


def cached() -> Cached:
    made = Cached(200, head_block(200, [(b"etag", b'"a"'), (b"x", b"1"), (b"x", b"2")]))
    made.answered = 100 * NS
    made.initial_age = 5 * NS
    made.lifetime = 60 * NS
    return made


@given(st.integers(200, 599), st.tuples(*[NUMBERS] * 7))
def test_what_is_packed_comes_back(status: int, numbers: tuple[int, ...]) -> None:
    made = Cached(status, b"HTTP/1.1 200 OK\r\n")
    made.flags, made.answered, made.initial_age, made.lifetime, made.while_revalidate, made.if_error = numbers[:6]
    made.answered_steady = numbers[6]
    found = unpack(made.pack())
    assert found is not None
    read = (found.flags, found.answered, found.initial_age, found.lifetime, found.while_revalidate, found.if_error)
    assert (found.status, (*read, found.answered_steady), found.block) == (status, numbers, made.block)


def test_a_packed_head_is_no_marker_and_a_marker_is_no_head() -> None:
    assert unpack_marker(cached().pack()) is None
    assert unpack(pack_marker([b"accept" * 20])) is None


@given(st.binary(max_size=100))
def test_bytes_that_nobody_packed_are_nothing(data: bytes) -> None:
    assert (unpack(data), unpack_marker(data)) == (None, None)


@pytest.mark.parametrize("size", [0, 1, PREFIX - 1, PREFIX])
def test_a_head_that_was_cut_off_is_nothing(size: int) -> None:
    assert unpack(cached().pack()[:size]) is None


@pytest.mark.parametrize("status", [0, 101, 600, -1])
def test_a_head_with_a_status_that_is_never_stored_is_nothing(status: int) -> None:
    data = cached().pack()
    assert unpack(data[:8] + struct.pack("<q", status) + data[16:]) is None


@pytest.mark.parametrize("names", [[b"accept"], [b"a", b"b", b"c"]])
def test_the_names_of_a_marker_come_back(names: list[bytes]) -> None:
    assert unpack_marker(pack_marker(names)) == names


@pytest.mark.parametrize("names", [[], [b"a", b""], [b"n%d" % i for i in range(MAX_VARY_NAMES + 1)]])
def test_a_marker_that_nobody_writes_is_nothing(names: list[bytes]) -> None:
    assert unpack_marker(pack_marker(names)) is None


@pytest.mark.parametrize(("now", "age", "left"), [(100, 5, 55), (130, 35, 25), (155, 60, 0), (200, 105, -45)])
def test_it_ages_with_the_clock(now: int, age: int, left: int) -> None:
    assert (cached().age(now * NS), cached().fresh_for(now * NS)) == (age * NS, left * NS)


def test_a_clock_that_was_set_back_does_not_make_it_younger() -> None:
    assert cached().age(10 * NS) == 5 * NS


def test_what_has_passed_is_told_by_the_monotonic_clock() -> None:
    made = cached()
    made.answered_steady = 7 * NS
    assert made.at(10 * NS) == 103 * NS
    assert made.age(made.at(10 * NS)) == 8 * NS


def test_its_fields_can_be_asked_for() -> None:
    assert (cached().find(b"etag"), cached().find(b"x"), cached().find(b"y")) == (b'"a"', None, None)
    assert cached().fields() == [(b"etag", b'"a"'), (b"x", b"1"), (b"x", b"2")]


def test_a_flag_is_kept() -> None:
    made = cached()
    made.flags = VALIDATED
    found = unpack(made.pack())
    assert found is not None
    assert found.flags == VALIDATED


@pytest.mark.parametrize("seconds", [0, 1, 54, 55, 56, 3_000])
def test_the_head_that_is_given_says_age_and_what_is_left_now(seconds: int) -> None:
    made = cached()
    made.given(made.answered)
    now = int(made.answered) + seconds * NS
    assert made.given(now) == made.block + made.marks(now)
    assert made.marks(now) == b"age: %d\r\ncache-status: equipoise; hit; ttl=%d\r\n" % (5 + seconds, 55 - seconds)


def test_a_second_that_is_begun_counts_against_what_is_left() -> None:
    made = cached()
    assert made.given(int(made.answered) + NS // 2).endswith(b"age: 5\r\ncache-status: equipoise; hit; ttl=54\r\n")
    made.lifetime += NS
    assert made.given(int(made.answered) + NS // 2).endswith(b"ttl=55\r\n")
