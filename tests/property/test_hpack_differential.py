"""HPACK as another implementation reads and writes it: the library `hpack`, both ways, over whole connections.

What it writes, we read as it was meant; what we write, it reads as it was meant, over random sizes of the table on both
sides. Of damaged blocks, what we accept it accepts too, as the same list; where we are stricter is told in `ours`.
"""

from dataclasses import dataclass

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.wire.hpack import Decoder, Encoder
from equipoise.wire.hpack_header import NEVER_INDEXED, header
from equipoise.wire.hpack_memory import Literals
from equipoise.wire.hpack_tables import STATIC_FIELDS
from tests.support.hpack_oracle import INITIAL, LIST_SIZE, Pairs, check, pairs, theirs

NAMES = st.sampled_from([*{name for name, _ in STATIC_FIELDS}, b"x-a", b"x-b", b"A", b"a:b", b"a"]) | st.binary(
    max_size=20
)
VALUES = st.sampled_from([b"", b"0", b"b:c", b"200", b"GET", b"/", b"gzip, deflate"]) | st.binary(max_size=300)
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
SIZES = st.sampled_from([0, 33, 100, 500, INITIAL]) | st.integers(0, INITIAL)


@dataclass(frozen=True)
class Turn:
    """One block of a connection, and what happens before it."""

    fields: Pairs
    again: int  # how often it is sent
    resize: list[int]
    huffman: bool
    objects: bool


TURNS = st.lists(
    st.builds(
        Turn,
        LISTS,
        st.integers(1, 3),
        st.just([]) | st.lists(SIZES, min_size=1, max_size=2),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(TURNS)
def test_what_the_library_writes_we_read(turns: list[Turn]) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(INITIAL, LIST_SIZE)
    for turn in turns:
        for size in turn.resize:
            # The library forgets to tell a change that is made twice.
            if size != encoder.header_table_size:
                encoder.header_table_size = size
        for _ in range(turn.again):
            assert pairs(decoder.decode(encoder.encode(turn.fields, huffman=turn.huffman))) == turn.fields
            assert decoder._table.size == encoder.header_table._current_size


@given(TURNS)
def test_what_we_write_the_library_reads(turns: list[Turn]) -> None:
    encoder, decoder = Encoder(), hpack.Decoder()
    for turn in turns:
        for size in turn.resize:
            encoder.limit_table(size)
        for _ in range(turn.again):
            fields = [header(*pair) for pair in turn.fields] if turn.objects else turn.fields
            assert theirs(decoder, encoder.encode(fields)) == turn.fields
            assert decoder.header_table._current_size == encoder._table.size
            # A setting is acknowledged by now; from here on it binds.
            decoder.max_allowed_table_size = int(encoder._table.limit)
        decoder.max_allowed_table_size = INITIAL


@given(TURNS, st.booleans())
def test_what_we_write_we_read_and_pass_on(turns: list[Turn], shared: bool) -> None:
    """As a balancer does it: the fields that come in at one connection go out at another."""
    literals = Literals(4)
    first, second = Encoder(), Encoder(200)
    middle = Decoder(INITIAL, LIST_SIZE, literals)
    last = Decoder(INITIAL, LIST_SIZE, literals if shared else Literals(4))
    for turn in turns:
        for size in turn.resize:
            first.limit_table(size)
        for _ in range(turn.again):
            fields = middle.decode(first.encode(turn.fields))
            assert pairs(fields) == turn.fields
            arrived = last.decode(second.encode(fields))
            assert pairs(arrived) == turn.fields
            assert [a.flags & NEVER_INDEXED for a in arrived] == [f.flags & NEVER_INDEXED for f in fields]


@given(LISTS, st.booleans(), st.binary(max_size=4), st.integers(0, 200), st.integers(0, 4))
@settings(max_examples=500)
def test_damaged_blocks_are_read_alike_or_refused(
    fields: Pairs, huffman: bool, wrong: bytes, at: int, cut: int
) -> None:
    block = hpack.Encoder().encode(fields, huffman=huffman)
    check(block[:at] + wrong + block[at + cut :])


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_any_octets_are_read_alike_or_refused(block: bytes) -> None:
    check(block)
