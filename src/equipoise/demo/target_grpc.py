"""A demo target's side of gRPC: one unary method that answers after the delay, and the health service.

Owns: the service, its method's answer, the server of grpcio.
Refuses to know: what is done with the counts (`Counts` is told of each begin and end), processes, logs.
Called by: target, and only with --grpc: grpcio is an extra.

Messages are JSON in bytes, with generic handlers: no code is generated.
"""

import asyncio
from typing import Any, Final

import grpc
import msgspec

from equipoise.demo.target_http import Answer, Counts
from equipoise.wire.grpc_health import SERVING, health_response

SERVICE: Final = "equipoise.demo.Orders"
METHOD: Final = f"/{SERVICE}/Place"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"


class GrpcServing:
    """A server of grpcio that listens. `address` is host:port."""

    def __init__(self, counts: Counts, *, reuse_port: bool) -> None:
        """Within a running event loop; it listens once `start` has returned."""
        self.address = ""
        self._counts = counts
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", int(reuse_port))])
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(SERVICE, {"Place": _unary(self._place)}),
                grpc.method_handlers_generic_handler(HEALTH_SERVICE, {"Check": _unary(_check)}),
            ]
        )

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 lets the operating system choose.

        Raises:
            OSError: the address cannot be had.
        """
        literal = f"[{host}]" if ":" in host else host
        try:
            port = self._server.add_insecure_port(f"{literal}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from error
        await self._server.start()
        self.address = f"{literal}:{port}"

    async def drain(self, seconds: float) -> None:
        """Takes no new call, and ends those in flight after `seconds`."""
        await self._server.stop(seconds)

    async def _place(self, request: bytes, _context: Any) -> bytes:
        counts = self._counts
        counts.in_flight += 1
        counts.requests += 1
        try:
            delay_ms = counts.draw_delay_ms()
            if delay_ms > 0:
                await asyncio.sleep(delay_ms / 1000)
            return msgspec.json.encode(Answer(counts.name, counts.in_flight, "POST", METHOD, len(request)))
        finally:
            # A caller that gave up cancels this.
            counts.in_flight -= 1


async def _check(_request: bytes, _context: Any) -> bytes:
    """Health, whichever service is asked about: answered at once and counted nowhere."""
    return health_response(SERVING)


def _unary(method: Any) -> Any:
    """Without serializers, messages are bytes."""
    return grpc.unary_unary_rpc_method_handler(method)
