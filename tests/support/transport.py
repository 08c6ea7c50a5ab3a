"""Connections without sockets: a transport for the code under test, and a peer for the test.

Owns: what asyncio and uvloop promise a protocol about its transport, in memory and step by step.
Refuses to know: HTTP, and who is on which side.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any


class Clock:
    """Monotonic nanoseconds that pass only when told; never 0, which the code under test may take for `not yet`."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def now(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


class Dial:
    """A connection that the code under test wants to make, and that the test has not answered yet."""

    def __init__(self, address: tuple[str, int], protocol: Any, answer: asyncio.Future["Peer"]) -> None:
        self.host, self.port = address
        self.protocol = protocol
        self.answer = answer
        # What TLS is spoken with.
        secure = protocol if isinstance(protocol, ScriptedTls) else None
        self.context = None if secure is None else secure.context
        self.server_name = None if secure is None else secure.server_name


class Secured:
    """What is known of TLS on a connection: the protocol that was chosen in the handshake."""

    def __init__(self, protocol: str | None) -> None:
        self.protocol = protocol

    def selected_alpn_protocol(self) -> str | None:
        return self.protocol


class ScriptedTls:
    """Stands in for a TlsConnection to a target whose handshake takes no time and whose records are their text."""

    def __init__(self, _services: object, protocol: Any, context: object, server_name: str) -> None:
        self.protocol = protocol
        self.context, self.server_name = context, server_name
        self.shaken: asyncio.Future[None] | None = None
        self.transport: Transport | None = None

    def connection_made(self, transport: "Transport") -> None:
        assert self.shaken is not None
        self.transport = transport
        transport.protocol = self.protocol
        self.protocol.connection_made(transport)
        self.shaken.set_result(None)

    def abort(self) -> None:
        assert self.transport is not None
        self.transport.abort()


class ScriptedLoop(asyncio.SelectorEventLoop):
    """A real loop, run by hand: its clock is the test's, and its connections are made by the test."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.dials: list[Dial] = []
        self.problems: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.clock.ns / 1e9

    async def create_connection(  # type: ignore[override]  # of the many ways to call it, the one that is used
        self, protocol_factory: Callable[[], Any], host: str, port: int
    ) -> tuple["Transport", Any]:
        dial = Dial((host, port), protocol_factory(), self.create_future())
        self.dials.append(dial)
        try:
            peer = await dial.answer
        finally:
            if dial in self.dials:
                self.dials.remove(dial)
            # An error's traceback holds this frame, which would hold the error.
            del dial
        return peer.transport, peer.transport.protocol

    def settle(self) -> None:
        """Run what is ready, and what that makes ready, until nothing is."""
        for _ in range(8):
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]  # a turn costs as much as what it runs
                return

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")


class Transport:
    """What the code under test writes to. Strict where uvloop is: writing to what is gone is an error."""

    def __init__(self, loop: ScriptedLoop, protocol: Any, peername: tuple[str, int]) -> None:
        self.loop = loop
        self.protocol: Any = protocol
        self.peername = peername
        self.limits = (64 * 1024, 16 * 1024)
        # What the peer has received, what it has not, and how much of it it takes without being asked.
        self.arrived = bytearray()
        self.unsent = bytearray()
        self.peer_reads = True
        self.reading = True
        self.paused_protocol = False
        self.closing = False
        self.aborted = False
        self.ended = False
        self.lost = False
        self.incoming: list[bytes | None] = []
        self.secured: Secured | None = None
        self._pair: tuple[socket.socket, socket.socket] | None = None

    # What asyncio's transports offer

    def write(self, data: bytes) -> None:
        if self.lost:
            raise RuntimeError("write to a connection that is gone")
        if self.ended:
            raise RuntimeError("write after write_eof")
        assert isinstance(data, bytes)
        if self.aborted or (self.closing and not self.unsent):
            return
        (self.arrived if self.peer_reads else self.unsent).extend(data)
        if len(self.unsent) > self.limits[0] and not self.paused_protocol:
            self.paused_protocol = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return self.secured is None

    def write_eof(self) -> None:
        if self.lost:
            raise RuntimeError("write_eof to a connection that is gone")
        self.ended = True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.reading = False
            if not self.unsent:
                self.loop.call_soon(self.lose, None)

    def abort(self) -> None:
        if not self.aborted and not self.lost:
            self.closing = True
            self.aborted = True
            self.reading = False
            self.unsent.clear()
            self.loop.call_soon(self.lose, None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        if self.lost:
            raise RuntimeError("pause_reading of a connection that is gone")
        self.reading = False

    def resume_reading(self) -> None:
        if self.lost:
            raise RuntimeError("resume_reading of a connection that is gone")
        if not self.closing:
            self.reading = True
            self.loop.call_soon(self.deliver)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.limits = (high, low)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def get_extra_info(self, name: str) -> object:
        if name == "socket":
            return self._sockets()[0]
        known = {"peername": self.peername, "sockname": ("192.0.2.80", 8080), "ssl_object": self.secured}
        return known.get(name)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    # What happens to them

    def deliver(self) -> None:
        """Hands over what has come in, as far as the protocol reads."""
        while self.incoming and self.reading and not self.lost:
            data = self.incoming.pop(0)
            if data:
                self.protocol.data_received(data)
            elif data is None and not self.protocol.eof_received():
                self.close()

    def drain(self, size: int) -> None:
        """The peer takes some of what it has not received yet."""
        self.arrived.extend(self.unsent[:size])
        del self.unsent[:size]
        if self.paused_protocol and len(self.unsent) <= self.limits[1]:
            self.paused_protocol = False
            self.protocol.resume_writing()
        if self.closing and not self.aborted and not self.unsent:
            self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone; the protocol hears it once."""
        if not self.lost:
            self.closing = True
            self.lost = True
            self.protocol.connection_lost(error)
            # As the real ones do, so that no cycle outlives the connection.
            self.protocol = None

    def close_unnoticed(self) -> None:
        """The kernel knows that the peer has closed; the loop has not looked yet."""
        self._sockets()[1].close()

    def says_unnoticed(self, data: bytes) -> None:
        """The kernel has bytes of the peer; the loop has not looked yet."""
        self._sockets()[1].sendall(data)

    def _sockets(self) -> tuple[socket.socket, socket.socket]:
        """Made when something asks the kernel: a transport in memory has no use for them."""
        if self._pair is None:
            self._pair = socket.socketpair()
        return self._pair

    def release(self) -> None:
        for each in self._pair or ():
            each.close()


class Peer:
    """The far end of a connection, in the hands of the test."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.loop = transport.loop

    def __repr__(self) -> str:
        transport = self.transport
        if transport.lost or transport.closing:
            return "aborted" if transport.aborted else "closed" if transport.lost else "closing"
        return "half-closed" if transport.ended else "open" if transport.reading else "held"

    def says(self, *pieces: bytes) -> None:
        """Sends; each piece is one read of the other side, and all of them come in the same turn of the loop."""
        self.transport.incoming.extend(pieces)
        self.transport.deliver()
        self.loop.settle()

    def hears(self) -> bytes:
        """What has arrived since the last call."""
        data = bytes(self.transport.arrived)
        self.transport.arrived.clear()
        return data

    def ends(self) -> None:
        """Closes its sending side."""
        self.transport.incoming.append(None)
        self.transport.deliver()
        self.loop.settle()

    def resets(self) -> None:
        self.transport.lose(ConnectionResetError(104, "Connection reset by peer"))
        self.loop.settle()

    def stops_reading(self) -> None:
        self.transport.peer_reads = False

    def reads_on(self, size: int | None = None) -> None:
        """Takes so much of what waits; all of it, and what comes from now on, without a number."""
        if size is None:
            self.transport.peer_reads = True
        self.transport.drain(len(self.transport.unsent) if size is None else size)
        self.loop.settle()
