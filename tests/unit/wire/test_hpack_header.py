"""What follows from a field's name and value alone."""

import pytest

from equipoise.wire.hpack_header import (
    BAD_NAME,
    BAD_VALUE,
    CONTENT_LENGTH,
    COOKIE,
    KINDS,
    MALFORMED,
    NAMES,
    NEVER_INDEXED,
    NOT_INDEXED,
    ONE_CONNECTION,
    OTHER,
    PATH,
    PSEUDO,
    STATIC,
    Header,
    Name,
    header,
    name_of,
)
from equipoise.wire.hpack_tables import STATIC_FIELDS

TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
ORDINARY = PSEUDO | MALFORMED


def test_the_size_is_that_of_the_rfc() -> None:
    assert header(b"custom-key", b"custom-header").size == 55


def test_a_name_is_a_token_in_lower_case() -> None:
    allowed = bytes(octet for octet in range(256) if not header(b"x" + bytes([octet]), b"").flags & BAD_NAME)
    assert set(allowed) == set(TCHAR)


@pytest.mark.parametrize("name", [b"", b":", b":unknown", b":Path", b"a:b", b"Host", b"a b", b"a\x00", b"\xc3\xa4"])
def test_other_names_are_malformed(name: bytes) -> None:
    assert header(name, b"v").flags & BAD_NAME


@pytest.mark.parametrize("name", [b":method", b":scheme", b":authority", b":path", b":status", b":protocol"])
def test_the_pseudo_header_fields_are_known(name: bytes) -> None:
    assert header(name, b"200").flags & ORDINARY == PSEUDO


@pytest.mark.parametrize("filler", [b"", b"a" * 9])
def test_a_value_has_no_control_octet(filler: bytes) -> None:
    allowed = {c for c in range(256) if not header(b"x", filler + b"a" + bytes([c]) + b"b").flags & BAD_VALUE}
    assert allowed == {0x09} | set(range(0x20, 0x7F)) | set(range(0x80, 0x100))


@pytest.mark.parametrize("value", [b" ", b"\t", b" a", b"a ", b"\ta", b"a\t", b"a\r\nb: c", b"\x00"])
def test_blanks_around_a_value_and_line_ends_in_it_are_malformed(value: bytes) -> None:
    assert header(b"x", value).flags & BAD_VALUE


@pytest.mark.parametrize("value", [b"", b"a", b"a b", b"\xff"])
def test_other_values_are_fine(value: bytes) -> None:
    assert header(b"x", value).flags & ORDINARY == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((b":method", b""), (b":method", b"GET /"), (b":method", b"G\xc3\xa4T"), (b":path", b""), (b":path", b"/a b")),
        *((b":path", b"/#a"), (b":path", b"/\xff"), (b":path", b"/\x7f"), (b":scheme", b"ht tp"), (b":scheme", b"")),
        *((b":authority", b"a b"), (b":authority", b""), (b":status", b"2x0"), (b":status", b"")),
        *((b"content-length", b"1 "), (b"content-length", b"+1"), (b"content-length", b""), (b":path", b"/\r\n")),
    ],
)
def test_a_value_that_is_more_than_text_has_its_own_octets(name: bytes, value: bytes) -> None:
    assert header(name, value).flags & BAD_VALUE


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
def test_fields_of_the_connection_are_malformed(name: bytes) -> None:
    assert header(name, b"a").flags & MALFORMED == ONE_CONNECTION


@pytest.mark.parametrize(("value", "malformed"), [(b"trailers", False), (b"Trailers", False), (b"gzip", True)])
def test_te_may_only_ask_for_trailers(value: bytes, malformed: bool) -> None:
    assert bool(header(b"te", value).flags & MALFORMED) == malformed


@pytest.mark.parametrize(
    ("name", "value", "flags"),
    [
        (b"authorization", b"Basic abc", NEVER_INDEXED),
        (b"cookie", b"a" * 19, NEVER_INDEXED),
        (b"cookie", b"a" * 20, 0),
        (b"content-length", b"1", NOT_INDEXED),
        (b"x-malformed", b"\x00", NOT_INDEXED),
        (b"X-Malformed", b"", NOT_INDEXED),
        (b"server", b"a", 0),
    ],
)
def test_what_may_be_indexed(name: bytes, value: bytes, flags: int) -> None:
    assert header(name, value).flags & (NEVER_INDEXED | NOT_INDEXED) == flags


def test_what_came_never_indexed_is_no_entry_of_the_static_table() -> None:
    field = Header(name_of(b":method"), b"GET", never=True)
    assert field.flags & NEVER_INDEXED
    assert field.index == 0


def test_kinds_name_the_fields_that_are_asked_for() -> None:
    assert header(b":path", b"/").kind == PATH
    assert header(b"content-length", b"1").kind == CONTENT_LENGTH
    assert header(b"cookie", b"").kind == COOKIE
    assert header(b"x-other", b"").kind == OTHER
    assert len(set(KINDS.values()) | {OTHER}) == len(KINDS) + 1


def test_the_static_table_is_made_of_fields() -> None:
    assert [(field.name, field.value) for field in STATIC[1:]] == list(STATIC_FIELDS)
    for place, field in enumerate(STATIC[1:]):
        assert field.index in {place + 1, 0}
        assert (field.index == 0) == bool(field.flags & NEVER_INDEXED)
    assert NAMES[b":status"].index == 8


def test_names_are_shared_when_they_are_known() -> None:
    assert name_of(b"server") is header(b"server", b"a").about
    assert name_of(b"x-other").text == Name(b"x-other").text


def test_the_representation_shows_no_secret() -> None:
    assert "hunter2" not in repr(header(b"authorization", b"hunter2"))
    assert "hunter2" in repr(header(b"x-public", b"hunter2"))
