"""HTTP/2 below the streams: frames, header blocks, and what makes a header list a message.

Owns: what must hold of any bytes that come as frames, as a header block, or as a list of fields.
Refuses to know: where the bytes come from.
"""

from typing import Final

from equipoise.wire.hpack import Decoder, Encoder
from equipoise.wire.hpack_tables import HpackError
from tests.support.downgrade import Pair, check_downgrade, passed
from tests.support.frame_oracles import agree
from tests.support.frames import FIRST, read
from tests.support.hpack_oracle import INITIAL, LIST_SIZE, check, pairs

# In a list of fields as text: between two fields, and between a name and its value.
FIELD: Final = b"\xfe"
VALUE: Final = b"\xfd"
MOST_FIELDS: Final = 40


def check_frames(data: bytes) -> None:
    """The frames behind a first SETTINGS: as hyperframe reads them, and in whatever pieces they come."""
    agree(data)
    whole = FIRST + data
    assert read([whole]) == read([whole[i : i + 1] for i in range(len(whole))])


def check_hpack(data: bytes) -> None:
    """A header block: as the library reads it; what it says, we write and read again."""
    check(data)
    decoder = Decoder(INITIAL, LIST_SIZE)
    try:
        fields = decoder.decode(data)
        again = decoder.decode(data)
    except HpackError:
        return
    found = pairs(fields)
    written = Encoder().encode(fields)
    assert pairs(Decoder(INITIAL, LIST_SIZE).decode(written)) == found
    written = Encoder().encode(pairs(again))
    assert pairs(Decoder(INITIAL, LIST_SIZE).decode(written)) == pairs(again)


def check_rules(data: bytes) -> None:
    """A header list, put together by `FIELD` and `VALUE`; the first byte says whether a body follows."""
    fields = fields_of(data[1:])
    end_stream = data[:1] != b"\x01"
    check_downgrade(fields, end_stream)
    result = passed(fields, end_stream)
    if result is not None:
        message, regular = result
        parts = [message.method, message.target, message.host, *(part for pair in regular for part in pair)]
        assert not any(octet in part for part in parts for octet in (b"\r", b"\n", b"\0"))


def fields_of(data: bytes) -> list[Pair]:
    """The list that some bytes stand for."""
    parts = [each.partition(VALUE) for each in data.split(FIELD)[:MOST_FIELDS]]
    return [(name, value) for name, _, value in parts]
