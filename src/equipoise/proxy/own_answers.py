"""What the balancer says when it answers for itself: problem details (RFC 9457), or the status of a gRPC call.

Owns: the body of such an answer, and its fields in HTTP/2.
Refuses to know: how it is framed and sent.
"""

from typing import Final

import msgspec

from equipoise.errors import UPSTREAM, ProxyError
from equipoise.wire.grpc import encode_message, status_for
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.message import REASONS, STATUSES

TYPE: Final = b"application/problem+json"
TYPE_FIELD: Final = header(b"content-type", TYPE)
GRPC_TYPE_FIELD: Final = header(b"content-type", b"application/grpc")
# A target that is down is probed twice a second, and what is over a limit is over it for a moment.
RETRY_AFTER: Final = 1


def retry_after(error: ProxyError) -> int:
    """Seconds that a client should wait; 0 when waiting does not help, or nobody knows (RFC 9110 10.2.3)."""
    return RETRY_AFTER if error.status == 503 and error.side != UPSTREAM else 0


def problem(error: ProxyError, request_id: bytes | None) -> bytes:
    """Problem details in JSON.

    Args:
        error: what went wrong.
        request_id: of the request, when it got so far.
    """
    details = {
        "type": "about:blank",
        "title": REASONS.get(error.status, b"Error").decode(),
        "status": error.status,
        "detail": error.detail,
        "kind": error.kind,
    }
    if request_id is not None:
        details["request_id"] = request_id.decode("latin-1")
    return msgspec.json.encode(details)


def own_fields(error: ProxyError, length: int, retry_after: int, request_id: bytes | None) -> list[Header]:
    """The head of an answer with problem details.

    Args:
        error: what went wrong.
        length: of the body, in bytes.
        retry_after: seconds; 0 for none.
        request_id: of the request, when it got so far.
    """
    fields = [STATUSES[error.status], TYPE_FIELD, header(b"content-length", b"%d" % length)]
    if retry_after:
        fields.append(header(b"retry-after", b"%d" % retry_after))
    if request_id is not None:
        fields.append(header(b"x-request-id", request_id))
    return fields


def grpc_status(error: ProxyError, request_id: bytes | None) -> list[Header]:
    """An answer to a gRPC call that is nothing but its status ("Trailers-Only")."""
    fields = [STATUSES[200], GRPC_TYPE_FIELD, *grpc_trailers(error)]
    if request_id is not None:
        fields.append(header(b"x-request-id", request_id))
    return fields


def grpc_trailers(error: ProxyError) -> list[Header]:
    """How a gRPC call ended."""
    return [header(b"grpc-status", grpc_code(error)), header(b"grpc-message", encode_message(error.detail))]


def grpc_code(error: ProxyError) -> bytes:
    """The status of a gRPC call that ends with an error of ours."""
    return b"%d" % status_for(error.status, error.kind)
