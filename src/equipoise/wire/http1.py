"""HTTP/1.1 messages: their heads (RFC 9112).

Owns: what is a valid head, how its body is framed, and which fields stay on one connection.
Refuses to know: the chunked coding, connections, time, where a message goes next.

One pass over the bytes; a head that arrives in pieces is read on from where it stopped. Everything that two HTTP
implementations could read differently is refused: that is what request smuggling is made of.
"""

from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64, mypyc_attr

from equipoise.errors import malformed, oversized
from equipoise.wire.headers import BLANKS, TOKEN, Fields, interest, skip_value

REQUEST_FIELDS: Final = interest(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    )
)
RESPONSE_FIELDS: Final = interest(
    (
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    )
)
# Bytes of a request target: visible ASCII without the fragment sign (RFC 9112 3.2). Raw bytes above 0x7F are refused.
TARGET: Final = bytes(1 if 0x21 <= c <= 0x7E and c != 0x23 else 0 for c in range(256))
# Bytes of a host's name and of an IP literal between its brackets (RFC 3986 3.2.2); no userinfo, no path.
NAMED: Final = bytes(
    1 if chr(c) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=%" else 0
    for c in range(256)
)
LITERAL: Final = bytes(1 if NAMED[c] or c == 0x3A else 0 for c in range(256))
# Fields for one connection only, beside those that are read (RFC 9110 7.6.1, 11.7).
ONE_CONNECTION: Final = frozenset(
    (b"keep-alive", b"te", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization")
)
# Fields whose meaning is ours to give: a target that follows CGI reads `Content_Length` as the same name.
OURS: Final = frozenset(
    (
        b"content-length",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    )
)
# What a Connection field cannot take out of a message: routing and framing, and what is left out anyway.
NEVER_NOMINATED: Final = frozenset((b"te", b"host", b"content-length", b"transfer-encoding", b"trailer"))
# "HTTP/1." in the low seven bytes of a word, and "HTTP/1.1" as a whole one: compared without making a slice.
SEVEN_BYTES: Final = 0x00FF_FFFF_FFFF_FFFF
HTTP_1: Final = 0x002E_312F_5054_5448
HTTP_1_1: Final = 0x312E_312F_5054_5448
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"


@mypyc_attr(acyclic=True)
class Message(Fields):
    """What a request and a response head have in common: the framing and the connection's options."""

    def __init__(self, watched: bytes, max_bytes: i64, max_count: i64) -> None:
        super().__init__(watched, max_bytes, max_count)
        self.minor: i64 = 1
        self.content_length: i64 = -1
        self.chunked = False
        self.trailer: bytes | None = None
        self.close = False
        self.keep_alive = False
        self.upgrade: bytes | None = None
        self.upgrade_named = False
        self.nominated: set[bytes] | None = None
        self.request_id: bytes | None = None

    def take_shared(self, name: bytes, value: bytes) -> bool:
        """`Fields.take` for what means the same in both directions."""
        if name == b"connection":
            self._take_connection(value)
            return True
        if name == b"content-length":
            if self.content_length >= 0:
                raise malformed("more than one Content-Length")
            self.content_length = parse_length(value)
            return False
        if name == b"transfer-encoding":
            if self.chunked:
                raise malformed("more than one Transfer-Encoding")
            codings = value.lower()
            if codings != b"chunked":
                known = codings.endswith((b",chunked", b" chunked", b"\tchunked")) and codings.count(b"chunked") == 1
                raise malformed("transfer coding other than chunked", 501 if known else 400)
            self.chunked = True
            return True
        if name == b"upgrade":
            self.upgrade = value if self.upgrade is None else self.upgrade + b", " + value
            return True
        if name == b"trailer":
            self.trailer = value
            return True
        if name == b"x-request-id":
            if self.request_id is None and value:
                self.request_id = value
            return True
        return name in ONE_CONNECTION or (b"_" in name and name.replace(b"_", b"-") in OURS)

    def finish(self) -> None:
        """Draws the conclusions that need all fields.

        Raises:
            ProxyError: the fields contradict each other.
        """
        if self.chunked:
            # RFC 9112 6.1 and 6.3: either alone is a message, both together are an attempt at smuggling.
            if self.content_length >= 0:
                raise malformed("both Content-Length and Transfer-Encoding")
            if self.minor == 0:
                raise malformed("Transfer-Encoding in HTTP/1.0")
        if self.nominated is not None:
            self.drop(self.nominated)
        if self.upgrade is not None and not self._may_upgrade(self.upgrade):
            self.upgrade = None
        if self.minor == 0 and not self.keep_alive:
            self.close = True

    def chunked_lines(self) -> bytes:
        """The framing fields of a chunked body, which `keep` does not hold: whoever sends the message frames it."""
        if self.trailer is None:
            return CHUNKED_LINE
        return CHUNKED_LINE + b"Trailer: " + self.trailer + b"\r\n"

    def _may_upgrade(self, protocols: bytes) -> bool:
        """Whether a switch may be asked for; whoever does not want one passes over the field (RFC 9110 7.8).

        HTTP/2 by Upgrade would carry requests past us in a tunnel; RFC 9113 3.1 has given it up. And where a message
        has a body and the target knows no switch, some (httptools) take the body for what follows the message.
        """
        has_body = self.chunked or self.content_length > 0
        return self.upgrade_named and self.minor == 1 and not has_body and b"h2c" not in protocols.lower()

    def _take_connection(self, value: bytes) -> None:
        """Connection options (RFC 9110 7.6.1); names of fields are remembered and dropped when all fields are known."""
        if value == b"keep-alive":
            self.keep_alive = True
            return
        options = value.lower()
        for part in options.split(b","):
            option = part.strip(BLANKS)
            if option == b"close":
                self.close = True
            elif option == b"keep-alive":
                self.keep_alive = True
            elif option == b"upgrade":
                self.upgrade_named = True
            elif is_token(option) and option not in NEVER_NOMINATED:
                if self.nominated is None:
                    self.nominated = set()
                self.nominated.add(option)


@mypyc_attr(acyclic=True)
class RequestHead(Message):
    """A request line and its fields.

    After `read` returned true: `keep` begins with a request line in HTTP/1.1 and origin form, without the fields that
    the balancer writes itself.
    """

    def __init__(self, max_bytes: i64, max_count: i64, max_target: i64) -> None:
        super().__init__(REQUEST_FIELDS, max_bytes, max_count)
        self.max_target = max_target
        self.line_read = False
        self.method: bytes = b""
        self.target: bytes = b""
        self.host: bytes | None = None
        self.expect_continue = False
        self.forwarded_for: bytes | None = None
        self.via: bytes | None = None

    def read(self, data: bytes) -> bool:
        """Reads on; see `Fields.read_fields`.

        Raises:
            ProxyError: with the status for the client: 400, 414 (target too long), 417, 431, 501, 505.
        """
        if not self.line_read and not self._read_line(data):
            return False
        if not self.read_fields(data):
            return False
        self._finish_request()
        return True

    def take(self, name: bytes, value: bytes) -> bool:
        """See `Fields.take`."""
        if name == b"host":
            if self.host is not None:
                raise malformed("more than one Host")
            if not is_authority(value):
                raise malformed("invalid Host")
            self.host = value
            return False
        if name == b"expect":
            if value.lower() != b"100-continue":
                raise malformed("unknown expectation", 417)
            self.expect_continue = True
            return False
        if name == b"x-forwarded-for":
            self.forwarded_for = value if self.forwarded_for is None else self.forwarded_for + b", " + value
            return True
        if name == b"via":
            self.via = value if self.via is None else self.via + b", " + value
            return True
        if name == b"x-forwarded-host" or name == b"x-forwarded-proto":
            return True
        return self.take_shared(name, value)

    def _read_line(self, data: bytes) -> bool:
        """The request line (RFC 9112 3); one empty line before it is allowed (2.2)."""
        n: i64 = len(data)
        token = TOKEN
        target = TARGET
        i = self.start
        if i + 1 < n and data[i] == 0x0D and data[i + 1] == 0x0A:
            i += 2
        elif i < n and data[i] == 0x0D:
            if i + 1 < n:
                raise malformed("bare CR")
            return False
        begin = i
        while i < n and token[data[i]]:
            i += 1
        if i >= n:
            return self._incomplete(n)
        if data[i] != 0x20 or i == begin:
            raise malformed("invalid method")
        method = i
        i += 1
        while i < n and target[data[i]]:
            i += 1
        if i - method - 1 > self.max_target:
            raise oversized("request_target", 414, "request target too long")
        if i >= n:
            return self._incomplete(n)
        if data[i] != 0x20 or i == method + 1:
            raise malformed("invalid request target")
        end = i
        i += 1
        self._read_version(data, i)
        if i + 10 > n:
            return self._incomplete(n)
        self.method = data[begin:method]
        if data[begin] == 0x43 and self.method == b"CONNECT":
            # In any form: a target would answer it with a tunnel.
            raise malformed("CONNECT is not served here", 405)
        self.target = data[method + 1 : end]
        self.minor = data[i + 7] - 0x30
        self.at = i + 10
        self.run = begin
        if self.minor == 0 or self.target[0] != 0x2F:
            self.run = self.at
        self.line_read = True
        return True

    def _read_version(self, data: bytes, i: i64) -> None:
        """Compares as many bytes as there are, so that a wrong version is refused as early as a whole one."""
        if i + 10 <= len(data) and read_i64_le(data, i) == HTTP_1_1 and data[i + 8] == 0x0D and data[i + 9] == 0x0A:
            return
        there = data[i : i + 10]
        size = len(there)
        if size > 7 and there[:5] == b"HTTP/" and there[5:8] not in {b"1.0", b"1.1"}:
            raise malformed("version other than HTTP/1.0 and HTTP/1.1", 400)
        if there != b"HTTP/1.1\r\n"[:size] and there != b"HTTP/1.0\r\n"[:size]:
            raise malformed("invalid HTTP version")

    def _finish_request(self) -> None:
        if self.host is None and self.minor == 1:
            raise malformed("missing Host")
        if self.minor == 0 or self.target[0] != 0x2F:
            self._rewrite_line()
        if self.minor == 0:
            # RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored, and such a client takes no interim answer.
            self.expect_continue = False
        self.finish()
        nominated = self.nominated
        if nominated is not None:
            if b"x-forwarded-for" in nominated:
                self.forwarded_for = None
            if b"via" in nominated:
                self.via = None
            if b"x-request-id" in nominated:
                self.request_id = None

    def _rewrite_line(self) -> None:
        """Origin form and HTTP/1.1 for the target (RFC 9112 3.2.1, 2.3)."""
        if self.target[0] != 0x2F:
            if self.target == b"*" and self.method == b"OPTIONS":
                pass
            else:
                self._absolute_form()
        self.keep.insert(0, b"%b %b HTTP/1.1\r\n" % (self.method, self.target))

    def _absolute_form(self) -> None:
        """RFC 9112 3.2.2; an authority that is not the Host is refused and not resolved in favour of either."""
        scheme, separator, rest = self.target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise malformed("invalid request target")
        end = len(rest)
        for mark in (b"/", b"?"):
            found = rest.find(mark)
            if 0 <= found < end:
                end = found
        authority = rest[:end]
        if not is_authority(authority):
            raise malformed("invalid authority in the request target")
        if self.host is None:
            self.host = authority
            self.keep.append(b"Host: " + authority + b"\r\n")
        elif self.host.lower() != authority.lower():
            raise malformed("Host is not the authority of the request target")
        path = rest[end:]
        if not path and self.method == b"OPTIONS":
            self.target = b"*"
        else:
            self.target = path if path[:1] == b"/" else b"/" + path


@mypyc_attr(acyclic=True, free_list_len=1)
class ResponseHead(Message):
    """A status line and its fields; `keep` begins with the line, as HTTP/1.1."""

    def __init__(self, max_bytes: i64, max_count: i64) -> None:
        super().__init__(RESPONSE_FIELDS, max_bytes, max_count)
        self.line_read = False
        self.status: i64 = 0

    def read(self, data: bytes) -> bool:
        """Reads on; see `Fields.read_fields`.

        Raises:
            ProxyError: the answer is not valid HTTP/1; its status is meant for a client's fault, the caller answers
                502.
        """
        if not self.line_read and not self._read_line(data):
            return False
        if not self.read_fields(data):
            return False
        self.finish()
        if (self.status < 200 or self.status == 204) and (self.chunked or self.content_length >= 0):
            # They have no body, and must not say that they had one (RFC 9112 6.1, RFC 9110 8.6).
            self.chunked = False
            self.content_length = -1
            self.drop({b"content-length"})
        return True

    def take(self, name: bytes, value: bytes) -> bool:
        """See `Fields.take`."""
        return self.take_shared(name, value)

    def _read_line(self, data: bytes) -> bool:
        """The status line (RFC 9112 4); the reason phrase may be empty, or missing together with its space."""
        i = self.start
        n: i64 = len(data)
        if n - i < 14:
            if not b"HTTP/1.".startswith(data[i : i + 7]):
                raise malformed("invalid status line")
            return self._incomplete(n)
        version = data[i + 7]
        a: i64 = data[i + 9] - 0x30
        b: i64 = data[i + 10] - 0x30
        c: i64 = data[i + 11] - 0x30
        if (
            read_i64_le(data, i) & SEVEN_BYTES != HTTP_1
            or (version != 0x31 and version != 0x30)
            or data[i + 8] != 0x20
            or (a < 1 or a > 9 or b < 0 or b > 9 or c < 0 or c > 9)
            or (data[i + 12] != 0x20 and data[i + 12] != 0x0D)
        ):
            raise malformed("invalid status line")
        end = skip_value(data, i + 12)
        if end + 1 >= n:
            return self._incomplete(n)
        if data[end] != 0x0D or data[end + 1] != 0x0A:
            raise malformed("control byte in the reason phrase")
        self.minor = version - 0x30
        self.status = a * 100 + b * 10 + c
        end += 2
        self.at = end
        self.run = i
        if version == 0x30:
            self.keep.append(b"HTTP/1.1" + data[i + 8 : end])
            self.run = end
        self.line_read = True
        return True


def parse_length(value: bytes) -> i64:
    """A Content-Length (RFC 9110 8.6): digits and nothing else, unlike int(), which takes '+5', '1_0' and blanks.

    Raises:
        ProxyError: it is anything else, or has more than 18 digits.
    """
    n: i64 = len(value)
    if n == 0 or n > 18:
        raise malformed("invalid Content-Length")
    length: i64 = 0
    i: i64 = 0
    while i < n:
        digit: i64 = value[i] - 0x30
        if digit < 0 or digit > 9:
            raise malformed("invalid Content-Length")
        length = length * 10 + digit
        i += 1
    return length


def is_token(value: bytes) -> bool:
    """Whether a value can name a field (RFC 9110 5.6.2)."""
    n: i64 = len(value)
    token = TOKEN
    i: i64 = 0
    while i < n and token[value[i]]:
        i += 1
    return n > 0 and i == n


def is_authority(value: bytes) -> bool:
    """Whether a value can be a Host: a name or an IP literal, then at most one port of at most 5 digits."""
    n: i64 = len(value)
    i: i64 = 0
    if n > 0 and value[0] == 0x5B:
        literal = LITERAL
        i = 1
        while i < n and literal[value[i]]:
            i += 1
        if i == 1 or i == n or value[i] != 0x5D:
            return False
        i += 1
    else:
        named = NAMED
        while i < n and named[value[i]]:
            i += 1
    if i == n or i == 0:
        return n > 0 and i == n
    if value[i] != 0x3A or n - i > 6:
        return False
    i += 1
    while i < n and 0x30 <= value[i] <= 0x39:
        i += 1
    return i == n
