"""Messages in the form of the other protocol: HTTP/1 lines from HTTP/2 fields, and the other way round.

Owns: what a request and a response are whichever protocol carried them, which of their fields pass on, and how these
are written where they go.
Refuses to know: what is valid (`http1` and `http2_rules` have passed what comes here), connections, what the balancer
adds of its own.

What is left out of an HTTP/2 message is what `http1` leaves out of its own: fields of one connection, and those that
the balancer writes itself.
"""

from http import HTTPStatus
from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import BLANKS
from equipoise.wire.hpack_header import (
    AUTHORITY,
    HOST,
    METHOD,
    PATH,
    PROTOCOL,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
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
    header,
)
from equipoise.wire.http1 import RequestHead, ResponseHead
from equipoise.wire.http2_passing import join_cookies, without_lookalikes
from equipoise.wire.http2_rules import Http2Request, Http2Response

# The attributes that both have mean the same: method, target, host, content_length, upgrade, request_id, via ...
Request = RequestHead | Http2Request
Response = ResponseHead | Http2Response

REASONS: Final = {int(status): status.phrase.encode() for status in HTTPStatus}

# Sets of kinds, a bit each.
PSEUDO: Final = 1 << METHOD | 1 << SCHEME | 1 << AUTHORITY | 1 << PATH | 1 << STATUS | 1 << PROTOCOL
# Written by the balancer, or for one connection.
REPLACED: Final = (
    1 << VIA
    | 1 << X_FORWARDED_FOR
    | 1 << X_FORWARDED_HOST
    | 1 << X_FORWARDED_PROTO
    | 1 << X_REQUEST_ID
    | 1 << PROXY_AUTHENTICATE
    | 1 << PROXY_AUTHORIZATION
)
NOT_IN_HTTP2: Final = REPLACED | 1 << HOST | 1 << PROTOCOL
NOT_IN_HTTP1: Final = REPLACED | PSEUDO | 1 << HOST | 1 << TE | 1 << TRAILER
NOT_IN_A_RESPONSE: Final = 1 << X_REQUEST_ID | 1 << PROXY_AUTHENTICATE

# Every request to a target by HTTP/2 has one of each; made once.
METHODS: Final = {
    name: header(b":method", name) for name in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
}
SCHEMES: Final = {name: header(b":scheme", name) for name in (b"http", b"https")}
STATUSES: Final = [header(b":status", b"%03d" % status) for status in range(1_000)]


# -- requests


def request_lines(head: Http2Request, last: bool) -> list[bytes]:
    """A request for an HTTP/1.1 connection: its line and its fields, each with CRLF.

    Args:
        head: the request. An extended CONNECT becomes the GET that RFC 8441 5 says it stands for, without its Upgrade.
        last: whether it has no body; otherwise one of unknown length is chunked.
    """
    method = head.method if head.upgrade is None else b"GET"
    lines = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, head.target, head.host)]
    lines.extend(
        [
            b"%b: %b\r\n" % (field.name, field.value)
            for field in passing(head)
            if i64(1) << field.kind & NOT_IN_HTTP1 == 0
        ]
    )
    if not last and head.content_length < 0:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        if head.trailer is not None:
            lines.append(b"Trailer: " + head.trailer + b"\r\n")
    return lines


def request_fields(head: Request, scheme: bytes, host: bytes) -> list[Header]:
    """A request for an HTTP/2 connection, pseudo-header fields first (RFC 9113 8.3.1).

    Args:
        head: the request.
        scheme: `http` or `https`, as the client's connection is.
        host: what the request is for; it need not say so itself in HTTP/1.0.
    """
    if isinstance(head, Http2Request):
        fields = [field for field in passing(head) if i64(1) << field.kind & NOT_IN_HTTP2 == 0]
        if not head.has_authority:
            fields.insert(0, header(b":authority", head.host))
        return fields
    method = METHODS.get(head.method)
    fields = [
        header(b":method", head.method) if method is None else method,
        SCHEMES[scheme],
        header(b":authority", host),
        header(b":path", head.target),
    ]
    # The first line is the request's.
    fields.extend([field for field in fields_of(head.keep)[1:] if field.kind != HOST])
    if head.chunked and head.trailer is not None:
        fields.append(header(b"trailer", head.trailer))
    return fields


def passing(head: Http2Request) -> list[Header]:
    """The header list, with what must change in it (`http2_passing`) changed."""
    fields = head.fields
    if head.cookies > 1:
        fields = join_cookies(fields)
    if head.lookalikes:
        fields = without_lookalikes(fields)
    return fields


# -- responses


def response_lines(head: Http2Response) -> list[bytes]:
    """A response for an HTTP/1.1 connection: its line and its fields, each with CRLF, without framing of a body."""
    status = int(head.status)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))]
    lines.extend(
        [
            b"%b: %b\r\n" % (field.name, field.value)
            for field in head.fields
            if i64(1) << field.kind & (NOT_IN_A_RESPONSE | PSEUDO | 1 << TE) == 0
        ]
    )
    return lines


def response_fields(head: Response) -> list[Header]:
    """A response for an HTTP/2 connection."""
    if isinstance(head, Http2Response):
        return [field for field in head.fields if i64(1) << field.kind & NOT_IN_A_RESPONSE == 0]
    fields = fields_of(head.keep)
    # In the place of the status line.
    fields[0] = STATUSES[head.status]
    if head.chunked and head.trailer is not None:
        fields.append(header(b"trailer", head.trailer))
    return fields


# -- fields


def fields_of(runs: list[bytes]) -> list[Header]:
    """Field lines, in runs of whole lines as `headers.Fields.keep` has them; a start line becomes a field too."""
    lines = b"".join(runs).split(b"\r\n")
    fields: list[Header] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if name:
            fields.append(header(name.lower(), value.strip(BLANKS)))
    return fields


def lines_of(fields: list[Header]) -> bytes:
    """Fields, of trailers, as lines."""
    return b"".join([b"%b: %b\r\n" % (field.name, field.value) for field in fields])
