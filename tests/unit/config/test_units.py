import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5.0), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("0.001ms", 1e-6), ("0s", 0.0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 s", " 5s", "5s ", "5s\n", "1_0s", "+5s", "-5s", "５s", "1e3s", "5S", "5sec", "1m30s", ".5s",
     "5.s", "0x5s", "infs", "nans", "1.2345s", "1234567890123s"],
)  # fmt: skip
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("1B", 1), ("64KiB", 65536), ("10MB", 10_000_000), ("2GiB", 2 << 30), ("3kB", 3000)],
)
def test_a_size_is_a_number_and_perhaps_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "64 KiB", "64kib", "64K", "1_0", "+5", "-5", "٣KiB", "1.5MiB", "64KiB\n", "1234567890123"]
)
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=30 * 24 * 3600 * 1_000_000))
def test_a_formatted_duration_reads_back(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=2**39) | st.integers(min_value=0, max_value=2**20).map(lambda n: n * 1024))
def test_a_formatted_size_reads_back(size: int) -> None:
    assert parse_size(str(format_size(size))) == size


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "500ms"), (75.0, "75s"), (60.0, "1m"), (3600.0, "1h"), (0.0015, "1.5ms")]
)
def test_a_duration_is_shown_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(4096, "4KiB"), (10_000_000, "10MB"), (1 << 30, "1GiB"), (0, 0), (7, 7)])
def test_a_size_is_shown_in_the_largest_unit_that_fits(size: int, text: str | int) -> None:
    assert format_size(size) == text
