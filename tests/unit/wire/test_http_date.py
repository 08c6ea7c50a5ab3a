import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.http_date import INVALID, format_date, parse_date

NOW = 1_800_000_000  # 15 January 2027
SECONDS = 784_111_777

# No date before 1970 or after the year 9999 is written.
ANY_TIME = st.integers(0, 253_402_300_799)


@pytest.mark.parametrize(
    "text",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_of_rfc_9110_are_read(text: bytes) -> None:
    assert parse_date(text, NOW) == SECONDS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"-1",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 1994 08:49:37 gmt",
        b"sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, +6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 nov 1994 08:49:37 GMT",
        b"Sun, 06 ovD 1994 08:49:37 GMT",
        b"unM, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT",
        b"Sun, 31 Nov 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 29 Feb 2023 08:49:37 GMT",
        b"Sun, 29 Feb 2100 08:49:37 GMT",
        b"Sun, 06-Nov-94 08:49:37 GMT",
        b"Sunday, 06-Nov-1994 08:49:37 GMT",
        b"Sunday, 06-Nov-9x 08:49:37 GMT",
        b"Sun Nov 6 08:49:37 1994",
        b"Sun Nov  6 08:49:37 1994 ",
        b" Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun,\t06 Nov 1994 08:49:37 GMT",
        b"Sun, \xb2\xb2 Nov 1994 08:49:37 GMT",
    ],
)
def test_anything_else_is_no_date(text: bytes) -> None:
    assert parse_date(text, NOW) == INVALID


@pytest.mark.parametrize(
    ("text", "year"),
    [(b"Friday, 01-Jan-76 00:00:00 GMT", 2076), (b"Friday, 01-Jan-78 00:00:00 GMT", 1978)],
)
def test_a_year_of_two_digits_is_at_most_fifty_ahead(text: bytes, year: int) -> None:
    assert parse_date(text, NOW) == int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())


def test_a_leap_day_is_read() -> None:
    assert parse_date(b"Thu, 29 Feb 2024 00:00:00 GMT", NOW) == 1_709_164_800


def test_a_leap_second_is_the_next_minute() -> None:
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW) == 1_483_228_800


def test_what_was_before_1970_is_at_its_beginning() -> None:
    assert parse_date(b"Wed, 01 Jan 1930 00:00:00 GMT", NOW) == 0


@given(ANY_TIME)
def test_a_date_is_written_as_the_standard_library_writes_it(seconds: int) -> None:
    when = dt.datetime.fromtimestamp(seconds, dt.UTC)
    assert format_date(seconds) == format_datetime(when, usegmt=True).encode()


@given(ANY_TIME)
def test_what_is_written_reads_back(seconds: int) -> None:
    assert parse_date(format_date(seconds), NOW) == seconds


@given(st.binary(max_size=32) | st.text("SunMoNv ,:0123456789-GMT", max_size=30).map(str.encode))
def test_no_bytes_break_it(text: bytes) -> None:
    assert parse_date(text, NOW) >= INVALID
