"""HPACK: the examples of RFC 7541 appendix C, every refusal, and what the encoder indexes."""

import tracemalloc

import pytest
from librt.strings import BytesWriter

from equipoise.wire.hpack import Decoder, Encoder, ListTooLarge, write_integer
from equipoise.wire.hpack_header import NEVER_INDEXED, Header, header
from equipoise.wire.hpack_memory import Literals
from equipoise.wire.hpack_tables import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, STATIC_FIELDS, HpackError

LIST_SIZE = 1 << 16
Pairs = list[tuple[bytes, bytes]]


def new_decoder(table: int = 4096, fields: int = LIST_SIZE) -> Decoder:
    return Decoder(table, fields)


def pairs(fields: list[Header]) -> Pairs:
    return [(field.name, field.value) for field in fields]


def decoded(*blocks: bytes) -> Pairs:
    """What the last of these blocks says on a new connection."""
    decoder = new_decoder()
    return [pairs(decoder.decode(block)) for block in blocks][-1]


def refusal(*blocks: bytes, table: int = 4096) -> str:
    """Why the last of these blocks is refused."""
    decoder = new_decoder(table)
    for block in blocks[:-1]:
        decoder.decode(block)
    with pytest.raises(HpackError) as caught:
        decoder.decode(blocks[-1])
    assert caught.value.code == COMPRESSION_ERROR
    return caught.value.detail


def dynamic(decoder: Decoder) -> Pairs:
    """The dynamic table, newest first, and its size checked."""
    table = decoder._table
    entries = table.entries[int(table.base) :]
    assert table.size == sum(len(e.name) + len(e.value) + 32 for e in entries)
    return pairs(entries[::-1])


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


# -- RFC 7541 appendix C -----------------------------------------------------------------------------------------------

CUSTOM = (b"custom-key", b"custom-header")
GET = (b":method", b"GET")
HTTP = (b":scheme", b"http")
ROOT = (b":path", b"/")
WWW = (b":authority", b"www.example.com")
NO_CACHE = (b"cache-control", b"no-cache")
CUSTOM_VALUE = (b"custom-key", b"custom-value")
REQUESTS: list[Pairs] = [
    [GET, HTTP, ROOT, WWW],
    [GET, HTTP, ROOT, WWW, NO_CACHE],
    [GET, (b":scheme", b"https"), (b":path", b"/index.html"), WWW, CUSTOM_VALUE],
]
REQUEST_TABLES: list[Pairs] = [[WWW], [NO_CACHE, WWW], [CUSTOM_VALUE, NO_CACHE, WWW]]
S302 = (b":status", b"302")
S307 = (b":status", b"307")
PRIVATE = (b"cache-control", b"private")
DATE_21 = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
DATE_22 = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
LOCATION = (b"location", b"https://www.example.com")
GZIP = (b"content-encoding", b"gzip")
FOO = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
RESPONSES: list[Pairs] = [
    [S302, PRIVATE, DATE_21, LOCATION],
    [S307, PRIVATE, DATE_21, LOCATION],
    [(b":status", b"200"), PRIVATE, DATE_22, LOCATION, GZIP, FOO],
]
RESPONSE_TABLES: list[Pairs] = [
    [LOCATION, DATE_21, PRIVATE, S302],
    [S307, LOCATION, DATE_21, PRIVATE],
    [FOO, GZIP, DATE_22],
]
C_3 = ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865"]
C_3 += ["828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"]
C_4 = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]
C_5 = [
    (
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17"
        "68747470733a2f2f7777772e6578616d706c652e636f6d"
    ),
    "4803333037c1c0bf",
    (
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a58"
        "4f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"
    ),
]
C_6 = [
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    (
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672"
        "c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
    ),
]


@pytest.mark.parametrize(
    ("block", "field", "table"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", CUSTOM, [CUSTOM]),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), []),
        ("100870617373776f726406736563726574", (b"password", b"secret"), []),
        ("82", GET, []),
    ],
    ids=["C.2.1", "C.2.2", "C.2.3", "C.2.4"],
)
def test_single_fields_of_the_rfc(block: str, field: tuple[bytes, bytes], table: Pairs) -> None:
    decoder = new_decoder()
    fields = decoder.decode(octets(block))
    assert pairs(fields) == [field]
    assert dynamic(decoder) == table
    assert bool(fields[0].flags & NEVER_INDEXED) == (field[0] == b"password")


@pytest.mark.parametrize(
    ("table_size", "blocks", "lists", "tables"),
    [
        (4096, C_3, REQUESTS, REQUEST_TABLES),
        (4096, C_4, REQUESTS, REQUEST_TABLES),
        (256, C_5, RESPONSES, RESPONSE_TABLES),
        (256, C_6, RESPONSES, RESPONSE_TABLES),
    ],
    ids=["C.3", "C.4", "C.5", "C.6"],
)
def test_sequences_of_the_rfc(table_size: int, blocks: list[str], lists: list[Pairs], tables: list[Pairs]) -> None:
    decoder = new_decoder(table_size)
    for block, fields, table in zip(blocks, lists, tables, strict=True):
        assert pairs(decoder.decode(octets(block))) == fields
        assert dynamic(decoder) == table


@pytest.mark.parametrize(
    ("value", "mask", "written"),
    [(10, 0x1F, "0a"), (1337, 0x1F, "1f9a0a"), (42, 0xFF, "2a"), (31, 0x1F, "1f00"), (30, 0x1F, "1e")],
)
def test_integers_of_the_rfc(value: int, mask: int, written: str) -> None:
    writer = BytesWriter()
    write_integer(writer, 0, mask, value)
    assert writer.getvalue() == octets(written)
    decoder = new_decoder()
    assert decoder._integer(octets(written), 0, mask) == value
    assert decoder._at == len(octets(written))


@pytest.mark.parametrize(("blocks", "lists"), [(C_3[:1], REQUESTS[:1]), (C_3, REQUESTS)])
def test_the_encoder_writes_the_requests_as_the_rfc_does_without_huffman(blocks: list[str], lists: list[Pairs]) -> None:
    encoder = Encoder()
    assert [encoder.encode(fields).hex() for fields in lists] == blocks


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_index_0_is_refused() -> None:
    assert refusal(octets("80")) == "index 0"


@pytest.mark.parametrize("block", ["be", "ff00", "ffffffffff0f", "7f0001610161", "0f2f0161", "1f2f0161"])
def test_an_index_beyond_the_table_is_refused(block: str) -> None:
    assert refusal(octets(block)) == "index beyond the dynamic table"


def test_an_index_of_an_evicted_entry_is_refused() -> None:
    custom = octets("400a637573746f6d2d6b65790d637573746f6d2d686561646572")
    assert decoded(custom, octets("be")) == [CUSTOM]
    assert refusal(custom, octets("20"), octets("be")) == "index beyond the dynamic table"


@pytest.mark.parametrize("block", ["ff", "ff80", "7f", "0f", "3f", "007f", "00ff80"])
def test_an_integer_that_the_block_cuts_is_refused(block: str) -> None:
    assert refusal(octets(block)) == "block ends inside an integer"


@pytest.mark.parametrize("prefix", ["ff", "7f", "0f", "1f", "3f", "007f", "00ff"])
@pytest.mark.parametrize("octet", ["80", "ff"])
def test_an_integer_of_more_than_five_octets_is_refused(prefix: str, octet: str) -> None:
    assert refusal(octets(prefix + octet * 5 + "00")) == "integer too long"
    assert refusal(octets(prefix + octet * 5000)) == "integer too long"


@pytest.mark.parametrize("block", ["40", "00", "44", "10", "400161", "4001"])
def test_a_literal_that_the_block_cuts_is_refused(block: str) -> None:
    assert refusal(octets(block)) in {"block ends inside a field", "block ends inside a string"}


@pytest.mark.parametrize("block", ["04026b", "04826b", "047fffffff7f61", "4402", "0001610361"])
def test_a_string_longer_than_the_block_is_refused(block: str) -> None:
    assert refusal(octets(block)) == "block ends inside a string"


@pytest.mark.parametrize(
    "string",
    ["07ffffffff", "ffffffff", "07ff", "ff", "00"],
    ids=["symbol and EOS", "EOS alone", "padding of 11 bits", "padding of 8 bits", "padding of zeros"],
)
def test_a_huffman_string_is_read_strictly(string: str) -> None:
    raw = octets(string)
    assert "Huffman" in refusal(octets("04") + bytes([0x80 | len(raw)]) + raw)


def test_a_table_size_update_over_the_settings_is_refused() -> None:
    assert decoded(octets("3fe11f")) == []
    assert refusal(octets("3fe21f")) == "table size update over what the settings allow"
    assert refusal(octets("3fe11f"), table=4095) == "table size update over what the settings allow"


@pytest.mark.parametrize("block", ["8220", "82203f", "20202082", "202020"])
def test_a_table_size_update_belongs_at_the_start_and_at_most_twice(block: str) -> None:
    assert refusal(octets(block)) == "table size update behind a field, or the third one"


def test_two_table_size_updates_are_followed() -> None:
    decoder = new_decoder()
    decoder.decode(octets(C_3[0]))
    assert pairs(decoder.decode(octets("203fe11f82"))) == [GET]
    assert dynamic(decoder) == []
    assert decoder._table.limit == 4096


def test_a_peer_has_to_shrink_its_table_when_it_acknowledged_a_smaller_one() -> None:
    decoder = new_decoder()
    decoder.decode(octets(C_3[0]))
    decoder.limit_table(100)
    with pytest.raises(HpackError, match="larger than the settings allow"):
        decoder.decode(octets("82"))
    decoder = new_decoder()
    decoder.limit_table(100)
    assert pairs(decoder.decode(octets("3f4582"))) == [GET]
    decoder.limit_table(4096)
    assert pairs(decoder.decode(octets("82"))) == [GET]


def test_a_table_over_the_initial_one_needs_an_update_first() -> None:
    decoder = new_decoder(1 << 16)
    assert decoder._table.limit == 4096
    decoder.decode(octets("3fe1ff03"))
    assert decoder._table.limit == 1 << 16


# -- size of the list --------------------------------------------------------------------------------------------------


def test_a_list_of_just_the_allowed_size_is_read() -> None:
    assert pairs(new_decoder(fields=42).decode(octets("82"))) == [GET]


def test_a_list_over_the_allowed_size_is_refused_and_the_table_stays_in_step() -> None:
    decoder = new_decoder(fields=100)
    with pytest.raises(ListTooLarge) as caught:
        decoder.decode(octets(C_3[0]))
    assert caught.value.code == ENHANCE_YOUR_CALM
    assert pairs(caught.value.kept) == [GET, HTTP]
    assert dynamic(decoder) == [WWW]
    assert pairs(decoder.decode(octets("be"))) == [WWW]


def test_what_is_invalid_behind_the_limit_is_still_fatal() -> None:
    with pytest.raises(HpackError) as caught:
        new_decoder(fields=10).decode(octets("8280"))
    assert caught.value.code == COMPRESSION_ERROR


def test_a_bomb_keeps_nothing() -> None:
    """CVE-2016-6581: 4 KB in the table, then an octet for each time that it is meant."""
    decoder = new_decoder()
    decoder.decode(octets("4001617fe01e") + b"b" * 4063)
    assert len(dynamic(decoder)) == 1
    with pytest.raises(ListTooLarge) as caught:
        decoder.decode(b"\xbe" * 16384)
    assert len(caught.value.kept) == 16
    assert len({id(field) for field in caught.value.kept}) == 1


def test_a_claimed_length_costs_nothing() -> None:
    decoder = new_decoder()
    tracemalloc.start()
    try:
        for length in ("047f80feffff07", "04ff80feffff07", "40ff80feffff07"):
            with pytest.raises(HpackError):
                decoder.decode(octets(length) + b"a" * 100)
        assert tracemalloc.get_traced_memory()[1] < 32_000
    finally:
        tracemalloc.stop()


def test_no_connection_keeps_the_room_of_a_large_block() -> None:
    decoder, encoder = new_decoder(), Encoder()
    scratch, writer = decoder._scratch, encoder._writer
    # 32000 octets in code of 5 bits.
    block = octets("04ffa19b01") + bytes(20000)
    assert decoder.decode(block)[0].value == b"0" * 32000
    assert len(encoder.encode([(b"x-large", b"v" * 32000)])) > 32000
    assert decoder._scratch is scratch
    assert len(scratch) == 0
    assert encoder._writer is not writer


def test_a_field_larger_than_the_table_empties_it() -> None:
    decoder = new_decoder(64)
    decoder.decode(octets("4001610162"))
    assert dynamic(decoder) == [(b"a", b"b")]
    assert decoder.decode(octets("40016140") + b"c" * 64)[0].value == b"c" * 64
    assert dynamic(decoder) == []


# -- sharing -----------------------------------------------------------------------------------------------------------


def test_a_field_is_one_object_in_the_table_and_in_all_lists() -> None:
    decoder = new_decoder()
    first = decoder.decode(octets(C_3[0]))
    second = decoder.decode(octets(C_3[1]))
    assert all(a is b for a, b in zip(first, second, strict=False))


def test_a_literal_that_came_before_is_the_same_object_also_on_another_connection() -> None:
    literals = Literals()
    one, other = Decoder(4096, LIST_SIZE, literals), Decoder(4096, LIST_SIZE, literals)
    assert one.decode(octets(C_4[0]))[3] is other.decode(octets(C_4[0]))[3]
    assert dynamic(other) == [WWW]


@pytest.mark.parametrize("block", ["100870617373776f726406736563726574", "0f08036162 63", "0f1103613d62"])
def test_a_secret_is_not_remembered(block: str) -> None:
    literals = Literals()
    Decoder(4096, LIST_SIZE, literals).decode(octets(block))
    assert len(literals) == 0


def test_a_literal_whose_name_is_a_dynamic_index_is_read_anew() -> None:
    decoder = new_decoder()
    decoder.decode(octets("4001610131"))
    assert pairs(decoder.decode(octets("0f2f0132"))) == [(b"a", b"2")]
    decoder.decode(octets("4001620131"))
    assert pairs(decoder.decode(octets("0f2f0132"))) == [(b"b", b"2")]


# -- what the encoder indexes ------------------------------------------------------------------------------------------


def representation(name: bytes, value: bytes) -> str:
    """How a field goes out the first and the second time."""
    encoder = Encoder()
    words = []
    for block in (encoder.encode([(name, value)]), encoder.encode([(name, value)])):
        first = block[0]
        kinds = ((0x80, "indexed"), (0x40, "indexing"), (0x20, "update"), (0x10, "never"), (0, "literal"))
        words.append(next(word for bit, word in kinds if first & bit or not bit))
        assert block == b"\xbe" or decoded(block) == [(name, value)]
    return " ".join(words)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"x-tenant", b"blue", "indexing indexed"),
        (b"user-agent", b"curl", "indexing indexed"),
        (b"cookie", b"a=" + b"b" * 18, "indexing indexed"),
        (b"cookie", b"a=b", "never never"),
        (b"authorization", b"Bearer abc", "never never"),
        (b"proxy-authorization", b"Basic abc", "never never"),
        (b":method", b"GET", "indexed indexed"),
        (b":status", b"200", "indexed indexed"),
        (b":status", b"201", "indexing indexed"),
        (b":path", b"/", "indexed indexed"),
        (b":path", b"/a", "literal literal"),
        (b"set-cookie", b"a=b", "literal literal"),
        (b"content-length", b"12", "literal literal"),
        (b"etag", b"abc", "literal literal"),
        (b"grpc-timeout", b"1S", "literal literal"),
        (b"x-large", b"v" * 3033, "indexing indexed"),
        (b"x-large", b"v" * 3034, "literal literal"),
        (b"X-Invalid", b"v", "literal literal"),
        (b"x-invalid", b"a\r\nb", "literal literal"),
    ],
)
def test_what_is_indexed(name: bytes, value: bytes, expected: str) -> None:
    assert representation(name, value) == expected


def test_a_never_indexed_literal_stays_one() -> None:
    # A static entry and an entry of the table say the same, and are not used.
    fields = new_decoder().decode(octets("1203474554") + octets("100870617373776f726406736563726574"))
    encoder = Encoder()
    encoder.encode([(b"password", b"secret")])
    block = encoder.encode(fields)
    assert block == octets("1203474554") + octets("1f2f06736563726574")


def test_an_entry_s_name_is_used_for_another_value() -> None:
    encoder = Encoder()
    encoder.encode([(b"x-tenant", b"blue")])
    assert encoder.encode([(b"x-tenant", b"red")]) == octets("7e") + b"\x03red"


def test_a_name_with_a_colon_is_no_key_of_another_field() -> None:
    encoder = Encoder()
    encoder.encode([(b"a", b"b:c"), (b"a", b"b")])
    for field in ((b"a:b", b"c"), (b"a:b", b""), (b"a:b:c", b"")):
        assert decoded(encoder.encode([field])) == [field]


def test_evicted_fields_are_written_anew() -> None:
    encoder = Encoder(100)
    decoder = new_decoder()
    for turn in range(200):
        fields = [(b"x-%d" % (turn % 3), b"%d" % (turn % 5)), (b"x-0", b"0")]
        assert pairs(decoder.decode(encoder.encode(fields))) == fields
    table = encoder._table
    assert len(table.entries) < 100
    assert len(table.numbers) <= 2 * (len(table.entries) - table.base)


@pytest.mark.parametrize(
    ("sizes", "written"),
    [
        ([4096], ""),
        ([1 << 16], ""),
        ([100], "3f45"),
        ([0], "20"),
        ([0, 4096], "203fe11f"),
        ([50, 0, 100], "203f45"),
        ([100, 0], "20"),
        ([100, 200, 100], "3f45"),
    ],
)
def test_a_change_of_the_table_s_size_is_told_at_the_next_block(sizes: list[int], written: str) -> None:
    encoder = Encoder()
    for size in sizes:
        encoder.limit_table(size)
    assert encoder.encode([GET]) == octets(written + "82")
    assert encoder.encode([GET]) == octets("82")


def test_a_peer_without_a_table_gets_literals_only() -> None:
    encoder = Encoder(0)
    assert encoder.encode([CUSTOM]).startswith(b"\x20\x00")
    assert encoder.encode([CUSTOM]).startswith(b"\x00")


def test_fields_and_pairs_are_the_same_to_the_encoder() -> None:
    one, other = Encoder(), Encoder()
    for fields in (*REQUESTS, *RESPONSES):
        assert one.encode(fields) == other.encode([header(name, value) for name, value in fields])


def test_every_static_field_is_its_index() -> None:
    for place, (name, value) in enumerate(STATIC_FIELDS):
        if name not in {b"authorization", b"proxy-authorization", b"cookie"}:
            assert Encoder().encode([(name, value)]) == bytes([0x81 + place])


def test_a_block_goes_behind_what_the_writer_has() -> None:
    writer = BytesWriter()
    writer.write(b"frame")
    Encoder().write([GET], writer)
    assert writer.getvalue() == b"frame\x82"
