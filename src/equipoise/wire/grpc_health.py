"""The two messages of gRPC's health checking protocol, grpc.health.v1, as protocol buffers written by hand.

Owns: HealthCheckRequest and HealthCheckResponse as bytes, and as much of the encoding as reading them strictly takes.
Refuses to know: how a message travels (`grpc`), who asks and when.

Sources: gRPC's "GRPC Health Checking Protocol"; "Encoding" in the documentation of protocol buffers. Two messages of
one field each are no reason for a dependency with a code generator.
"""

from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

from equipoise.wire.grpc import GrpcError

HEALTH_PATH: Final = b"/grpc.health.v1.Health/Check"

# What a service says of itself (HealthCheckResponse.ServingStatus).
SERVING_UNKNOWN: Final = 0
SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3
SERVING_NAMES: Final = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")

# Encodings of a value in a protocol buffer.
VARINT: Final = 0
FIXED64: Final = 1
LENGTH_DELIMITED: Final = 2
FIXED32: Final = 5
# A varint has at most so many octets, and a tag, which is a number and three bits of encoding, so many values.
VARINT_OCTETS: Final = 10
TAG_LIMIT: Final = 1 << 32


def health_request(service: str) -> bytes:
    """A HealthCheckRequest: field 1 is the service's name; the empty one, which asks for the whole, is left out."""
    if not service:
        return b""
    name = service.encode()
    out = BytesWriter()
    out.append(u8(1 << 3 | LENGTH_DELIMITED))
    _write_varint(out, len(name))
    out.write(name)
    return out.getvalue()


def read_health_request(message: bytes) -> str:
    """Reads a HealthCheckRequest.

    Returns:
        The service's name; empty when the whole is asked for.

    Raises:
        GrpcError: it is no protocol buffer, or the name is not UTF-8.
    """
    fields = _Fields(message)
    service = b""
    while fields.next():
        if fields.number == 1 and fields.encoding == LENGTH_DELIMITED:
            # The last one holds, as the encoding says; each must be valid.
            service = message[fields.begin : fields.at]
            _text(service)
    return _text(service)


def health_response(status: int) -> bytes:
    """A HealthCheckResponse: field 1 is the status, `SERVING` for one; 0, which is the default, is left out."""
    if status == 0:
        return b""
    out = BytesWriter()
    out.append(u8(1 << 3 | VARINT))
    _write_varint(out, status)
    return out.getvalue()


def read_health_response(message: bytes) -> int:
    """Reads a HealthCheckResponse.

    Returns:
        The status; it may be a number that nobody has defined, which is not `SERVING`.

    Raises:
        GrpcError: it is no protocol buffer.
    """
    fields = _Fields(message)
    status: i64 = SERVING_UNKNOWN
    while fields.next():
        if fields.number == 1 and fields.encoding == VARINT:
            # An enumeration has 32 bits; what is above them is dropped, and the last one holds.
            status = (fields.value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000
    return status


class _Fields:
    """The fields of a protocol buffer, one by one; those that nobody knows are for the caller to pass over.

    Attributes:
        number: of the field.
        encoding: `VARINT` and so on.
        value: of a `VARINT`, its 64 bits as a number with sign.
        begin: where the content of the field begins.
        at: behind it.
    """

    def __init__(self, message: bytes) -> None:
        self.number: i64 = 0
        self.encoding: i64 = 0
        self.value: i64 = 0
        self.begin: i64 = 0
        self.at: i64 = 0
        self._message = message

    def next(self) -> bool:
        """Goes to the next field; returns false when there is none.

        Raises:
            GrpcError: a number is invalid, or the message ends within a field. Groups, which were given up before
                there was gRPC, are refused too.
        """
        size: i64 = len(self._message)
        if self.at == size:
            return False
        tag = self._varint()
        if tag < 0 or tag >= TAG_LIMIT or tag >> 3 == 0:
            raise GrpcError("invalid number of a field")
        self.number = tag >> 3
        self.encoding = tag & 7
        self.begin = self.at
        if self.encoding == VARINT:
            self.value = self._varint()
            return True
        if self.encoding == LENGTH_DELIMITED:
            length = self._varint()
            self.begin = self.at
        elif self.encoding == FIXED64:
            length = 8
        elif self.encoding == FIXED32:
            length = 4
        else:
            raise GrpcError("unknown encoding of a field")
        if length < 0 or length > size - self.at:
            raise GrpcError("message ends within a field")
        self.at += length
        return True

    def _varint(self) -> i64:
        """Reads a number in groups of seven bits, the lowest first."""
        message = self._message
        size: i64 = len(message)
        value: i64 = 0
        count: i64 = 0
        octet: i64 = 0x80
        while octet & 0x80:
            if self.at >= size:
                raise GrpcError("message ends within a field")
            if count == VARINT_OCTETS:
                raise GrpcError("number too long")
            octet = message[self.at]
            self.at += 1
            if count == VARINT_OCTETS - 1:
                # Of the tenth group one bit is left, the sign; set by hand, since compiled and plain numbers differ.
                if octet > 1:
                    raise GrpcError("number too long")
                if octet == 1:
                    value -= 1 << 62
                    value -= 1 << 62
            else:
                value |= (octet & 0x7F) << 7 * count
            count += 1
        return value


def _write_varint(out: BytesWriter, value: i64) -> None:
    """Writes a number that is not negative."""
    assert value >= 0
    while value >= 0x80:
        out.append(u8(value & 0x7F | 0x80))
        value >>= 7
    out.append(u8(value))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise GrpcError("text that is not UTF-8") from error
