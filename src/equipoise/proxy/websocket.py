"""The WebSocket handshake of HTTP/1.1 on behalf of a client that spoke HTTP/2 (RFC 8441 5, RFC 6455 4).

Owns: the key and what a target must make of it; in HTTP/2 there is neither.
Refuses to know: frames of WebSocket, which pass untouched.
"""

import base64
import hashlib
import os
from typing import Final

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> bytes:
    """A Sec-WebSocket-Key: 16 random bytes (RFC 6455 4.1)."""
    return base64.b64encode(os.urandom(16))


def accepts(key: bytes, answer: bytes | None) -> bool:
    """Whether a Sec-WebSocket-Accept is the one that belongs to a key (RFC 6455 4.2.2)."""
    return answer == base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
