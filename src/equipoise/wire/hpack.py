"""HPACK, the header compression of HTTP/2 (RFC 7541): header blocks <-> lists of shared header fields.

Owns: both dynamic tables, the representations, what goes into a table and what never does.
Refuses to know: frames, streams, which fields a message must have.

A field is one object from its literal on: the tables and all the lists that it appears in refer to it. So a block of
indexed fields costs a few loads each, and a claimed size of any magnitude costs nothing but the octets that came.
"""

from collections.abc import Iterable
from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

from equipoise.wire.hpack_header import BAD_NAME, NEVER_INDEXED, NOT_INDEXED, STATIC, Header, Name, name_of
from equipoise.wire.hpack_memory import REMEMBERED_OCTETS, STATIC_ENTRIES, EncoderTable, Literals, Table
from equipoise.wire.hpack_tables import ENHANCE_YOUR_CALM, HpackError, corrupt, huffman_decode

# The table that each side starts with (RFC 9113 6.5.2), and the most that our encoder uses of what a peer offers.
INITIAL_TABLE: Final = 4096
# A writer keeps the room of the longest that it ever held; one that held more than this many octets is not kept.
SCRATCH: Final = 4096
# Representations (RFC 7541 6), in the top bits of their first octet.
INDEXED: Final = 0x80
WITH_INDEXING: Final = 0x40
SIZE_UPDATE: Final = 0x20
NEVER_INDEXING: Final = 0x10
HUFFMAN: Final = 0x80
# Seven bits at a time behind the prefix: five octets are 2^35, more than any block has, and no i64 overflows.
LAST_SHIFT: Final = 28


class ListTooLarge(HpackError):
    """The list is larger than allowed, but the table is in step: the stream can be refused and the connection goes on.

    Attributes:
        kept: the fields before the limit, for the log.
    """

    def __init__(self, kept: list[Header]) -> None:
        super().__init__(ENHANCE_YOUR_CALM, "header list too large")
        self.kept = kept


class Decoder:
    """Reads the header blocks of one peer, whole and in order."""

    def __init__(self, max_table_size: i64, max_list_size: i64, literals: Literals | None = None) -> None:
        """Starts with an empty table.

        Args:
            max_table_size: octets; what the peer may use. Until it has acknowledged our settings, that is
                `INITIAL_TABLE`, whatever they say; afterwards `limit_table`.
            max_list_size: octets of one list (RFC 9113 6.5.2: each field counts for its name, its value and 32).
            literals: shared with other connections of the worker.
        """
        self.max_list_size = max_list_size
        self._max_table_size = max_table_size
        self._table = Table(min(max_table_size, INITIAL_TABLE))
        self._literals: Literals = Literals() if literals is None else literals
        self._scratch = BytesWriter()
        # Behind what was read last.
        self._at: i64 = 0

    def limit_table(self, size: i64) -> None:
        """The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE.

        When its table is larger, its next block must begin with making it smaller (RFC 7541 4.2).
        """
        self._max_table_size = size

    def decode(self, block: bytes) -> list[Header]:
        """Reads a whole header block.

        Args:
            block: the fragments of HEADERS and CONTINUATION, joined; bounding its octets is up to the caller.

        Returns:
            The fields in order.

        Raises:
            ListTooLarge: the list is over `max_list_size`; the table is in step.
            HpackError: the block is invalid; nothing that this peer sends can be read any more.
        """
        fields: list[Header] = []
        static = STATIC
        table = self._table
        left: i64 = self.max_list_size
        end: i64 = len(block)
        at: i64 = 0
        if end and i64(block[0]) & 0xE0 == SIZE_UPDATE:
            at = self._resize(block)
        if table.limit > self._max_table_size:
            raise corrupt("the dynamic table is larger than the settings allow")
        while at < end:
            first: i64 = block[at]
            if first >= INDEXED:
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index = self._integer(block, at - 1, 0x7F)
                    at = self._at
                if index > STATIC_ENTRIES:
                    field = table.at(index)
                elif index:
                    field = static[index]
                else:
                    raise corrupt("index 0")
            elif first & 0xE0 == SIZE_UPDATE:
                raise corrupt("table size update behind a field, or the third one")
            else:
                field = self._literal(block, at, first)
                at = self._at
            left -= field.size
            if left >= 0:
                fields.append(field)
        if left < 0:
            raise ListTooLarge(fields)
        return fields

    def _resize(self, block: bytes) -> i64:
        """Follows the table size updates at the start of a block, at most two of them (RFC 7541 4.2)."""
        end: i64 = len(block)
        at: i64 = 0
        count: i64 = 0
        while at < end and count < 2 and i64(block[at]) & 0xE0 == SIZE_UPDATE:
            size = self._integer(block, at, 0x1F)
            if size > self._max_table_size:
                raise corrupt("table size update over what the settings allow")
            self._table.resize(size)
            at = self._at
            count += 1
        return at

    def _literal(self, block: bytes, start: i64, first: i64) -> Header:
        """Reads a literal field (RFC 7541 6.2) and adds it to the table where it says so."""
        mask: i64 = 0x3F if first >= WITH_INDEXING else 0x0F
        index = first & mask
        at = start + 1
        if index == mask:
            index = self._integer(block, start, mask)
            at = self._at
        name_at = at
        if index == 0:
            at = self._skip_string(block, at)
        end = self._skip_string(block, at)
        never = first & 0xF0 == NEVER_INDEXING
        if never or index > STATIC_ENTRIES or end - start > REMEMBERED_OCTETS:
            field = Header(self._name(block, index, name_at), self._string(block, at), never)
        else:
            literal = block[start:end]
            known = self._literals.find(literal)
            if known is None:
                field = Header(self._name(block, index, name_at), self._string(block, at), False)
                self._literals.keep(literal, field)
            else:
                field = known
        self._at = end
        if first >= WITH_INDEXING:
            self._table.insert(field)
        return field

    def _name(self, block: bytes, index: i64, at: i64) -> Name:
        """The name of a literal: that of an entry, or with index 0 the string at `at`."""
        if index == 0:
            return name_of(self._string(block, at))
        return (STATIC[index] if index <= STATIC_ENTRIES else self._table.at(index)).about

    def _string(self, block: bytes, at: i64) -> bytes:
        """Reads a string (RFC 7541 5.2) that `_skip_string` went over before."""
        length = self._integer(block, at, 0x7F)
        raw = block[self._at : self._at + length]
        if i64(block[at]) & HUFFMAN:
            return huffman_decode(raw, self._scratch if length < SCRATCH // 2 else BytesWriter())
        return raw

    def _skip_string(self, block: bytes, at: i64) -> i64:
        """Returns the index behind a string, which the block has in full."""
        end: i64 = len(block)
        if at >= end:
            raise corrupt("block ends inside a field")
        length = self._integer(block, at, 0x7F)
        if length > end - self._at:
            raise corrupt("block ends inside a string")
        return self._at + length

    def _integer(self, block: bytes, at: i64, mask: i64) -> i64:
        """Reads an integer (RFC 7541 5.1) and sets `_at` behind it.

        Args:
            block: has an octet at `at`.
            at: where the octet with the prefix is.
            mask: the bits of the prefix.
        """
        value: i64 = i64(block[at]) & mask
        at += 1
        if value == mask:
            end: i64 = len(block)
            shift: i64 = 0
            octet: i64 = HUFFMAN
            while octet >= 0x80:
                if at >= end:
                    raise corrupt("block ends inside an integer")
                if shift > LAST_SHIFT:
                    raise corrupt("integer too long")
                octet = block[at]
                at += 1
                value += (octet & 0x7F) << shift
                shift += 7
        self._at = at
        return value


class Encoder:
    """Writes header blocks for one peer.

    What repeats is indexed; what is secret is written so that nobody on the way indexes it. Strings go without Huffman
    code: to spare 7 octets of a path of 28, writing would take 67 ns instead of 8 and reading 116, and a field that
    repeats is a string only once.
    """

    def __init__(self, max_table_size: i64 = INITIAL_TABLE) -> None:
        """Starts with an empty table.

        Args:
            max_table_size: octets; what the peer's settings say, when they are known already.
        """
        self._table = EncoderTable(INITIAL_TABLE)
        self._writer = BytesWriter()
        # The smallest limit since the last block, which the next one has to tell; -1: nothing to tell.
        self._lowest: i64 = -1
        self.limit_table(max_table_size)

    def limit_table(self, size: i64) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE says so; takes effect with the next block."""
        size = min(size, INITIAL_TABLE)
        if size == self._table.limit:
            return
        if self._lowest < 0 or size < self._lowest:
            self._lowest = size
        self._table.resize(size)

    def encode(self, fields: Iterable[Header | tuple[bytes, bytes]]) -> bytes:
        """A block of its own. See `write`."""
        self._writer.truncate(0)
        self.write(fields, self._writer)
        block = self._writer.getvalue()
        if len(block) > SCRATCH:
            self._writer = BytesWriter()
        return block

    def write(self, fields: Iterable[Header | tuple[bytes, bytes]], block: BytesWriter) -> None:
        """Writes a header block, which the peer has to get before the next one that is written.

        Args:
            fields: each a field, or the name and the value of one.
            block: where it goes.
        """
        self._begin(block)
        for field in fields:
            if isinstance(field, Header):
                self._write(field, block)
            else:
                self._write_pair(field[0], field[1], block)

    def write_list(self, fields: list[Header], block: BytesWriter) -> None:
        """As `write`, for what the data path has: walking over a list of objects costs no calls."""
        self._begin(block)
        for field in fields:
            self._write(field, block)

    def _begin(self, block: BytesWriter) -> None:
        if self._lowest >= 0:
            if self._lowest < self._table.limit:
                write_integer(block, SIZE_UPDATE, 0x1F, self._lowest)
            write_integer(block, SIZE_UPDATE, 0x1F, self._table.limit)
            self._lowest = -1

    def _write_pair(self, name: bytes, value: bytes, block: BytesWriter) -> None:
        """Writes a field that is no object yet; if it is in the table, none is made."""
        key = name + b":" + value
        known = self._table.find(key)
        # The name decides: `a:b` with value `c` has the key of `a` with value `b:c`.
        if known is not None and known.name == name:
            self._write(known, block)
        else:
            self._write(Header(name_of(name), value, False), block)

    def _write(self, field: Header, block: BytesWriter) -> None:
        if field.index:
            block.append(u8(INDEXED | field.index))
            return
        if field.flags & (NEVER_INDEXED | NOT_INDEXED):
            never = field.flags & NEVER_INDEXED
            self._write_literal(field, block, NEVER_INDEXING if never else 0, 0x0F)
            return
        if not field.key:
            field.key = field.name + b":" + field.value
        table = self._table
        index = table.index_of(field.key)
        if index:
            write_integer(block, INDEXED, 0x7F, index)
        elif field.size * 4 > table.limit * 3:
            # It would drive out nearly everything else.
            self._write_literal(field, block, 0, 0x0F)
        else:
            self._write_literal(field, block, WITH_INDEXING, 0x3F)
            table.add(field)

    def _write_literal(self, field: Header, block: BytesWriter, pattern: i64, mask: i64) -> None:
        """Writes a literal (RFC 7541 6.2); its name as an index where there is one."""
        index = field.about.index
        if index == 0 and field.flags & BAD_NAME == 0:
            index = self._table.index_of(field.name)
        write_integer(block, pattern, mask, index)
        if index == 0:
            write_integer(block, 0, 0x7F, len(field.name))
            block.write(field.name)
        write_integer(block, 0, 0x7F, len(field.value))
        block.write(field.value)


def write_integer(block: BytesWriter, pattern: i64, mask: i64, value: i64) -> None:
    """Writes an integer (RFC 7541 5.1).

    Args:
        block: where it goes.
        pattern: the bits before the prefix.
        mask: the bits of the prefix.
        value: not negative.
    """
    if value < mask:
        block.append(u8(pattern | value))
        return
    block.append(u8(pattern | mask))
    value -= mask
    while value >= 0x80:
        block.append(u8(0x80 | value & 0x7F))
        value >>= 7
    block.append(u8(value))
