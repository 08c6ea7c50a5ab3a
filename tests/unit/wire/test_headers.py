"""Field lines: their grammar, and what passes on of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import ProxyError
from equipoise.wire.headers import TOKEN, VALUE, Fields, interest, skip_token, skip_value
from tests.support.wire import new_request, passes, refused_request, request

TCHAR = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"


def kept(lines: bytes) -> bytes:
    """What passes on of a request with these field lines, without the request line and the Host."""
    head = request(LINE + HOST + lines + b"\r\n")
    out = b"".join(head.keep)
    assert out.startswith(LINE + HOST)
    return out.removeprefix(LINE + HOST)


def refusal(lines: bytes) -> ProxyError:
    return refused_request(LINE + HOST + lines + b"\r\n")


def bytes_that_pass(before: bytes, after: bytes) -> bytes:
    """Those that may stand between the two in a field line, and then pass on unchanged."""
    lines = {byte: before + bytes([byte]) + after for byte in range(256)}
    passing = [byte for byte, line in lines.items() if passes(new_request, LINE + HOST + line + b"\r\n")]
    assert all(kept(lines[byte]) == lines[byte] for byte in passing)
    return bytes(passing)


def test_a_field_name_is_a_token() -> None:
    assert set(bytes_that_pass(b"X", b"Y: v\r\n")) == set(TCHAR + b":")


# Lengths around the words of seven bytes that the scan reads at a time.
@pytest.mark.parametrize("length", [0, 1, 6, 7, 8, 30])
def test_a_field_value_has_no_control_byte(length: int) -> None:
    passing = bytes_that_pass(b"X: " + b"a" * length, b"b" * 9 + b"\r\n")
    assert set(passing) == {0x09} | set(range(0x20, 0x7F)) | set(range(0x80, 0x100))


def test_an_empty_field_name_is_refused() -> None:
    assert refusal(b": v\r\n").detail == "invalid field name"


def test_a_line_without_colon_is_refused() -> None:
    assert refusal(b"X\r\n").detail == "invalid field name"


@pytest.mark.parametrize("blank", [b" ", b"\t", b"\x0b", b"\x0c", b"\xa0", b"\x85", b"\x1c"])
def test_a_blank_before_the_colon_is_refused(blank: bytes) -> None:
    assert refusal(b"X" + blank + b": v\r\n").detail == "invalid field name"


@pytest.mark.parametrize("blank", [b" ", b"\t"])
@pytest.mark.parametrize("before", [b"", b"X: v\r\n"])
def test_a_folded_line_is_refused_first_and_later(before: bytes, blank: bytes) -> None:
    assert refused_request(LINE + before + blank + b"folded\r\n" + HOST + b"\r\n").detail == "invalid field name"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n", b"\n\r\n"])
def test_a_line_that_does_not_end_in_crlf_is_refused(end: bytes) -> None:
    assert refusal(b"X: v" + end + b"Y: w\r\n").status == 400


@pytest.mark.parametrize("end", [b"\n", b"\rX", b"\r\r\n"])
def test_a_head_that_does_not_end_in_crlf_is_refused(end: bytes) -> None:
    assert refused_request(LINE + HOST + end).status == 400


def test_an_empty_value_passes_on() -> None:
    assert kept(b"X:\r\nY: \r\n") == b"X:\r\nY: \r\n"


def test_what_is_kept_is_the_original_byte_for_byte() -> None:
    lines = b"x-ONE:\t a  b \t\r\nX: \xff\x80\r\nCookie: a=b; c\r\n"
    assert kept(lines) == lines


def test_what_lies_between_left_out_fields_is_kept_as_whole_runs() -> None:
    head = request(LINE + HOST + b"A: 1\r\nB: 2\r\nTE: x\r\nKeep-Alive: 5\r\nC: 3\r\nD: 4\r\n\r\n")
    assert head.keep == [LINE + HOST + b"A: 1\r\nB: 2\r\n", b"C: 3\r\nD: 4\r\n"]


def test_a_left_out_field_at_the_end_leaves_no_trace() -> None:
    assert kept(b"A: 1\r\nTE: x\r\n") == b"A: 1\r\n"


def read(lines: bytes, max_bytes: int, max_count: int) -> Fields:
    """The parent class alone, which watches nothing."""
    fields = Fields(interest(()), max_bytes, max_count)
    assert fields.read_fields(lines)
    return fields


def test_as_many_fields_as_allowed_pass() -> None:
    assert b"".join(read(b"A: 1\r\n" * 5 + b"\r\n", 100, 5).keep) == b"A: 1\r\n" * 5


def test_one_field_more_is_431() -> None:
    with pytest.raises(ProxyError) as error:
        read(b"A: 1\r\n" * 6 + b"\r\n", 100, 5)
    assert error.value.status == 431


def test_left_out_fields_count_too() -> None:
    assert refusal(b"TE: x\r\n" * 100).status == 431


def test_a_section_as_large_as_allowed_passes() -> None:
    lines = b"A: 1\r\n\r\n"
    assert read(lines, len(lines), 5).at == len(lines)


def test_one_byte_more_is_431() -> None:
    lines = b"A: 1\r\n\r\n"
    with pytest.raises(ProxyError) as error:
        read(lines, len(lines) - 1, 5)
    assert error.value.status == 431


def test_an_endless_line_is_431_before_it_ends() -> None:
    with pytest.raises(ProxyError) as error:
        Fields(interest(()), 100, 5).read_fields(b"A: " + b"1" * 98)
    assert error.value.status == 431


@pytest.mark.parametrize("length", [31, 32, 33, 255, 256, 270, 1024, 20_000])
def test_a_long_name_is_no_other_name(length: int) -> None:
    line = b"c" * length + b": v\r\n"
    assert kept(line) == line


def test_find_gives_the_first_kept_value_without_blanks() -> None:
    head = request(LINE + HOST + b"X-A: \t 1 \t\r\nx-a: 2\r\n\r\n")
    assert head.find(b"x-a") == b"1"
    assert head.find(b"x-b") is None


def test_find_does_not_see_what_was_left_out() -> None:
    assert request(LINE + HOST + b"TE: trailers\r\n\r\n").find(b"te") is None


def test_interest_knows_its_names_in_any_case_and_says_nothing_of_others() -> None:
    table = interest((b"host", b"via"))
    assert [table[len(name) << 5 | name[0] & 31] for name in (b"host", b"HOST", b"Via", b"x", b"user-agent")] == [
        1,
        1,
        1,
        0,
        0,
    ]


# Mostly bytes that pass, so that whole words of them come up.
TEXT = st.lists(
    st.one_of(st.sampled_from(b"abcXYZ-"), st.sampled_from(b"\t -_09@[`{\r\n\x7f\x80"), st.integers(0, 255)),
    max_size=40,
).map(bytes)


def stop_by_table(table: bytes, data: bytes, at: int) -> int:
    """What the word-wise walks must agree with: one byte after the other."""
    while at < len(data) and table[data[at]]:
        at += 1
    return at


@given(TEXT, st.integers(0, 40))
def test_skip_token_stops_at_the_first_byte_that_is_not_of_a_token(data: bytes, at: int) -> None:
    at = min(at, len(data))
    assert skip_token(data, at) == stop_by_table(TOKEN, data, at)


@given(TEXT, st.integers(0, 40))
def test_skip_value_stops_at_the_first_byte_that_is_not_of_a_value(data: bytes, at: int) -> None:
    at = min(at, len(data))
    assert skip_value(data, at) == stop_by_table(VALUE, data, at)
