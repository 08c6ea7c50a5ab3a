import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.ranges import PART, UNSATISFIABLE, WHOLE, parse_range


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        (b"bytes=0-0", 0, 1),
        (b"bytes=0-99", 0, 100),
        (b"bytes=10-", 10, 100),
        (b"bytes=-5", 95, 100),
        (b"bytes=-500", 0, 100),
        (b"bytes=99-99999999999999999999999999", 99, 100),
        (b"bytes=-18446744073709551615", 0, 100),
        (b"Bytes= 1-2 ", 1, 3),
    ],
)
def test_one_range_is_a_part(value: bytes, start: int, end: int) -> None:
    assert parse_range(value, 100) == (PART, start, end)


@pytest.mark.parametrize("value", [b"bytes=100-", b"bytes=100-200", b"bytes=-0", b"bytes=99999999999999999999-"])
def test_a_range_behind_the_end_cannot_be_satisfied(value: bytes) -> None:
    assert parse_range(value, 100)[0] == UNSATISFIABLE


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"bytes", b"bytes=", b"bytes=-", b"bytes=5", b"bytes=5-4", b"bytes=a-b", b"bytes=1-2-3", b"bytes=+1-2"),
        *(b"bytes=1_0-20", b"bytes=0x1-2", b"bytes=1 -2", b"items=0-5", b"bytes 0-5", b"bytes=--5", b"bytes=\xb2-3"),
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(value: bytes) -> None:
    assert parse_range(value, 100) == (WHOLE, 0, 100)


def test_several_ranges_are_answered_with_the_whole() -> None:
    assert parse_range(b"bytes=0-1,5-6", 100) == (WHOLE, 0, 100)


def test_of_an_empty_body_there_is_no_part() -> None:
    assert parse_range(b"bytes=0-0", 0) == (WHOLE, 0, 0)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 150))
def test_a_range_is_the_slice_that_it_says(first: int, last: int, size: int) -> None:
    data = bytes(i % 256 for i in range(size))
    what, start, end = parse_range(b"bytes=%d-%d" % (first, last), size)
    if last < first:
        assert what == WHOLE
    elif first >= size:
        assert what == UNSATISFIABLE
    else:
        assert (what, data[start:end]) == (PART, data[first : last + 1])


@given(st.text("bytes=-,0123456789 ", max_size=40), st.integers(0, 10**15))
def test_no_part_reaches_outside(value: str, size: int) -> None:
    what, start, end = parse_range(value.encode(), size)
    assert 0 <= start <= end <= size
    assert what != PART or start < end
