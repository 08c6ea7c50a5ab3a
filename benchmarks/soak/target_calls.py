"""A target of gRPC as a process: `python -m benchmarks.soak.target_calls PORT FILE`.

Owns: the service and its methods.
Refuses to know: the balancer.
"""

import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from benchmarks.soak.seen import Seen, main

SERVICE: Final = "soak.Calls"


class Calls:
    """gRPC, messages being bytes: `Echo` a message, `Talk` a stream of them."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def echo(self, message: bytes, context: Any) -> bytes:
        """Sends it back."""
        self._note(context)
        return message

    async def talk(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Sends each back as it comes."""
        self._note(context)
        async for message in messages:
            yield message

    def _note(self, context: Any) -> None:
        request_id = dict(context.invocation_metadata()).get("x-request-id", "")
        self._seen.add(request_id)
        context.set_trailing_metadata((("x-saw", request_id),))


async def serve(port: int, seen: Seen, _tls: ssl.SSLContext | None) -> None:
    """Serves on a port of the loopback."""
    calls = Calls(seen)
    methods: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(calls.echo),
        "Talk": grpc.stream_stream_rpc_method_handler(calls.talk),
    }
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    main(serve)
