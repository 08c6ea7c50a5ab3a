"""The constants of HPACK: the static table and the Huffman code, with the decoder that reads it (RFC 7541 A, B, 5.2).

Owns: what the two appendices say, and reading a Huffman string strictly.
Refuses to know: fields, header blocks, what a string stands for.

The code is canonical: codes of one length follow each other in the order of their symbols, shorter ones first. So the
lengths alone say all of it, and the tables are made from them.
"""

from typing import Final

from librt.strings import BytesWriter, read_i32_be, read_i32_le, read_i64_be, write_i16_le
from mypy_extensions import i16, i64, u8

# Error codes of HTTP/2 that HPACK leads to (RFC 9113 7).
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

# RFC 7541 appendix A: a line for each entry from index 1 on, name and value.
STATIC_FIELDS: Final = tuple(
    (name, value)
    for name, _, value in (
        line.partition(b" ")
        for line in (
            b":authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|"
            b":status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|"
            b"accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|"
            b"authorization|cache-control|content-disposition|content-encoding|content-language|content-length|"
            b"content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|"
            b"if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
            b"proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
            b"strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
        ).split(b"|")
    )
)

# RFC 7541 appendix B: how many bits the code of each octet has; in hexadecimal; the last
# one is EOS, the end of the string. (One string: of a tuple with as many numbers the C compiler makes a quarter of an
# hour.)
HUFFMAN_LENGTHS: Final = bytes.fromhex(
    """
    0d 17 1c 1c 1c 1c 1c 1c 1c 18 1e 1c 1c 1e 1c 1c
    1c 1c 1c 1c 1c 1c 1e 1c 1c 1c 1c 1c 1c 1c 1c 1c
    06 0a 0a 0c 0d 06 08 0b 0a 0a 08 0b 08 06 06 06
    05 05 05 06 06 06 06 06 06 06 07 08 0f 06 0c 0a
    0d 06 07 07 07 07 07 07 07 07 07 07 07 07 07 07
    07 07 07 07 07 07 07 07 08 07 08 0d 13 0d 0e 06
    0f 05 06 05 06 05 06 06 06 05 07 07 06 06 06 05
    06 07 06 05 05 06 07 07 07 07 07 0f 0b 0e 0d 1c
    14 16 14 14 16 16 16 17 16 17 17 17 17 17 18 17
    18 18 16 17 18 17 17 17 17 15 16 17 16 17 17 18
    16 15 14 16 16 17 17 15 17 16 16 18 15 16 17 17
    15 15 16 15 17 16 17 17 14 16 16 16 17 16 16 17
    1a 1a 14 13 16 17 16 19 1a 1a 1a 1b 1b 1a 18 19
    13 15 1a 1b 1b 1a 1b 18 15 15 1a 1a 1c 1b 1b 1b
    14 18 14 15 16 15 15 17 16 16 19 19 18 18 1a 17
    1a 1b 1a 1a 1b 1b 1b 1b 1b 1c 1b 1b 1b 1b 1b 1a
    1e
    """
)
EOS: Final = 256
SHORTEST: Final = 5
LONGEST: Final = 30
# How many bits the decoder looks at at once. All the codes that fit are of ASCII, and two of them may fit; the table
# has 16 KiB and stays in the processor's first cache.
LOOK: Final = 12
# Behind the string, so that looking never goes past the end: ones, which are the padding anyway.
PADDING: Final = b"\xff" * 8


class HpackError(Exception):
    """A header block that RFC 7541 does not allow: the connection cannot go on, since the tables are out of step.

    Attributes:
        code: the error code of HTTP/2 that tells the peer (RFC 9113 7).
        detail: one sentence for the log; carries no bytes of the peer's.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def corrupt(detail: str) -> HpackError:
    """The block cannot be decoded (RFC 7541: a decoding error)."""
    return HpackError(COMPRESSION_ERROR, detail)


def huffman_codes() -> list[int]:
    """The code of each symbol, made from the lengths."""
    codes = [0] * len(HUFFMAN_LENGTHS)
    code = 0
    for length in range(SHORTEST, LONGEST + 1):
        code <<= 1
        for symbol, its_length in enumerate(HUFFMAN_LENGTHS):
            if its_length == length:
                codes[symbol] = code
                code += 1
    return codes


def look_table() -> bytes:
    """What the next `LOOK` bits begin with, four octets each (little-endian).

    First and second symbol, bits that they take together, and 1 when there are two. Zero: the first code is longer.
    """
    codes = huffman_codes()
    firsts = [(0, 0)] * (1 << LOOK)
    for symbol, code in enumerate(codes):
        spare = LOOK - HUFFMAN_LENGTHS[symbol]
        if spare >= 0:
            firsts[code << spare : (code + 1) << spare] = [(symbol, HUFFMAN_LENGTHS[symbol])] * (1 << spare)
    table = bytearray(4 << LOOK)
    for bits, (first, taken) in enumerate(firsts):
        second, more = firsts[bits << taken & ((1 << LOOK) - 1)]
        two = 0 < more <= LOOK - taken
        table[4 * bits : 4 * bits + 4] = bytes((first, second, taken + more, 1) if two else (first, 0, taken, 0))
    return bytes(table)


def code_ends() -> list[int]:
    """By length: the first value of `LONGEST` bits that begins with no code of this length or a shorter one."""
    codes = huffman_codes()
    ends = [0] * (LONGEST + 1)
    for symbol, code in enumerate(codes):
        length = HUFFMAN_LENGTHS[symbol]
        ends[length] = max(ends[length], (code + 1) << (LONGEST - length))
    for length in range(1, LONGEST + 1):
        ends[length] = max(ends[length], ends[length - 1])
    return ends


def code_offsets() -> list[int]:
    """By length: what added to a code of this length gives its place in `SYMBOLS`."""
    codes = huffman_codes()
    offsets = [0] * (LONGEST + 1)
    for place in range(len(SYMBOLS) - 1, -1, -1):
        symbol = SYMBOLS[place]
        offsets[HUFFMAN_LENGTHS[symbol]] = place - codes[symbol]
    return offsets


# The symbols in the order of their codes.
SYMBOLS: Final[list[int]] = [s for _, s in sorted((length, s) for s, length in enumerate(HUFFMAN_LENGTHS))]
LOOKS: Final = look_table()
ENDS: Final[list[int]] = code_ends()
OFFSETS: Final[list[int]] = code_offsets()


def huffman_decode(coded: bytes, scratch: BytesWriter) -> bytes:
    """Reads a Huffman string (RFC 7541 5.2).

    Args:
        coded: the whole string.
        scratch: any writer; what it held is gone afterwards.

    Returns:
        The octets, at most 8 for 5 of `coded`.

    Raises:
        HpackError: EOS stands in the string, or the padding is longer than 7 bits or not of ones.
    """
    total: i64 = len(coded) * 8
    last_look: i64 = total - LOOK
    padded = coded + PADDING
    looks = LOOKS
    scratch.truncate(0)
    bit: i64 = 0
    while bit <= last_look:
        bits = i64(read_i32_be(padded, bit >> 3)) >> (32 - LOOK - (bit & 7)) & ((1 << LOOK) - 1)
        found = i64(read_i32_le(looks, bits << 2))
        if found >> 24:
            write_i16_le(scratch, i16(found & 0x7FFF))
            bit += found >> 16 & 0xF
        elif found:
            scratch.append(u8(found & 0xFF))
            bit += found >> 16
        else:
            bit = _decode_one(padded, bit, total, scratch)
    while bit < total:
        if total - bit < 8 and i64(read_i64_be(padded, bit >> 3)) >> (56 - (bit & 7)) & 0xFF == 0xFF:
            break
        bit = _decode_one(padded, bit, total, scratch)
    return scratch.getvalue()


def _decode_one(padded: bytes, bit: i64, total: i64, scratch: BytesWriter) -> i64:
    """Reads one symbol of any length at `bit`. Returns where the next one begins."""
    bits = i64(read_i64_be(padded, bit >> 3)) >> (64 - LONGEST - (bit & 7)) & ((1 << LONGEST) - 1)
    ends = ENDS
    length: i64 = SHORTEST
    while bits >= i64(ends[length]):
        length += 1
    symbol: i64 = SYMBOLS[(bits >> (LONGEST - length)) + i64(OFFSETS[length])]
    if symbol == EOS:
        raise corrupt("end of string inside a Huffman string, or its padding is too long")
    if bit + length > total:
        raise corrupt("invalid padding of a Huffman string")
    scratch.append(u8(symbol))
    return bit + length
