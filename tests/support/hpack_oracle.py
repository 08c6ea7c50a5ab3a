"""HPACK as the library `hpack` reads it, and where we are stricter on purpose.

Owns: two readings of the same block, and what may differ between them.
Refuses to know: where the block comes from: property tests and the fuzzer ask the same question.
"""

from collections.abc import Callable

import hpack

from equipoise.wire.hpack import Decoder
from equipoise.wire.hpack_header import Header
from equipoise.wire.hpack_tables import HpackError

LIST_SIZE = 1 << 16
INITIAL = 4096
Pairs = list[tuple[bytes, bytes]]


def pairs(fields: list[Header]) -> Pairs:
    return [(field.name, field.value) for field in fields]


def theirs(decoder: hpack.Decoder, block: bytes) -> Pairs:
    return [(bytes(field[0]), bytes(field[1])) for field in decoder.decode(block, raw=True)]


def check(block: bytes) -> None:
    mine = outcome(lambda: pairs(Decoder(INITIAL, LIST_SIZE).decode(block)))
    other = outcome(lambda: theirs(hpack.Decoder(), block))
    if mine is not None:
        assert mine == other
    elif other is not None:
        assert stricter(block), block.hex()


def outcome(read: Callable[[], Pairs]) -> Pairs | None:
    try:
        return read()
    except (HpackError, hpack.HPACKError):
        return None


def stricter(block: bytes) -> bool:
    """Where the library accepts more: it allows integers of any length, more than two updates, and lax padding."""
    try:
        Decoder(INITIAL, LIST_SIZE).decode(block)
    except HpackError as error:
        return error.detail in {
            "integer too long",
            "table size update behind a field, or the third one",
            "invalid padding of a Huffman string",
            "end of string inside a Huffman string, or its padding is too long",
        }
    return False
