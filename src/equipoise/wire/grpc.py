"""gRPC over HTTP/2, as much of it as a proxy and a health probe need.

Owns: which request is a gRPC call, its deadline and its status as header values, where its messages begin and end.
Refuses to know: HTTP/2 itself, what a message says (`grpc_health`), clocks.

Sources: gRPC's own documents "gRPC over HTTP2", "Status codes and their use in gRPC" and "HTTP to gRPC Status Code
Mapping".
"""

from typing import Final

from librt.strings import BytesWriter, read_i32_be, write_i32_be
from mypy_extensions import i32, i64, u8

# Status codes of a call.
OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16
NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

CONTENT_TYPE: Final = b"application/grpc"
CONTENT_TYPE_SIZE: Final = 16

# `timeout_ns` for longer ones: 146 years. A clock in nanoseconds can be added to it without leaving 64 bits.
LONGEST_TIMEOUT: Final = 1 << 62
TIMEOUT_DIGITS: Final = 8
TIMEOUT_VALUES: Final = 100_000_000  # 8 digits have so many

# A flag and four bytes of length stand before each message.
PREFIX_SIZE: Final = 5

# Octets of a Grpc-Message that stand for themselves: visible ASCII and the blank, without the percent sign.
PLAIN_OCTETS: Final = bytes(1 if 0x20 <= c <= 0x7E and c != 0x25 else 0 for c in range(256))
HEX_DIGITS: Final = b"0123456789ABCDEF"


class GrpcError(Exception):
    """Bytes that are not what gRPC says they must be.

    Attributes:
        detail: what is wrong, for the log; carries no bytes of the peer's.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


# -- headers ---------------------------------------------------------------------------------------------------------


def is_grpc(content_type: bytes) -> bool:
    """Whether a request with this Content-Type is a gRPC call.

    `application/grpc`, alone or followed by `+` and a message format or by `;` and parameters, in any case. gRPC-Web
    (`application/grpc-web`) is another protocol, whose trailers are in the body.
    """
    if content_type == CONTENT_TYPE:
        return True
    size: i64 = len(content_type)
    if size < CONTENT_TYPE_SIZE or content_type[:CONTENT_TYPE_SIZE].lower() != CONTENT_TYPE:
        return False
    if size == CONTENT_TYPE_SIZE:
        return True
    sign: i64 = content_type[CONTENT_TYPE_SIZE]
    return sign == 0x2B or sign == 0x3B or sign == 0x20 or sign == 0x09


def timeout_ns(value: bytes) -> i64:
    """Reads a Grpc-Timeout: one to eight digits and a unit.

    Returns:
        Nanoseconds, `LONGEST_TIMEOUT` at most; -1 when the value is invalid. Some clients send 0 when their deadline
        has passed, which is passed on as it is.
    """
    size: i64 = len(value)
    if size < 2 or size > TIMEOUT_DIGITS + 1:
        return -1
    amount: i64 = 0
    at: i64 = 0
    while at < size - 1:
        digit: i64 = value[at]
        if digit < 0x30 or digit > 0x39:
            return -1
        amount = amount * 10 + digit - 0x30
        at += 1
    unit = _unit_ns(value[at])
    if unit < 0:
        return -1
    if amount > LONGEST_TIMEOUT // unit:
        return LONGEST_TIMEOUT
    return amount * unit


def _unit_ns(letter: i64) -> i64:
    """Nanoseconds of a unit; -1 when there is no such unit."""
    if letter == 0x6D:  # m
        return 1_000_000
    if letter == 0x75:  # u
        return 1_000
    if letter == 0x6E:  # n
        return 1
    if letter == 0x53:  # S
        return 1_000_000_000
    if letter == 0x4D:  # M
        return 60_000_000_000
    if letter == 0x48:  # H
        return 3_600_000_000_000
    return -1


def timeout_value(ns: i64) -> bytes:
    """A Grpc-Timeout, in the smallest unit whose eight digits hold it, rounded up.

    Args:
        ns: nanoseconds; what is not positive becomes `1n`, since the value must be positive.
    """
    if ns <= 0:
        return b"1n"
    if ns < TIMEOUT_VALUES:
        return b"%dn" % ns
    amount = (ns + 999) // 1_000
    if amount < TIMEOUT_VALUES:
        return b"%du" % amount
    amount = (ns + 999_999) // 1_000_000
    if amount < TIMEOUT_VALUES:
        return b"%dm" % amount
    amount = (ns + 999_999_999) // 1_000_000_000
    if amount < TIMEOUT_VALUES:
        return b"%dS" % amount
    # 2^63 nanoseconds are 154 million minutes: hours are left for what is longer than minutes can say.
    minute: i64 = 60_000_000_000
    amount = ns // minute + (1 if ns % minute else 0)
    if amount < TIMEOUT_VALUES:
        return b"%dM" % amount
    return b"%dH" % ((amount + 59) // 60)


def status_for(http_status: int, kind: str) -> int:
    """The status with which a call ends when the balancer itself answers it.

    Args:
        http_status: the status that any other client would get.
        kind: `ProxyError.kind`.

    Returns:
        A status code. As in gRPC's own mapping, with more precision where the balancer knows more: a target too slow
        is DEADLINE_EXCEEDED, what is over a limit is RESOURCE_EXHAUSTED.
    """
    if kind == "queue_full" or http_status == 413 or http_status == 431 or http_status == 414:
        return RESOURCE_EXHAUSTED
    if http_status == 504 or http_status == 408:
        return DEADLINE_EXCEEDED
    if http_status == 502 or http_status == 503 or http_status == 429:
        return UNAVAILABLE
    if http_status == 499:
        return CANCELLED
    if http_status == 404 or http_status == 501:
        return UNIMPLEMENTED
    if http_status == 401:
        return UNAUTHENTICATED
    if http_status == 403:
        return PERMISSION_DENIED
    if http_status == 400 or http_status == 500:
        return INTERNAL
    return UNKNOWN


def read_status(value: bytes) -> int:
    """Reads a Grpc-Status.

    Returns:
        The code, which may be one that nobody has defined yet; -1 when it is no number of one to nine digits.
    """
    return int(value) if 0 < len(value) < 10 and value.isdigit() else -1


def status_name(status: int) -> str:
    """The name of a status code as gRPC's documents write it, for people; of an undefined one, the number."""
    return NAMES[status] if 0 <= status < len(NAMES) else str(status)


def encode_message(text: str) -> bytes:
    """A Grpc-Message: UTF-8, percent-encoded where it is not visible ASCII or a blank.

    Args:
        text: any text; what UTF-8 cannot hold becomes a question mark.
    """
    data = text.encode("utf-8", "replace")
    plain = PLAIN_OCTETS
    size: i64 = len(data)
    at: i64 = 0
    while at < size and plain[data[at]]:
        at += 1
    if at == size:
        return data
    out = BytesWriter()
    out.write(data[:at])
    digits = HEX_DIGITS
    while at < size:
        octet: i64 = data[at]
        if plain[octet]:
            out.append(u8(octet))
        else:
            out.append(u8(0x25))
            out.append(u8(digits[octet >> 4]))
            out.append(u8(digits[octet & 0x0F]))
        at += 1
    return out.getvalue()


def decode_message(value: bytes) -> str:
    """Reads a Grpc-Message. What is not encoded as it should be stays as it came: the text must never be lost."""
    if b"%" not in value:
        return value.decode("utf-8", "replace")
    out = BytesWriter()
    size: i64 = len(value)
    at: i64 = 0
    while at < size:
        octet: i64 = value[at]
        if octet == 0x25 and at + 2 < size:
            high = _hex_digit(value[at + 1])
            low = _hex_digit(value[at + 2])
            if high >= 0 and low >= 0:
                octet = high << 4 | low
                at += 2
        out.append(u8(octet))
        at += 1
    return out.getvalue().decode("utf-8", "replace")


def _hex_digit(octet: i64) -> i64:
    """The value of a hexadecimal digit; -1 when it is none."""
    if 0x30 <= octet <= 0x39:
        return octet - 0x30
    if 0x41 <= octet <= 0x46:
        return octet - 0x37
    if 0x61 <= octet <= 0x66:
        return octet - 0x57
    return -1


# -- messages --------------------------------------------------------------------------------------------------------


class Messages:
    """Counts the messages of one direction of a call as their bytes pass by; keeps at most five of them.

    Attributes:
        count: messages that are whole.
        octets: of messages, prefixes not counted, compressed as they came.
        compressed: messages, begun or whole, that are compressed.
        valid: false once a flag was something else than 0 or 1; nothing is counted from there on.
    """

    def __init__(self) -> None:
        """Expects the first prefix."""
        self.count: i64 = 0
        self.octets: i64 = 0
        self.compressed: i64 = 0
        self.valid = True
        # Octets of the message at hand that have not come yet, and those of a prefix that is not whole.
        self._left: i64 = 0
        self._prefix: bytes = b""

    def feed(self, data: bytes) -> None:
        """Takes the next octets of the body, cut anywhere."""
        if not self.valid:
            return
        if self._prefix:
            data = self._prefix + data
            self._prefix = b""
        size: i64 = len(data)
        at: i64 = 0
        while at < size:
            if self._left > 0:
                step = min(self._left, size - at)
                self._left -= step
                self.octets += step
                at += step
                if self._left == 0:
                    self.count += 1
                continue
            if size - at < PREFIX_SIZE:
                self._prefix = data[at:]
                return
            flag: i64 = data[at]
            if flag > 1:
                self.valid = False
                return
            self.compressed += flag
            self._left = i64(read_i32_be(data, at + 1)) & 0xFFFF_FFFF
            at += PREFIX_SIZE
            if self._left == 0:
                self.count += 1

    def whole(self) -> bool:
        """Whether the body may end here: not within a message."""
        return self.valid and self._left == 0 and not self._prefix


def frame_message(message: bytes) -> bytes:
    """A message with its prefix, uncompressed."""
    out = BytesWriter()
    out.append(u8(0))
    write_i32_be(out, i32(len(message)))
    out.write(message)
    return out.getvalue()


def unframe_message(body: bytes) -> bytes:
    """The one message of a whole body.

    Raises:
        GrpcError: there is no message, or more than one; it is compressed; the body ends within it.
    """
    size: i64 = len(body)
    if size < PREFIX_SIZE:
        raise GrpcError("no message" if size == 0 else "body ends within a message")
    if body[0] != 0:
        # Nobody was told of any compression that we would take.
        raise GrpcError("compressed message" if body[0] == 1 else "invalid flag before a message")
    length = i64(read_i32_be(body, 1)) & 0xFFFF_FFFF
    if size - PREFIX_SIZE < length:
        raise GrpcError("body ends within a message")
    if size - PREFIX_SIZE > length:
        raise GrpcError("more than one message")
    return body[PREFIX_SIZE:]
