"""A health probe by gRPC: grpc.health.v1.Health/Check over HTTP/2.

Owns: the call, and which answers mean that the target is well.
Refuses to know: how the connection was made (with TLS or without), when a target is asked, time limits.
Called by: runtime/health_checks.py.

Source: gRPC's "GRPC Health Checking Protocol".
"""

import asyncio
from typing import Final

from equipoise.runtime.http2_probe import Answer, ask
from equipoise.runtime.probe_error import ProbeError
from equipoise.wire.grpc import (
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
    GrpcError,
    decode_message,
    frame_message,
    is_grpc,
    read_status,
    status_name,
    unframe_message,
)
from equipoise.wire.grpc_health import HEALTH_PATH, SERVING, SERVING_NAMES, health_request, read_health_response

MAX_SHOWN: Final = 200


async def check(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: tuple[str, str], service: str
) -> None:
    """Asks whether a service is served.

    Args:
        reader: of a fresh connection.
        writer: of the same.
        authority: scheme (`http` or `https`) and host with port, as the call's pseudo-header fields carry them.
        service: the name that is asked about; empty for the target as a whole.

    Raises:
        ProbeError: it is not served, or the target does not say so as it should.
    """
    scheme, host = authority
    head = [
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":authority", host.encode()),
        (b":path", HEALTH_PATH),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"equipoise-health"),
    ]
    judge(await ask(reader, writer, head, frame_message(health_request(service))), service)


def judge(answer: Answer, service: str) -> None:
    """Returns when the answer says SERVING.

    Raises:
        ProbeError: it says anything else; the text says what.
    """
    if answer.status != 200:
        raise ProbeError(f"HTTP status {answer.status}")
    if not is_grpc(answer.value(b"content-type") or b""):
        raise ProbeError("the answer is no gRPC")
    value = answer.value(b"grpc-status")
    status = -1 if value is None else read_status(value)
    if status < 0:
        raise ProbeError("the answer has no grpc-status" if value is None else "the answer has an invalid grpc-status")
    if status != OK:
        raise ProbeError(_failed(status, answer.value(b"grpc-message") or b"", service))
    try:
        serving = read_health_response(unframe_message(answer.body))
    except GrpcError as error:
        raise ProbeError(f"not a health response: {error.detail}") from error
    if serving != SERVING:
        name = SERVING_NAMES[serving] if 0 <= serving < len(SERVING_NAMES) else str(serving)
        raise ProbeError(f"says {name}")


def _failed(status: int, message: bytes, service: str) -> str:
    """Why the call itself failed; the two usual mistakes of a configuration are named."""
    if status == UNIMPLEMENTED:
        return "the target has no grpc.health.v1.Health service (UNIMPLEMENTED)"
    if status == NOT_FOUND:
        return f'the target knows no service "{service}" (NOT_FOUND)'
    text = "".join(sign if sign.isprintable() else "?" for sign in decode_message(message[:MAX_SHOWN]))
    return f"{status_name(status)}: {text}" if text else status_name(status)
