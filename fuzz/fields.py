"""Values of single fields: structured fields, cache directives, dates, ranges, entity tags, and those of gRPC.

Owns: for each reader of a value a second one, made of a regular expression out of its RFC and Python's own numbers.
Refuses to know: where the bytes come from, and what a value means.
"""

import calendar
import datetime as dt
import re
import struct
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from equipoise.wire import cache_control, http_date, ranges, validators
from equipoise.wire.grpc import (
    LONGEST_TIMEOUT,
    GrpcError,
    Messages,
    decode_message,
    encode_message,
    read_status,
    timeout_ns,
    timeout_value,
)
from equipoise.wire.grpc_health import read_health_request, read_health_response
from equipoise.wire.structured import parse_dictionary, write_string

# Possessive are sets of octets only: around groups, `re` gets that wrong now and then before Python 3.11.5.
_T: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"

# -- structured fields (RFC 9651) --------------------------------------------------------------------------------------

_KEY: Final = rb"[a-z*][a-z0-9_.*-]*+"
_BARE: Final = (
    rb"(?:-?[0-9]{1,12}+\.[0-9]{1,3}+|-?[0-9]{1,15}+|\"(?:[ !#-\[\]-~]|\\[\"\\])*\"|[A-Za-z*](?:" + _T + rb"|[:/])*"
    rb"|:[A-Za-z0-9+/=]*+:|\?[01]|@-?[0-9]{1,15}+|%\"(?:[ !#$&-~]|%[0-9a-f]{2})*\")"
)
_PARAMETERS: Final = rb"(?:; *+" + _KEY + rb"(?:=" + _BARE + rb")?)*"
_ITEM: Final = _BARE + _PARAMETERS
_INNER: Final = rb"\( *+(?:" + _ITEM + rb"(?: ++" + _ITEM + rb")* *+)?\)"
_MEMBER: Final = _KEY + rb"(?:=(?:" + _ITEM + rb"|" + _INNER + _PARAMETERS + rb")|" + _PARAMETERS + rb")"
# Tabs are blanks between members and behind the last one, but nowhere else (4.2.2).
_DICTIONARY: Final = re.compile(rb" *(?:" + _MEMBER + rb"(?:[ \t]*+,[ \t]*+" + _MEMBER + rb")*[ \t]*+)?")


def check_structured(data: bytes) -> None:
    """A dictionary: the grammar decides whether it is one, but for base64 and UTF-8, which have rules of their own."""
    members = parse_dictionary(data)
    valid = _DICTIONARY.fullmatch(data) is not None
    if members is None:
        assert not valid or b":" in data or b'%"' in data, "refused against the grammar"
        return
    assert valid, "accepted against the grammar"
    assert len({member.key for member in members}) == len(members)
    for member in members:
        assert re.fullmatch(_KEY, member.key)
        assert abs(int(member.number)) < 10**15
    text = write_string(data)
    (member,) = parse_dictionary(b"a=" + text) or []
    assert member.text == bytes(octet if 0x20 <= octet <= 0x7E else 0x3F for octet in data)


# -- cache directives (RFC 9111 5.2) -----------------------------------------------------------------------------------

_DIRECTIVE: Final = _T + rb"++(?:=(?:" + _T + rb"++|\"(?:[^\"\\]|\\.)*\"))?"
_LIST: Final = re.compile(rb"[, \t]*+(?:" + _DIRECTIVE + rb"[ \t]*+(?:,[, \t]*+|(?!.)))*", re.DOTALL)
_DIRECTIVES: Final = re.compile(rb"(" + _T + rb"+)(?:=(?:(" + _T + rb"+)|\"((?:[^\"\\]|\\.)*)\"))?", re.DOTALL)


def check_cache_control(data: bytes) -> None:
    """A Cache-Control field: read as the grammar says; what cannot be read is marked."""
    found = cache_control.parse_cache_control([data])
    valid = _LIST.fullmatch(data) is not None
    assert found.malformed is not valid
    numbers = (found.max_age, found.s_maxage, found.min_fresh, found.max_stale, found.stale_if_error)
    assert all(-1 <= number <= cache_control.MAX_SECONDS for number in numbers)
    if valid:
        given = [match for match in _DIRECTIVES.finditer(data) if match[1].lower() == b"max-age"]
        assert found.max_age == _max_age(given)
        named = {match[1].lower() for match in _DIRECTIVES.finditer(data)}
        for name, flag in cache_control.FLAGS.items():
            assert bool(found.flags & flag) is (name in named)
    cache_control.parse_targeted([data])


def _max_age(given: list[re.Match[bytes]]) -> int:
    if not given:
        return cache_control.ABSENT
    seconds = {_seconds(match[2] if match[2] is not None else match[3]) for match in given}
    return seconds.pop() if len(seconds) == 1 else 0


def _seconds(text: bytes | None) -> int:
    if text is None or not re.fullmatch(rb"[0-9]+", text):
        return 0
    return cache_control.MAX_SECONDS if len(text.lstrip(b"0")) > 10 else min(int(text), cache_control.MAX_SECONDS)


# -- dates (RFC 9110 5.6.7) --------------------------------------------------------------------------------------------

_MONTHS: Final = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTH: Final = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"
_TIME: Final = rb"(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}):(?P<seconds>[0-9]{2})"
_SHORT: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG: Final = rb"(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        _SHORT + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _TIME + rb" GMT",
        _SHORT + rb" " + _MONTH + rb" (?P<day> [0-9]|[0-9]{2}) " + _TIME + rb" (?P<year>[0-9]{4})",
        _LONG + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT",
    )
)
NOW: Final = 1_800_000_000
_LATEST: Final = NOW + 50 * 36525 * 864


def check_date(data: bytes) -> None:
    """A date: as `datetime` counts it, in the three forms and no other; and back where it can be written."""
    found = http_date.parse_date(data, NOW)
    assert found == _date_by_expressions(data)
    if found > 0:
        written = http_date.format_date(found)
        assert http_date.parse_date(written, NOW) == found
        assert written == dt.datetime.fromtimestamp(int(found), dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").encode()


def _date_by_expressions(data: bytes) -> int:
    match = next((match for form in _FORMS if (match := form.fullmatch(data))), None)
    if match is None:
        return http_date.INVALID
    year = int(match["year"])
    years = (2100 + year, 2000 + year, 1900 + year) if len(match["year"]) == 2 else (year,)
    for each in years:
        found = _seconds_since_1970(each, match)
        if found != http_date.INVALID and (len(years) == 1 or found <= _LATEST):
            return found
    return http_date.INVALID


def _seconds_since_1970(year: int, match: re.Match[bytes]) -> int:
    month, day = _MONTHS.index(match["month"]) + 1, int(match["day"])
    hours, minutes, seconds = (int(match[name]) for name in ("hours", "minutes", "seconds"))
    # A year has the calendar of the one 2,000 years later; Python knows no year 0.
    if not 1 <= day <= calendar.monthrange(year + 2000, month)[1] or hours > 23 or minutes > 59 or seconds > 60:
        return http_date.INVALID
    if year < 1970:
        return 0
    return calendar.timegm((year, month, day, hours, minutes, 0)) + seconds


# -- ranges and entity tags (RFC 9110 14.2, 8.8.3) ---------------------------------------------------------------------

_RANGE: Final = re.compile(rb"(?i:bytes)=[ \t]*([0-9]*)-([0-9]*)[ \t]*")
_TAG: Final = rb"(?:W/)?\"[\x21\x23-\x7e\x80-\xff]*+\""
_TAGS: Final = re.compile(rb"[, \t]*+(?:" + _TAG + rb"[ \t]*+(?:,[, \t]*+|(?!.)))*", re.DOTALL)


def check_range(data: bytes) -> None:
    """A Range field; the first two bytes are the size of what it is a range of."""
    size, value = int.from_bytes(data[:2]), data[2:]
    assert ranges.parse_range(value, size) == _range_by_expression(value, size)


def _range_by_expression(value: bytes, size: int) -> tuple[int, int, int]:
    whole = (ranges.WHOLE, 0, size)
    match = _RANGE.fullmatch(value)
    if match is None or size == 0 or not (match[1] or match[2]):
        return whole
    # `int` refuses thousands of digits; more than 18 are larger than any size.
    first, last = (int(text[-4000:]) + 10**18 * (len(text) > 4000) if text else None for text in match.groups())
    if first is None:
        assert last is not None
        return (ranges.UNSATISFIABLE, 0, size) if last == 0 else (ranges.PART, max(size - last, 0), size)
    if last is not None and last < first and min(last, ranges.FAR) < min(first, ranges.FAR):
        return whole
    if first >= size:
        return ranges.UNSATISFIABLE, 0, size
    return ranges.PART, first, size if last is None else min(last + 1, size)


def check_tags(data: bytes) -> None:
    """An If-None-Match field."""
    valid = _TAGS.fullmatch(data) is not None
    tags = re.findall(_TAG, data) if valid else []
    for tag in (b'"a"', b'W/"a"', b'""', b""):
        named = bool(tag) and tag.removeprefix(b"W/") in {each.removeprefix(b"W/") for each in tags}
        assert validators.lists_tag(data, tag) is (named or data.strip(b" \t") == b"*"), tag
    assert validators.is_entity_tag(data) is (re.fullmatch(_TAG, data) is not None)


# -- gRPC --------------------------------------------------------------------------------------------------------------

_UNITS: Final = {b"n": 1, b"u": 10**3, b"m": 10**6, b"S": 10**9, b"M": 60 * 10**9, b"H": 3600 * 10**9}


def check_grpc(data: bytes) -> None:
    """A body of messages, and all of it as the value of each field that gRPC has."""
    _check_timeout(data)
    assert decode_message(data) == unquote_to_bytes(data).decode("utf-8", "replace")
    text = data.decode("utf-8", "replace")
    assert decode_message(encode_message(text)) == text
    assert read_status(data) == (int(data) if re.fullmatch(rb"[0-9]{1,9}", data) else -1)
    _check_messages(data)
    for kind, ours in ((health_pb2.HealthCheckRequest, read_health_request), _RESPONSE):
        _check_health(data, kind, ours)


_RESPONSE: Final = (health_pb2.HealthCheckResponse, read_health_response)


def _check_timeout(data: bytes) -> None:
    match = re.fullmatch(rb"([0-9]{1,8})([HMSmun])", data)
    found = timeout_ns(data)
    assert found == (min(int(match[1]) * _UNITS[match[2]], LONGEST_TIMEOUT) if match else -1)
    if found > 0:
        assert found <= timeout_ns(timeout_value(found)) <= found + found // 10_000 + 1


def _check_messages(data: bytes) -> None:
    whole, single = Messages(), Messages()
    whole.feed(data)
    for octet in data:
        single.feed(bytes((octet,)))
    facts = [(m.count, m.octets, m.compressed, m.valid, m.whole()) for m in (whole, single)]
    assert facts[0] == facts[1]
    at, count = 0, 0
    while len(data) - at >= 5 and data[at] < 2:
        at += 5 + struct.unpack_from(">I", data, at + 1)[0]
        count += at <= len(data)
    assert whole.count == count
    # A flag that is neither 0 nor 1 is known when the five bytes with it are there.
    assert whole.valid is not (len(data) - at >= 5)


def _check_health(data: bytes, kind: Callable[[], object], ours: Callable[[bytes], object]) -> None:
    """What we read, protobuf reads alike; we may refuse more."""
    try:
        mine = ours(data)
    except GrpcError:
        return
    message = kind()
    try:
        message.ParseFromString(data)  # type: ignore[attr-defined]  # of protobuf's messages
    except DecodeError as error:
        raise AssertionError("protobuf refuses it") from error
    theirs = message.service if isinstance(message, health_pb2.HealthCheckRequest) else message.status  # type: ignore[attr-defined]
    assert mine == theirs
