# ruff: noqa: INP001, T201  a script that stands alone and talks on standard output
"""A gRPC target: python target.py PORT.

The service greet.Greeter with one method, Hello, which answers with the port it listens on; and grpc.health.v1, by
which the balancer asks for greet.Greeter. SIGTERM makes it say NOT_SERVING first, so that no new call comes while it
leaves.
Messages are bytes without a schema, so that nothing has to be generated; with your own .proto it works the same.
"""

import asyncio
import signal
import sys
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE = "greet.Greeter"


async def serve(port: int) -> None:
    """Serves until a signal."""

    async def hello(request: bytes, _context: Any) -> bytes:
        return b"hello %b, this is %d" % (request, port)

    server = grpc.aio.server()
    methods: dict[str, Any] = {"Hello": grpc.unary_unary_rpc_method_handler(hello)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    wellness = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(wellness, server)
    await wellness.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"listening on {port}", flush=True)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await wellness.enter_graceful_shutdown()
    # A little longer than the balancer takes to ask, so that it knows before the port closes.
    await asyncio.sleep(5)
    await server.stop(30)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
