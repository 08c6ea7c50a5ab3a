"""What makes a header list a message of HTTP/2 (RFC 9113 8, RFC 8441).

Owns: which fields a request, a response and trailers must and may have, together; and how long their body is.
Refuses to know: how a header block is compressed, frames, where a message goes next.

What a field may look like alone is `hpack_header`'s, decided once for each field. What passes here can be written as an
HTTP/1 message and means the same there: nothing in it ends a line, a request target or a message early. Whatever two
implementations could read differently is refused, as in `http1`.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.hpack_header import (
    AUTHORITY,
    BAD_NAME,
    BAD_VALUE,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    GRPC_STATUS,
    GRPC_TIMEOUT,
    HOST,
    MALFORMED,
    METHOD,
    OTHER,
    PATH,
    PROTOCOL,
    PSEUDO,
    SCHEME,
    STATUS,
    TE,
    TRAILER,
    VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
    Header,
)
from equipoise.wire.http1 import TARGET, is_authority
from equipoise.wire.http2_errors import PROTOCOL_ERROR, Http2Error, stream_error
from equipoise.wire.http2_passing import LOOKALIKES

# More digits are no file's; they would not fit into 64 bits.
MAX_LENGTH_DIGITS: Final = 18
# Sets of kinds, a bit each. In trailers the first are an attack, as in HTTP/1 (RFC 9110 6.5.1); the others mean
# something in a head alone, where we have the last word, and stay here.
FRAMING: Final = 1 << CONTENT_LENGTH | 1 << HOST | 1 << EXPECT
HEAD_ONLY: Final = 1 << TE | 1 << TRAILER | 1 << X_FORWARDED_FOR | 1 << X_FORWARDED_HOST | 1 << X_FORWARDED_PROTO


NO_FIELDS: Final[list[Header]] = []


def malformed(stream: i64, detail: str) -> Http2Error:
    """A message that is treated as a stream error (8.1.1)."""
    return stream_error(PROTOCOL_ERROR, stream, detail)


class Message:
    """What a request and a response have in common. An object reads one header list.

    Attributes:
        stream: the stream it came on.
        fields: the header list, as it came.
        content_length: bytes of the body; -1 when it was not said.
        content_type: value of the Content-Type field.
        trailer: value of the Trailer field.
        request_id: value of the first X-Request-Id.
        cookies: how many Cookie fields there are; see `http2_passing.join_cookies`.
        lookalikes: whether there are fields for `http2_passing.without_lookalikes`.
    """

    def __init__(self, stream: i64) -> None:
        self.stream = stream
        self.fields: list[Header] = NO_FIELDS
        self.content_length: i64 = -1
        self.content_type: bytes = b""
        self.trailer: bytes | None = None
        self.request_id: bytes | None = None
        self.cookies: i64 = 0
        self.lookalikes = False
        # Bytes of the body that must still come; -1 when nobody knows.
        self._left: i64 = -1
        # Which pseudo-header fields and Host were there: a bit each, by kind.
        self._seen: i64 = 0

    def find(self, name: bytes) -> bytes | None:
        """The first value of a field, for the rare reader that needs one (routing, logging)."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def take_data(self, size: i64, end_stream: bool) -> None:
        """Counts the body against Content-Length (8.1.1), before the bytes pass on.

        Args:
            size: bytes of content of a DATA frame, without its padding; 0 for trailers.
            end_stream: whether the message ends here.

        Raises:
            Http2Error: it is longer or shorter than was said.
        """
        if self._left < 0:
            return
        self._left -= size
        if self._left < 0:
            # It must not count as unknown from here on.
            self._left = 0
            raise malformed(self.stream, "body longer than Content-Length")
        if end_stream and self._left > 0:
            raise malformed(self.stream, "body shorter than Content-Length")

    def _take_all(self, fields: list[Header], pseudo: i64) -> None:
        """Walks over the fields.

        Args:
            fields: the header list.
            pseudo: kinds of the pseudo-header fields that may be there, a bit each.
        """
        self.fields = fields
        regular = False
        for field in fields:
            flags = field.flags
            kind = field.kind
            if flags & MALFORMED != 0:
                raise malformed(self.stream, reason(flags))
            if flags & PSEUDO != 0:
                bit = i64(1) << kind
                if bit & pseudo == 0:
                    raise malformed(self.stream, "pseudo-header field that does not belong here")
                if regular:
                    raise malformed(self.stream, "pseudo-header field behind another field")
                if bit & self._seen != 0:
                    raise malformed(self.stream, "pseudo-header field given twice")
                self._seen |= bit
                self.take(kind, field.value)
                continue
            regular = True
            if kind != OTHER:
                self.take(kind, field.value)
            elif field.name in LOOKALIKES:
                self.lookalikes = True

    def take(self, kind: i64, value: bytes) -> None:
        """Looks at a field of a kind that has a name.

        Raises:
            Http2Error: the value is not allowed.
        """
        if kind == CONTENT_LENGTH:
            if self.content_length >= 0:
                raise malformed(self.stream, "more than one Content-Length")
            self.content_length = length_of(self.stream, value)
        elif kind == CONTENT_TYPE:
            self.content_type = value
        elif kind == COOKIE:
            self.cookies += 1
        elif kind == TRAILER:
            self.trailer = value
        elif kind == X_REQUEST_ID and self.request_id is None and value:
            self.request_id = value


class Http2Request(Message):
    """A request's head; the attributes are those of `http1.RequestHead` where they mean the same.

    Attributes:
        method: as it came.
        scheme: "http" or "https" in lower case; empty for CONNECT without :protocol.
        host: :authority, or Host where there is none.
        target: :path, in origin form or "*"; the authority for CONNECT without :protocol.
        upgrade: protocol of an extended CONNECT (RFC 8441).
        expect: value of the Expect field, which the caller judges: it is no stream error.
        forwarded_for: values of X-Forwarded-For, joined.
        via: values of Via, joined.
        te_trailers: whether the client takes trailers, which gRPC insists on.
        has_authority: whether there is an :authority.
        grpc_timeout: value of the grpc-timeout field.
    """

    def __init__(self, stream: i64) -> None:
        super().__init__(stream)
        self.method: bytes = b""
        self.scheme: bytes = b""
        self.host: bytes = b""
        self.target: bytes = b""
        self.upgrade: bytes | None = None
        self.expect: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.via: bytes | None = None
        self.te_trailers = False
        self.has_authority = False
        self.grpc_timeout: bytes = b""
        self._host_field: bytes | None = None

    def read(self, fields: list[Header], end_stream: bool, extended: bool) -> None:
        """Takes the header list.

        Args:
            fields: in the order in which they came.
            end_stream: whether the message ends here.
            extended: whether the client was told SETTINGS_ENABLE_CONNECT_PROTOCOL.

        Raises:
            Http2Error: it is malformed.
        """
        pseudo: i64 = 1 << METHOD | 1 << SCHEME | 1 << AUTHORITY | 1 << PATH
        if extended:
            pseudo |= 1 << PROTOCOL
        self._take_all(fields, pseudo)
        seen = self._seen
        if seen & 1 << METHOD == 0:
            raise malformed(self.stream, "no :method")
        if self.method == b"CONNECT" and self.upgrade is None:
            self._finish_connect()
        else:
            self._finish_plain()
        self._left = self.content_length
        self.take_data(0, end_stream)

    def take(self, kind: i64, value: bytes) -> None:
        """See `Message.take`."""
        if kind == METHOD:
            self.method = value
        elif kind == PATH:
            self.target = value
        elif kind == SCHEME:
            self.scheme = value if value == b"https" or value == b"http" else value.lower()
        elif kind == AUTHORITY:
            if not is_authority(value):
                raise malformed(self.stream, "invalid :authority")
            self.host = value
            self.has_authority = True
        elif kind == PROTOCOL:
            self.upgrade = value
        elif kind == HOST:
            if self._host_field is not None:
                raise malformed(self.stream, "more than one Host")
            if not is_authority(value):
                raise malformed(self.stream, "invalid Host")
            self._host_field = value
        elif kind == EXPECT:
            if self.expect is not None:
                raise malformed(self.stream, "more than one Expect")
            self.expect = value
        elif kind == X_FORWARDED_FOR:
            self.forwarded_for = value if self.forwarded_for is None else self.forwarded_for + b", " + value
        elif kind == VIA:
            self.via = value if self.via is None else self.via + b", " + value
        elif kind == TE:
            self.te_trailers = True
        elif kind == GRPC_TIMEOUT:
            self.grpc_timeout = value
        else:
            super().take(kind, value)

    def _finish_plain(self) -> None:
        """A request with a path, an extended CONNECT included (8.3.1, RFC 8441 4)."""
        need: i64 = 1 << SCHEME | 1 << PATH
        if self._seen & need != need:
            raise malformed(self.stream, "no :scheme or no :path")
        if self.upgrade is not None and (self.method != b"CONNECT" or self.content_length >= 0):
            # What follows is the tunnel's, not a body (RFC 9110 9.3.6).
            raise malformed(self.stream, ":protocol without CONNECT, or with Content-Length")
        if self.scheme != b"http" and self.scheme != b"https":
            raise malformed(self.stream, "scheme other than http and https")
        if not is_path(self.target) and (self.target != b"*" or self.method != b"OPTIONS"):
            raise malformed(self.stream, "invalid :path")
        host = self._host_field
        if self._seen & 1 << AUTHORITY == 0:
            if host is None or self.upgrade is not None:
                raise malformed(self.stream, "neither :authority nor Host")
            self.host = host
        elif host is not None and host != self.host and host.lower() != self.host.lower():
            raise malformed(self.stream, "Host is not the :authority")

    def _finish_connect(self) -> None:
        """A tunnel (8.5): :authority with a port, and neither :scheme nor :path."""
        wrong: i64 = 1 << SCHEME | 1 << PATH
        if self._seen & wrong != 0 or self._seen & 1 << AUTHORITY == 0:
            raise malformed(self.stream, "CONNECT with :scheme or :path, or without :authority")
        host = self._host_field
        if host is not None and host.lower() != self.host.lower():
            raise malformed(self.stream, "Host is not the :authority")
        _, colon, port = self.host.rpartition(b":")
        if not colon or not port or b"]" in port:
            raise malformed(self.stream, "CONNECT without a port")
        if self.content_length >= 0:
            raise malformed(self.stream, "CONNECT with Content-Length")
        self.target = self.host


class Http2Response(Message):
    """A response's head.

    Attributes:
        status: 100 to 999.
        grpc_status: value of the grpc-status field, of a gRPC call that failed without a message.
    """

    def __init__(self, stream: i64) -> None:
        super().__init__(stream)
        self.status: i64 = 0
        self.grpc_status: bytes = b""

    def read(self, fields: list[Header], end_stream: bool, to_head: bool) -> None:
        """Takes the header list of an interim or of the final response.

        Args:
            fields: in the order in which they came.
            end_stream: whether the message ends here.
            to_head: whether the request was HEAD, whose response says the length of a body that does not come.

        Raises:
            Http2Error: it is malformed.
        """
        self._take_all(fields, 1 << STATUS)
        status = self.status
        if status == 0:
            raise malformed(self.stream, "no :status")
        if status < 200:
            if status == 101:
                # There is no switching of protocols in HTTP/2 (8.6).
                raise malformed(self.stream, "status 101")
            if end_stream:
                raise malformed(self.stream, "interim response that ends the stream")
        if self.content_length > 0 and (status < 200 or status == 204):
            raise malformed(self.stream, "Content-Length where there is no body")
        if to_head or status == 204 or status == 304:
            # Whatever was said: no byte of a body may come (RFC 9110 6.4.1).
            self._left = 0
        elif status >= 200:
            self._left = self.content_length
            self.take_data(0, end_stream)

    def take(self, kind: i64, value: bytes) -> None:
        """See `Message.take`."""
        if kind == STATUS:
            self.status = status_of(self.stream, value)
        elif kind == GRPC_STATUS:
            self.grpc_status = value
        else:
            super().take(kind, value)


def check_trailers(fields: list[Header], stream: i64, end_stream: bool) -> list[Header]:
    """Checks trailers (8.1).

    Args:
        fields: the header list.
        stream: its stream.
        end_stream: whether the message ends here, as it must.

    Returns:
        What passes on; `fields` itself when all of it does.

    Raises:
        Http2Error: they are malformed.
    """
    if not end_stream:
        raise malformed(stream, "trailers that do not end the stream")
    dropped = False
    for field in fields:
        if field.flags & MALFORMED != 0:
            raise malformed(stream, reason(field.flags))
        if field.flags & PSEUDO != 0:
            raise malformed(stream, "pseudo-header field in the trailers")
        bit = i64(1) << field.kind
        if bit & FRAMING != 0:
            raise malformed(stream, "framing field in the trailers")
        if bit & HEAD_ONLY != 0:
            dropped = True
    return [field for field in fields if i64(1) << field.kind & HEAD_ONLY == 0] if dropped else fields


def is_path(value: bytes) -> bool:
    """Whether it is a request target in origin form, as `http1` takes it."""
    size: i64 = len(value)
    if size == 0 or value[0] != 0x2F:
        return False
    target = TARGET
    at: i64 = 1
    while at < size and target[value[at]]:
        at += 1
    return at == size


def length_of(stream: i64, value: bytes) -> i64:
    """A Content-Length: digits and nothing else (RFC 9110 8.6).

    Raises:
        Http2Error: it is anything else.
    """
    size: i64 = len(value)
    length: i64 = 0
    at: i64 = 0
    while at < size and at < MAX_LENGTH_DIGITS:
        digit: i64 = value[at] - 0x30
        if digit < 0 or digit > 9:
            raise malformed(stream, "invalid Content-Length")
        length = length * 10 + digit
        at += 1
    if size == 0 or at < size:
        raise malformed(stream, "invalid Content-Length")
    return length


def status_of(stream: i64, value: bytes) -> i64:
    """A status: three digits, the first not 0 (RFC 9110 15).

    Raises:
        Http2Error: it is anything else.
    """
    if len(value) != 3:
        raise malformed(stream, "invalid :status")
    a: i64 = value[0] - 0x30
    b: i64 = value[1] - 0x30
    c: i64 = value[2] - 0x30
    if a < 1 or a > 9 or b < 0 or b > 9 or c < 0 or c > 9:
        raise malformed(stream, "invalid :status")
    return a * 100 + b * 10 + c


def reason(flags: i64) -> str:
    """What is wrong with a field, by its flags."""
    if flags & BAD_NAME != 0:
        return "invalid field name"
    return "invalid field value" if flags & BAD_VALUE != 0 else "field of one connection"
