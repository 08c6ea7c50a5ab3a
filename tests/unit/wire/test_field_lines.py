import pytest

from equipoise.wire.field_lines import find_value, find_values, read_pairs, status_line, write_lines
from equipoise.wire.http1 import RequestHead


def test_names_are_lowered_and_blanks_around_values_go() -> None:
    assert read_pairs(b"Host: a\r\nX-One:\t b c \t\r\nEmpty:\r\n", False) == [
        (b"host", b"a"),
        (b"x-one", b"b c"),
        (b"empty", b""),
    ]


def test_the_start_line_of_a_head_is_no_field_although_it_has_a_colon() -> None:
    assert read_pairs(b"GET http://a/ HTTP/1.1\r\nA: 1\r\n", True) == [(b"a", b"1")]


def test_what_a_request_head_keeps_can_be_read() -> None:
    head = RequestHead(1000, 10, 100)
    assert head.read(b"GET /a:b HTTP/1.1\r\nHost: x:80\r\nConnection: close\r\nAccept:a\r\naccept: b\r\n\r\n")
    assert read_pairs(b"".join(head.keep), True) == [(b"host", b"x:80"), (b"accept", b"a"), (b"accept", b"b")]


@pytest.mark.parametrize("fields", [[], [(b"a", b"")], [(b"a", b"1: 2"), (b"b", b"\xff"), (b"a", b"3")]])
def test_what_is_written_reads_back(fields: list[tuple[bytes, bytes]]) -> None:
    assert read_pairs(status_line(200) + write_lines(fields), True) == fields


def test_a_head_without_fields_has_none() -> None:
    assert read_pairs(b"HTTP/1.1 200 OK\r\n", True) == []


@pytest.mark.parametrize(("status", "line"), [(404, b"HTTP/1.1 404 Not Found\r\n"), (299, b"HTTP/1.1 299 \r\n")])
def test_a_status_line_has_the_registered_phrase(status: int, line: bytes) -> None:
    assert status_line(status) == line


def test_all_values_of_a_name_are_found_in_order() -> None:
    assert find_values([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], b"a") == [b"1", b"3"]


@pytest.mark.parametrize(("name", "value"), [(b"a", None), (b"b", b"2"), (b"c", None)])
def test_one_value_is_found_only_when_there_is_exactly_one(name: bytes, value: bytes | None) -> None:
    assert find_value([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], name) == value
