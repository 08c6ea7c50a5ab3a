"""A target of WebSockets as a process: `python -m benchmarks.soak.target_sockets PORT FILE`.

Owns: the echo.
Refuses to know: the balancer.
"""

import ssl
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed

from benchmarks.soak.seen import Seen, main


async def serve(port: int, _seen: Seen, _tls: ssl.SSLContext | None) -> None:
    """Serves on a port of the loopback."""

    async def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with listen(talk, "127.0.0.1", port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    main(serve)
