"""Dates of HTTP (RFC 9110 5.6.7).

Owns: the three forms that a recipient must read, and the one that is written.
Refuses to know: what time it is, and what a date is for.

`email.utils` reads much that is no HTTP date: other zones, missing parts, years of any length.
"""

from typing import Final

from mypy_extensions import i64

INVALID: Final = -1
DAY: Final = 86400
DAYS: Final = b"MonTueWedThuFriSatSun"
LONG_DAYS: Final = frozenset((b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday", b"Sunday"))
MONTHS: Final = b"JanFebMarAprMayJunJulAugSepOctNovDec"
MONTH_LENGTHS: Final = b"\x1f\x1d\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"
# A date of RFC 850 that seems to lie further ahead than this is meant to be one of the past (5.6.7).
FIFTY_YEARS: Final = 50 * 36525 * 864


def parse_date(value: bytes, now: i64) -> i64:
    """Reads an HTTP date: IMF-fixdate, that of RFC 850, or that of asctime.

    The name of the day must be one, and is not compared with the date: nothing here depends on it.

    Args:
        value: of the field.
        now: unix clock, seconds; the century of a date of RFC 850 is chosen by it.

    Returns:
        Seconds since 1970, 0 for any earlier time; `INVALID` when it is no date.
    """
    if len(value) == 29 and value[3] == 0x2C:
        return _fixdate(value)
    if len(value) == 24 and value[3] == 0x20:
        return _asctime(value)
    comma = value.find(b", ")
    if comma >= 6 and value[:comma] in LONG_DAYS:
        return _rfc850(value[comma + 2 :], now)
    return INVALID


def format_date(seconds: i64) -> bytes:
    """Writes an IMF-fixdate.

    Args:
        seconds: since 1970, from 0 to the year 9999.
    """
    day = seconds // DAY
    rest = seconds % DAY
    # Howard Hinnant's civil_from_days: years begin in March, so that the day that leaps is the last one.
    shifted = day + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    date = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    weekday = (day + 3) % 7
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        DAYS[weekday * 3 : weekday * 3 + 3],
        int(date),
        MONTHS[(month - 1) * 3 : month * 3],
        int(year),
        int(rest // 3600),
        int(rest // 60 % 60),
        int(rest % 60),
    )


def _fixdate(value: bytes) -> i64:
    """`Sun, 06 Nov 1994 08:49:37 GMT`."""
    if (
        not _is_day(value[:3])
        or value[4] != 0x20
        or value[7] != 0x20
        or value[11] != 0x20
        or value[16] != 0x20
        or value[25:] != b" GMT"
    ):
        return INVALID
    return _seconds(_number(value, 12, 4), _month(value[8:11]), _number(value, 5, 2), _time(value[17:25]))


def _asctime(value: bytes) -> i64:
    """`Sun Nov  6 08:49:37 1994`."""
    if not _is_day(value[:3]) or value[7] != 0x20 or value[10] != 0x20 or value[19] != 0x20:
        return INVALID
    date = _number(value, 9, 1) if value[8] == 0x20 else _number(value, 8, 2)
    return _seconds(_number(value, 20, 4), _month(value[4:7]), date, _time(value[11:19]))


def _rfc850(value: bytes, now: i64) -> i64:
    """`06-Nov-94 08:49:37 GMT`, what stands behind the name of the day."""
    if len(value) != 22 or value[2] != 0x2D or value[6] != 0x2D or value[9] != 0x20 or value[18:] != b" GMT":
        return INVALID
    short = _number(value, 7, 2)
    if short < 0:
        return INVALID
    month = _month(value[3:6])
    date = _number(value, 0, 2)
    time = _time(value[10:18])
    for century in (2100, 2000, 1900):
        found = _seconds(century + short, month, date, time)
        if found != INVALID and found <= now + FIFTY_YEARS:
            return found
    return INVALID


def _seconds(year: i64, month: i64, date: i64, time: i64) -> i64:
    """Seconds since 1970 of a date whose parts may be `INVALID`."""
    if year < 0 or month < 0 or date < 1 or time < 0 or date > MONTH_LENGTHS[month - 1]:
        return INVALID
    leaps = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month == 2 and date == 29 and not leaps:
        return INVALID
    if year < 1970:
        return 0
    # Howard Hinnant's days_from_civil.
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + date - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * DAY + time


def _time(value: bytes) -> i64:
    """`08:49:37` as seconds; a leap second is allowed and counts as the first of the next minute."""
    hours = _number(value, 0, 2)
    minutes = _number(value, 3, 2)
    seconds = _number(value, 6, 2)
    if value[2] != 0x3A or value[5] != 0x3A or hours < 0 or minutes < 0 or seconds < 0:
        return INVALID
    if hours > 23 or minutes > 59 or seconds > 60:
        return INVALID
    return hours * 3600 + minutes * 60 + seconds


def _number(value: bytes, at: i64, count: i64) -> i64:
    """So many digits and nothing else."""
    number: i64 = 0
    for i in range(at, at + count):
        digit: i64 = value[i] - 0x30
        if digit < 0 or digit > 9:
            return INVALID
        number = number * 10 + digit
    return number


def _month(name: bytes) -> i64:
    """1 to 12."""
    at: i64 = MONTHS.find(name)
    return INVALID if at < 0 or at % 3 != 0 else at // 3 + 1


def _is_day(name: bytes) -> bool:
    at: i64 = DAYS.find(name)
    return at >= 0 and at % 3 == 0
