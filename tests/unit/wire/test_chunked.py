"""The chunked coding: what is refused, and what passes on of the rest. Each case whole, byte by byte, with a tail."""

import pytest

from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from tests.support.wire import FIELDS, HEAD_BYTES, chunked, read_chunks, refused_chunks, single_bytes

END = b"0\r\n\r\n"


def sized(line: bytes, data: bytes = b"abcde") -> bytes:
    """A body of one chunk with this size line."""
    return line + b"\r\n" + data + b"\r\n" + END


# -- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (END, b""),
        (sized(b"5"), b"abcde"),
        (b"3\r\nabc\r\n2\r\nde\r\n" + END, b"abcde"),
        (b"1\r\n\r\r\n1\r\n\n\r\n2\r\n\r\n\r\n" + END, b"\r\n\r\n"),
        (b"A\r\n0123456789\r\na\r\n0\r\n\r\n9\r\n\r\n\r\n" + END, b"01234567890\r\n\r\n9\r\n\r\n"),
        (sized(b"00005"), b"abcde"),
        (sized(b"000000000000005"), b"abcde"),
        (b"400\r\n" + b"x" * 1024 + b"\r\n" + END, b"x" * 1024),
    ],
    ids=["empty", "one", "two", "line-ends-as-data", "chunk-look-alike", "zeros", "15-digits", "long"],
)
def test_a_valid_body_passes_unchanged_and_decodes(body: bytes, data: bytes) -> None:
    assert chunked(body) == body
    assert chunked(body, decode=True) == data


def test_the_last_chunk_passes_as_a_single_zero() -> None:
    assert chunked(b"000\r\n\r\n") == END


@pytest.mark.parametrize("size", [b"a", b"A"])
def test_a_size_may_be_in_either_case(size: bytes) -> None:
    body = sized(size, b"0123456789")
    assert chunked(body) == body


def test_a_whole_read_of_nothing_but_data_is_handed_on_without_a_copy() -> None:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode=False)
    reader.feed(b"400\r\n")
    data = b"x" * 512
    assert reader.feed(data) is data


def test_an_incomplete_body_is_not_done() -> None:
    for stop in range(len(sized(b"5"))):
        assert not read_chunks([sized(b"5")[:stop]], decode=False).done


def test_a_partial_line_is_held_back_and_data_is_not() -> None:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode=False)
    assert [reader.feed(piece) for piece in (b"1", b"0\r", b"\nab", b"cd")] == [b"", b"", b"10\r\nab", b"cd"]


# -- extensions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b";a=b;c;d=e",
        b';a="b"',
        b';a="b;c\\"d\\\\ \xff\t"',
        b';a="";b',
        b";chunk-signature=" + b"0" * 64,
        b";" + b"a" * 4000,
    ],
)
def test_extensions_are_dropped(extension: bytes) -> None:
    assert chunked(sized(b"5" + extension)) == sized(b"5")
    assert chunked(sized(b"5" + extension), decode=True) == b"abcde"


def test_an_extension_of_the_last_chunk_is_dropped() -> None:
    assert chunked(b"0;a=b\r\n\r\n") == END


def test_chunks_around_an_extension_pass() -> None:
    body = b"1\r\na\r\n1;x\r\nb\r\n1\r\nc\r\n"
    assert chunked(body + END) == body.replace(b";x", b"") + END


@pytest.mark.parametrize(
    "extension",
    [
        b";",
        b";;a",
        b";a;",
        b";=b",
        b";a=",
        b";a=b=c",
        b';a="b',
        b';a="b"c',
        b';"a"',
        b';a=b"c"',
        b";a b",
        b"; a",
        b" ;a",
        b"\t;a",
        b";a =b",
        b";a= b",
        b";a ",
        b";a\x00",
        b";a\x0b",
        b";a\x7f",
        b";a=\xff",
        b';a="\x00"',
        b';a="\\\x01"',
        b';a="\\"',
        b";a\n",
        b";a\r",
        b";a\nb",
        b";a\rb",
        b';a="\n"',
        b';a="\r"',
        b",a",
        b"=a",
        b";" + b"a" * 4100,
    ],
)
@pytest.mark.parametrize("size", [b"5", b"0"])
def test_an_extension_outside_the_grammar_is_refused(size: bytes, extension: bytes) -> None:
    assert refused_chunks(sized(size + extension)).status == 400


def test_an_endless_extension_is_refused_before_it_ends() -> None:
    with pytest.raises(ProxyError):
        read_chunks([b"5;", *[b"a" * 100] * 50], decode=False)


# -- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b"0x5",
        b"0X5",
        b"x5",
        b"+5",
        b"-5",
        b"-0",
        b"5_0",
        b"_5",
        b"5_",
        b" 5",
        b"5 ",
        b"\t5",
        b"5\t",
        b"5\x0b",
        b"\x0c5",
        b"5\xa0",
        b"5\x85",
        b"5\x00",
        b"\x005",
        b"g",
        b"5h",
        b"5L",
        b"5.0",
        b"5,5",
        b'"5"',
        b"\xd9\xa5",  # ARABIC-INDIC DIGIT FIVE
        b"\xef\xbc\x95",  # FULLWIDTH DIGIT FIVE
        b"\xb2",
        b"0000000000000005",
        b"f" * 16,
        b"f" * 17,
        b"1" + b"0" * 16,
        b"1" * 5000,
        b"5\r",
        b"5\n",
        b"5\n\r",
        b"\n5",
        b"\r5",
        b"\r\n5",
    ],
)
def test_a_size_that_is_not_1_to_15_hex_digits_is_refused(size: bytes) -> None:
    assert refused_chunks(sized(size)).status == 400


@pytest.mark.parametrize("body", [b"5\nabcde\r\n" + END, b"5\rabcde\r\n" + END, b"5\r\r\nabcde\r\n" + END])
def test_a_size_line_ends_in_crlf_and_nothing_else(body: bytes) -> None:
    assert refused_chunks(body).status == 400


@pytest.mark.parametrize("digits", [17, 100])
def test_too_many_digits_are_refused_before_the_line_ends(digits: int) -> None:
    with pytest.raises(ProxyError):
        read_chunks([b"0"] * digits, decode=False)


@pytest.mark.parametrize("bad", [b"x", b"0x", b"-", b" ", b"\n", b"5 ", b"5;;", b"5\n", b"5\rx"])
def test_what_cannot_become_a_size_line_is_refused_at_once(bad: bytes) -> None:
    with pytest.raises(ProxyError):
        read_chunks([bad], decode=False)


def test_the_largest_size_is_believed_and_costs_nothing() -> None:
    chunks = read_chunks([b"f" * 15 + b"\r\nabc"], decode=True)
    assert (chunks.out, chunks.done) == (b"abc", False)


# -- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nabcdef\r\n" + END,
        b"5\r\nabcd\r\n" + END,
        b"5\r\nabcde" + END,
        b"5\r\nabcde\n" + END,
        b"5\r\nabcde\r" + END,
        b"5\r\nabcde\r\r\n" + END,
        b"5\r\nabcde\n\r" + END,
        b"5\r\nabcdeXX" + END,
        b"5\r\nabcdeX\n" + END,
        b"5\r\nabcde\rX" + END,
        b"5\r\nabcde\r\n\r\n" + END,
        b"0\r\nX",
        b"0\r\n\rX",
        b"0\r\n\n",
        b"0\n\n",
        b"0\r\n\r\r\n",
    ],
)
def test_data_that_does_not_end_where_its_size_says_is_refused(body: bytes) -> None:
    assert refused_chunks(body + END).status == 400


def test_nothing_of_a_read_with_a_bad_chunk_passes_on() -> None:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode=False)
    assert reader.feed(b"1\r\na\r\n") == b"1\r\na\r\n"
    with pytest.raises(ProxyError):
        reader.feed(b"1\r\nb\r\n+1\r\nc\r\n")


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("line", [b"0x1", b"+1", b"1_0", b"1 ", b"1;;", b"1\n", b"1\r\r", b"f" * 17])
def test_no_byte_of_a_chunk_with_a_bad_size_passes_on_byte_by_byte(line: bytes, decode: bool) -> None:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode)
    out = [reader.feed(b"1\r\na\r\n")]
    with pytest.raises(ProxyError):
        out.extend(map(reader.feed, single_bytes(line + b"\r\nSECRET\r\n")))
    assert b"".join(out) == (b"a" if decode else b"1\r\na\r\n")


def test_refused_trailers_leave_the_message_unfinished() -> None:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode=False)
    out = reader.feed(b"1\r\na\r\n0\r\n")
    with pytest.raises(ProxyError):
        reader.feed(b"Content-Length: 5\r\n\r\n")
    assert out == b"1\r\na\r\n0\r\n"
    assert not reader.done


# -- trailers --------------------------------------------------------------------------------------------------------


def test_trailers_pass_unchanged_and_are_left_out_of_the_decoded_data() -> None:
    body = b"1\r\na\r\n0\r\nGrpc-Status:  0 \r\nx: \xff\r\n\r\n"
    assert chunked(body) == body
    assert chunked(body, decode=True) == b"a"


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"HOST", b"Expect"])
def test_a_framing_or_routing_field_in_the_trailers_is_refused(name: bytes) -> None:
    assert refused_chunks(b"0\r\nX: y\r\n" + name + b": 1\r\n\r\n").detail == "framing field in the trailers"


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"X-Forwarded-For",
        b"x-forwarded-host",
        b"X-FORWARDED-PROTO",
    ],
)
def test_a_field_that_is_ours_or_of_one_connection_is_left_out_of_the_trailers(name: bytes) -> None:
    assert chunked(b"0\r\nA: 1\r\n" + name + b": x\r\nB: 2\r\n\r\n") == b"0\r\nA: 1\r\nB: 2\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b": v\r\n",
        b"X\r\n",
        b"X : v\r\n",
        b" X: v\r\n",
        b"X: a\r\n b\r\n",
        b"X: a\nY: b\r\n",
        b"X: \x00\r\n",
        b"X: a\rb\r\n",
    ],
)
def test_a_trailer_outside_the_grammar_is_refused(lines: bytes) -> None:
    assert refused_chunks(b"0\r\n" + lines + b"\r\n").status == 400


def test_too_many_trailers_are_431() -> None:
    assert refused_chunks(b"0\r\n" + b"X: y\r\n" * (FIELDS + 1) + b"\r\n").status == 431


def test_as_many_trailers_as_allowed_pass() -> None:
    body = b"0\r\n" + b"X: y\r\n" * FIELDS + b"\r\n"
    assert chunked(body) == body


@pytest.mark.parametrize("pieces", [[b"X: " + b"y" * HEAD_BYTES], [b"X: y\r\n", *[b"Y: " + b"y" * HEAD_BYTES] * 2]])
def test_endless_trailers_are_431_before_they_end(pieces: list[bytes]) -> None:
    with pytest.raises(ProxyError) as error:
        read_chunks([b"0\r\n", *pieces], decode=False)
    assert error.value.status == 431
