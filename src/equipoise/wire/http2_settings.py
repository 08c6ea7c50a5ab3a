"""The settings of an HTTP/2 connection (RFC 9113 6.5, RFC 8441 3).

Owns: what the peer said it takes, the defaults until it does, and the values that nobody may say.
Refuses to know: what follows from a setting: windows, tables and limits are others'.
"""

from typing import Final

from librt.strings import read_i32_be
from mypy_extensions import i64

from equipoise.wire.http2_errors import FLOW_CONTROL_ERROR, PROTOCOL_ERROR, connection_error

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8

SETTING_SIZE: Final = 6
LEAST_MAX_FRAME: Final = 16_384
MOST_MAX_FRAME: Final = 16_777_215
MAX_WINDOW: Final = 0x7FFF_FFFF
# What settings without a limit at first are until the peer sets one (6.5.2).
UNLIMITED: Final = 0xFFFF_FFFF


class PeerSettings:
    """What the peer takes.

    Attributes:
        table_size: most bytes of the table that its HPACK decoder holds.
        smallest_table: the smallest `table_size` that the frame read last went through, which an encoder has to
            follow (RFC 7541 4.2).
        max_streams: most streams of ours that it has open at a time.
        window: bytes that it takes on a new stream before it grants more.
        window_change: by how much the frame read last changed `window`; streams that are open change as much (6.9.2).
        max_frame: most bytes of a payload.
        max_list: most bytes of a header list, uncompressed (6.5.2); advice, no rule.
        extended_connect: whether it takes CONNECT with :protocol.
    """

    def __init__(self) -> None:
        self.table_size: i64 = 4096
        self.smallest_table: i64 = 4096
        self.max_streams: i64 = UNLIMITED
        self.window: i64 = 65_535
        self.window_change: i64 = 0
        self.max_frame: i64 = LEAST_MAX_FRAME
        self.max_list: i64 = UNLIMITED
        self.extended_connect = False

    def read(self, data: bytes, begin: i64, end: i64, from_client: bool) -> None:
        """Takes the payload of a SETTINGS frame, `data[begin:end]`, whose length `FrameReader` has checked.

        Args:
            data: the bytes that hold it.
            begin: where it begins.
            end: behind its last byte.
            from_client: whether the peer is a client; a server may not ask for pushes (6.5.2).

        Raises:
            Http2Error: a value is out of range; a connection error.
        """
        window = self.window
        self.smallest_table = UNLIMITED
        at = begin
        while at < end:
            name = i64(data[at]) << 8 | i64(data[at + 1])
            value = i64(read_i32_be(data, at + 2)) & 0xFFFF_FFFF
            self._take(name, value, from_client)
            at += SETTING_SIZE
        self.smallest_table = min(self.smallest_table, self.table_size)
        self.window_change = self.window - window

    def _take(self, name: i64, value: i64, from_client: bool) -> None:
        """One setting; a name that nobody knows is ignored (6.5.2)."""
        if name == HEADER_TABLE_SIZE:
            self.table_size = value
            self.smallest_table = min(self.smallest_table, value)
        elif name == ENABLE_PUSH:
            if value > 1 or (value == 1 and not from_client):
                raise connection_error(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH out of range")
        elif name == MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif name == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise connection_error(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE out of range")
            self.window = value
        elif name == MAX_FRAME_SIZE:
            if value < LEAST_MAX_FRAME or value > MOST_MAX_FRAME:
                raise connection_error(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of range")
            self.max_frame = value
        elif name == MAX_HEADER_LIST_SIZE:
            self.max_list = value
        elif name == ENABLE_CONNECT_PROTOCOL:
            # Once it was said, it cannot be taken back (RFC 8441 3).
            if value > 1 or (value == 0 and self.extended_connect):
                raise connection_error(PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL out of range")
            self.extended_connect = value == 1
