"""What targets have in common: the file of what came, and their call.

Owns: the file to which every kind of request that must not come twice is written at once.
Refuses to know: protocols, the balancer.
"""

import os
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import uvloop


class Seen:
    """Request ids, a line each, in a file that all targets append to: kill -9 takes no line back."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, request_id: str) -> None:
        """A request that must not come twice has come."""
        os.write(self._file, f"{request_id}\n".encode())


def main(serve: Callable[[int, Seen, ssl.SSLContext | None], Awaitable[None]]) -> None:
    """Serves until it is killed; called with the port, the file, and for TLS a certificate and its key."""
    port, path, *pair = sys.argv[1:]
    tls = None
    if pair:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*pair)

    async def forever() -> None:
        await serve(int(port), Seen(Path(path)), tls)

    with suppress(KeyboardInterrupt):
        uvloop.run(forever())
