import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.structured import (
    BOOLEAN,
    BYTES,
    DATE,
    DECIMAL,
    DISPLAY,
    INNER_LIST,
    INTEGER,
    STRING,
    TOKENS,
    parse_dictionary,
    write_string,
)


def read(value: bytes) -> list[tuple[bytes, int, int, bytes]] | None:
    members = parse_dictionary(value)
    if members is None:
        return None
    return [(member.key, member.kind, member.number, member.text) for member in members]


@pytest.mark.parametrize(
    ("value", "member"),
    [
        (b"a", (b"a", BOOLEAN, 1, b"")),
        (b"a;x=1;y", (b"a", BOOLEAN, 1, b"")),
        (b"a=?0", (b"a", BOOLEAN, 0, b"")),
        (b"a=600", (b"a", INTEGER, 600, b"")),
        (b"a=-0012;q", (b"a", INTEGER, -12, b"")),
        (b"a=999999999999999", (b"a", INTEGER, 999_999_999_999_999, b"")),
        (b"a=1.5", (b"a", DECIMAL, 0, b"")),
        (b'a="b\\"\\\\c"', (b"a", STRING, 0, b'b"\\c')),
        (b"a=text/html;q=1.0", (b"a", TOKENS, 0, b"text/html")),
        (b"a=*b:c", (b"a", TOKENS, 0, b"*b:c")),
        (b"a=:aGk=:", (b"a", BYTES, 0, b"hi")),
        (b"a=:aGk:", (b"a", BYTES, 0, b"hi")),
        (b"a=@1659578233", (b"a", DATE, 1_659_578_233, b"")),
        (b'a=%"f%c3%bc"', (b"a", DISPLAY, 0, b"f\xc3\xbc")),
        (b'a=( 1 "x"  y;z );p', (b"a", INNER_LIST, 0, b"")),
        (b"a=()", (b"a", INNER_LIST, 0, b"")),
        (b"*a_-.*1", (b"*a_-.*1", BOOLEAN, 1, b"")),
    ],
)
def test_each_kind_of_member_is_read(value: bytes, member: tuple[bytes, int, int, bytes]) -> None:
    assert read(value) == [member]


@pytest.mark.parametrize(
    "value",
    [
        *(b"A=1", b"1a", b"=1", b"a=", b"a =1", b"a= 1", b"a=1,", b"a=1 b=2", b",a", b"a,,b", b"a;", b"a;=1", b"a;B"),
        *(b"a=1.", b"a=.5", b"a=1.2345", b"a=1234567890123.1", b"a=1234567890123456", b"a=--1", b"a=+1", b"a=1_0"),
        *(b'a="b', b'a="\\b"', b'a="\x7f"', b"a='b'", b"a=?2", b"a=?", b"a=@1.5", b"a=@", b"a=:a", b"a=:a-b:"),
        *(b"a=:a:", b'a=%"%C3%BC"', b'a=%"%ff"', b'a=%"x', b"a=%x", b"a=(1", b"a=((1))", b'a=(1"b")', b"a=(1,2)"),
        *(b"a=\xc3\xbc", b"\ta", b"a=1\x0b", b"a={}"),
    ],
)
def test_what_breaks_the_grammar_anywhere_is_no_dictionary(value: bytes) -> None:
    assert read(value) is None


def test_blanks_may_stand_around_the_commas() -> None:
    assert read(b"  a=1 ,\t b=2  ") == [(b"a", INTEGER, 1, b""), (b"b", INTEGER, 2, b"")]


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert read(b"a=1, b, a=2") == [(b"a", INTEGER, 2, b""), (b"b", BOOLEAN, 1, b"")]


def test_an_empty_field_is_an_empty_dictionary() -> None:
    assert read(b"  ") == []


@given(st.binary(max_size=40) | st.text('ab=12.,;"\\?:@%() ', max_size=20).map(str.encode))
def test_no_bytes_break_it(value: bytes) -> None:
    members = parse_dictionary(value)
    assert members is None or all(member.key for member in members)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_a_string_that_is_written_reads_back(text: str) -> None:
    assert read(b"a=" + write_string(text.encode())) == [(b"a", STRING, 0, text.encode())]


def test_what_no_string_may_hold_is_written_as_a_question_mark() -> None:
    assert write_string(b"a\r\n\xff") == b'"a???"'
