"""Two connections joined after a 101: bytes go through, both ways, until both ends are done (RFC 9110 7.8).

Owns: the relay of a tunnel, its back-pressure, its half-closes and its idle limit.
Refuses to know: what the bytes mean (WebSocket or anything else).
"""

from typing import Any, cast

from mypy_extensions import i64

from equipoise.proxy.client import Client
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Downstream, Relay, Upstream
from equipoise.state.connections import Timed
from equipoise.wire.http1 import ResponseHead


class TunnelSide:
    """One connection of a tunnel; an asyncio protocol in all but inheritance."""

    def __init__(self, tunnel: "Tunnel", transport: Any) -> None:
        self.tunnel: Tunnel | None = tunnel
        self.transport: Any = transport
        self.other: TunnelSide | None = None
        self.carried: i64 = 0
        self.ended = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        """Passes bytes to the other side."""
        tunnel = self.tunnel
        other = self.other
        if tunnel is None or other is None or other.lost:
            return
        self.carried += len(data)
        tunnel.touch()
        other.transport.write(data)

    def eof_received(self) -> bool:
        """Passes the half-close on and keeps this side open for what still comes the other way."""
        self.ended = True
        other = self.other
        if other is None or other.lost:
            return False
        if other.ended:
            # Nothing more comes from either side; each closes when all that was meant for it is written.
            other.transport.close()
            return False
        try:
            other.transport.write_eof()
        except (OSError, RuntimeError):  # the other side is closing already
            return False
        return True

    def pause_writing(self) -> None:
        """This side reads slower than the other sends."""
        other = self.other
        if other is not None and not other.lost:
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side reads again."""
        other = self.other
        if other is not None and not other.lost:
            other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """One side has gone; the other goes when all that was meant for it is written."""
        self.lost = True
        tunnel = self.tunnel
        other = self.other
        if other is not None and not other.lost:
            other.transport.close()
        elif tunnel is not None:
            tunnel.closed()


class Tunnel(Timed):
    """Both sides, and the end of the exchange that opened them."""

    def __init__(self, services: Services, relay: Relay) -> None:
        super().__init__()
        self.services = services
        self.relay: Relay | None = relay
        # Whose connection it has for itself.
        self.client: Client | None = None
        self.down: TunnelSide | None = None
        self.up: TunnelSide | None = None

    def open(self, downstream: Downstream, upstream: Upstream, head: ResponseHead, rest: bytes) -> None:
        """Takes both connections over.

        Args:
            downstream: gets the 101 and then whatever the target says.
            upstream: the connection that said 101.
            head: the 101.
            rest: what the target sent behind it.
        """
        down = TunnelSide(self, downstream.transport)
        up = TunnelSide(self, upstream.transport)
        down.other = up
        up.other = down
        self.down = down
        self.up = up
        upstream.transport.set_protocol(up)
        self.services.deadlines.remove(upstream)
        self.services.tunnel_opened(self)
        self.touch()
        if not downstream.tunnels():
            self.client = downstream.sender()
        early = downstream.switch(head, cast("Any", down))
        if rest:
            up.data_received(rest)
        if early:
            down.data_received(early)

    def touch(self) -> None:
        """Something was said: the idle limit starts again."""
        self.deadline = self.services.now + self.services.world().limits.tunnel_ns

    def expire(self, now: i64) -> None:
        """Idle for too long."""
        self.services.reached("tunnel_timeout")
        self.abort()

    def abort(self) -> None:
        """Cuts both sides."""
        for side in (self.down, self.up):
            if side is not None and not side.lost:
                side.lost = True
                side.transport.abort()
        self.closed()

    def closed(self) -> None:
        """Both sides have gone."""
        relay = self.relay
        if relay is None:
            return
        self.relay = None
        self.services.tunnel_closed(self, self.client)
        down = self.down
        up = self.up
        assert down is not None
        assert up is not None
        for side in (down, up):
            side.other = None
            side.tunnel = None
        relay.tunnel_closed(down.carried, up.carried)
