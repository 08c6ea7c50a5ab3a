"""A target of HTTP/1.1 as a process: `python -m benchmarks.soak.target_web PORT FILE [CERTIFICATE KEY]`.

Owns: what it answers: `bytes?size&delay`, `stream?pieces&size&gap`, `echo?delay`; delay and gap in milliseconds.
Refuses to know: the balancer.
"""

import asyncio
import ssl
from typing import Any
from urllib.parse import parse_qsl

import httptools

from benchmarks.soak.plans import content
from benchmarks.soak.seen import Seen, main


class Web(asyncio.Protocol):
    """One connection."""

    def __init__(self, port: int, seen: Seen) -> None:
        self._port = port
        self._seen = seen
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._serving: asyncio.Task[None] | None = None
        self._url = b""
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        if self._serving is not None:
            self._serving.cancel()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        """See httptools. What comes twice must be counted even where its body never ends."""
        if self._parser.get_method() == b"POST":
            self._seen.add(self._fields.get(b"x-request-id", b"").decode())

    def on_body(self, data: bytes) -> None:
        """See httptools."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """See httptools. The balancer sends no request before the answer to the one before."""
        asked, body = (self._url.decode(), self._fields), b"".join(self._body)
        self._url, self._fields, self._body = b"", {}, []
        self._serving = asyncio.get_running_loop().create_task(self._serve(asked, body))

    async def _serve(self, asked: tuple[str, dict[bytes, bytes]], body: bytes) -> None:
        path, _, query = asked[0].partition("?")
        options = {name: int(value) for name, value in parse_qsl(query)}
        saw = asked[1].get(b"x-request-id", b"")
        head = b"HTTP/1.1 200 OK\r\nX-Target: %d\r\nX-Saw: %s\r\n" % (self._port, saw)
        if path.endswith("/stream"):
            await self._stream(head, options)
            return
        if options.get("delay"):
            await asyncio.sleep(options["delay"] / 1000)
        if path.endswith("/bytes"):
            body = content(options["size"])
        self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _stream(self, head: bytes, options: dict[str, int]) -> None:
        piece = content(options["size"])
        self._transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(options["pieces"]):
            self._transport.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await asyncio.sleep(options["gap"] / 1000)
        self._transport.write(b"0\r\n\r\n")


async def serve(port: int, seen: Seen, tls: ssl.SSLContext | None) -> None:
    """Serves on a port of the loopback."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Web(port, seen), "127.0.0.1", port, backlog=1024, ssl=tls
    )
    await server.serve_forever()


if __name__ == "__main__":
    main(serve)
