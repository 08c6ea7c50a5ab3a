"""What is asked for: drawn requests, and what their answers must be.

Owns: the mix, the bodies that both sides make from the same numbers.
Refuses to know: protocols, connections.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Final

_PATTERN: Final = random.Random(1).randbytes(64 * 1024)
_LARGE: Final = 1024 * 1024
KEPT: Final = 400


@dataclass(frozen=True)
class Plan:
    """A request, and the body that must come back."""

    method: str
    path: str
    body: bytes
    expected: bytes
    pool: str

    @property
    def safe(self) -> bool:
        """Whether a balancer may send it twice (RFC 9110 9.2.2)."""
        return self.method != "POST"


@cache
def _long_pattern() -> bytes:
    return _PATTERN * (_LARGE // len(_PATTERN) + 2)


def content(size: int) -> bytes:
    """The body of so many bytes: another for each size, as an offset into one pattern."""
    offset = size % 65_521
    return _long_pattern()[offset : offset + size]


def _bytes(draw: random.Random, size: int) -> Plan:
    return Plan("GET", f"/web/bytes?size={size}&delay={draw.randrange(8)}", b"", content(size), "web")


def _kept(draw: random.Random) -> Plan:
    size = draw.randrange(KEPT) * 100
    return Plan("GET", f"/kept/bytes?size={size}", b"", content(size), "kept")


def _stream(draw: random.Random) -> Plan:
    pieces, size = draw.randrange(2, 9), draw.randrange(1, 20_000)
    path = f"/web/stream?pieces={pieces}&size={size}&gap={draw.randrange(60)}"
    return Plan("GET", path, b"", content(size) * pieces, "web")


def _echo(draw: random.Random, method: str, size: int) -> Plan:
    body = draw.randbytes(16) + content(size)
    return Plan(method, f"/web/echo?delay={draw.randrange(8)}", body, body, "web")


def draw_plan(draw: random.Random) -> Plan:
    """The next request of a client."""
    kind = draw.random()
    if kind < 0.45:
        return _bytes(draw, draw.randrange(4096))
    if kind < 0.65:
        return _kept(draw)
    if kind < 0.82:
        return _echo(draw, "POST", draw.randrange(8192))
    if kind < 0.88:
        return _echo(draw, "PUT", draw.randrange(8192))
    if kind < 0.94:
        return _stream(draw)
    if kind < 0.97:
        return _bytes(draw, draw.randrange(100_000, _LARGE))
    return _echo(draw, "POST", draw.randrange(70_000, 400_000))


def draw_large(draw: random.Random) -> Plan:
    """A request for much, for those who read it slowly or not to the end."""
    return _bytes(draw, draw.randrange(_LARGE // 2, _LARGE))


def draw_upload(draw: random.Random) -> Plan:
    """A request with much to send, for those who do not send it to the end."""
    return _echo(draw, "POST", draw.randrange(100_000, 400_000))
