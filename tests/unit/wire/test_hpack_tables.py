"""The constants of HPACK, and the Huffman code read strictly."""

import itertools

import pytest
from librt.strings import BytesWriter

from equipoise.wire.hpack_tables import (
    COMPRESSION_ERROR,
    EOS,
    HUFFMAN_LENGTHS,
    STATIC_FIELDS,
    HpackError,
    huffman_codes,
    huffman_decode,
)

CODES = [f"{code:0{HUFFMAN_LENGTHS[symbol]}b}" for symbol, code in enumerate(huffman_codes())]


def decode(bits: str) -> bytes:
    """Reads a string of whole octets, given by its bits."""
    assert len(bits) % 8 == 0
    return huffman_decode(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)), BytesWriter())


def coded(text: bytes) -> str:
    bits = "".join(CODES[octet] for octet in text)
    return bits + "1" * (-len(bits) % 8)


# RFC 7541 appendix B: the ends of each range of lengths, and some between.
@pytest.mark.parametrize(
    ("symbol", "code"),
    [
        *((0, "1111111111000"), (1, "11111111111111111011000"), (9, "111111111111111111101010")),
        *((10, "111111111111111111111111111100"), (0x20, "010100"), (0x30, "00000"), (0x61, "00011")),
        *((0x7A, "1111011"), (0x5C, "1111111111111110000"), (0xC0, "11111111111111111111100000")),
        *((0xFF, "11111111111111111111101110"), (EOS, "1" * 30)),
    ],
)
def test_the_codes_are_those_of_the_rfc(symbol: int, code: str) -> None:
    assert CODES[symbol] == code


def test_no_code_begins_with_another() -> None:
    ordered = sorted(CODES)
    assert not [pair for pair in itertools.pairwise(ordered) if pair[1].startswith(pair[0])]


def test_the_static_table_has_61_entries() -> None:
    assert len(STATIC_FIELDS) == 61
    assert STATIC_FIELDS[0] == (b":authority", b"")
    assert STATIC_FIELDS[15] == (b"accept-encoding", b"gzip, deflate")
    assert STATIC_FIELDS[60] == (b"www-authenticate", b"")


# In front of a symbol, enough of others that it begins at each bit of an octet, behind it whatever comes first.
@pytest.mark.parametrize("before", range(9))
@pytest.mark.parametrize("after", [b"", b"0", b"zz", b"\x00", b"abcdefgh"])
def test_every_octet_is_read_at_every_bit(before: int, after: bytes) -> None:
    for octet in range(256):
        text = b"0" * before + bytes([octet]) + after
        assert decode(coded(text)) == text


def test_all_pairs_of_octets_are_read() -> None:
    for first in range(256):
        text = b"".join(bytes([first, second]) for second in range(256))
        assert decode(coded(text)) == text


def test_an_empty_string_is_empty() -> None:
    assert decode("") == b""


# So few bits are missing to the next octet that no symbol fits.
@pytest.mark.parametrize("text", [b"0", b"000", b"bb", b"abc", b"X", b"0\\", b"\xff\xff\xff"])
def test_padding_is_of_ones_and_shorter_than_an_octet(text: bytes) -> None:
    bits = "".join(CODES[octet] for octet in text)
    missing = -len(bits) % 8
    assert decode(bits + "1" * missing) == text
    for padding in range(1 << missing):
        if padding != (1 << missing) - 1:
            with pytest.raises(HpackError):
                decode(bits + f"{padding:0{missing}b}")
    for more in range(1, 6):
        with pytest.raises(HpackError):
            decode(bits + "1" * (missing + 8 * more))


def test_the_end_of_string_may_not_stand_in_a_string() -> None:
    for before in range(9):
        bits = CODES[0x30] * before + CODES[EOS] + CODES[0x30]
        with pytest.raises(HpackError) as caught:
            decode(bits + "1" * (-len(bits) % 8))
        assert caught.value.code == COMPRESSION_ERROR


def test_the_scratch_may_hold_anything() -> None:
    scratch = BytesWriter()
    scratch.write(b"rest of an earlier string")
    assert huffman_decode(bytes.fromhex("a8eb10649cbf"), scratch) == b"no-cache"
