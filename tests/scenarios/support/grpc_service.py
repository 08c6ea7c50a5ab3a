"""A gRPC target as a process, with grpcio (aio or threads) or grpclib: `grpc_service.py KIND PORT [CERTIFICATE]`.

Owns: what each method of the service `probe.Probe` does, in three implementations; the counts that a test asks for.
Refuses to know: the balancer, what a test expects.

Messages are bytes without any schema, so no code is generated. It prints its port once it listens. An aio target
with a CERTIFICATE speaks TLS, with CERTIFICATE.pem and CERTIFICATE.key.

Of every kind: Unary (echoes), Collect (joins), Spread (N messages for b"N"), Echo (each as it comes).
Of aio alone: Metadata, Fail, FailLate, Wait, Hang, Left, and the service `probe.Control` (Stats, Open) for the
test itself, which is not counted; and grpc.health.v1, which `Serve` of the latter switches.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import grpclib
import grpclib.const
import grpclib.encoding.base
import grpclib.server
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE = "probe.Probe"
CONTROL = "probe.Control"
NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def say_port(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


# -- grpcio, aio -------------------------------------------------------------------------------------------------------


class Counts:
    """What a test asks for by `Stats`."""

    def __init__(self) -> None:
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self.ended = 0


class AioService:
    """The methods; every one of them is counted while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = Counts()
        self.gate = asyncio.Event()
        self.health = health.aio.HealthServicer()

    async def unary(self, request: bytes, _context: Any) -> bytes:
        return request

    async def collect(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        return b"|".join([request async for request in requests])

    async def spread(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def echo(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def metadata(self, request: bytes, context: Any) -> bytes:
        """Answers with the metadata that came, and gives some of its own."""
        seen = [[name, value.hex() if isinstance(value, bytes) else value] for name, value in _pairs(context)]
        await context.send_initial_metadata((("head", "first"), ("head-bin", b"\x00\xff\x01")))
        context.set_trailing_metadata((("tail", "last"), ("tail-bin", request)))
        return json.dumps(seen).encode()

    async def fail(self, request: bytes, context: Any) -> bytes:
        """Fails as `CODE:DETAILS` says, before anything else is sent."""
        code, _, details = request.decode().partition(":")
        await context.abort(_code(int(code)), details, (("why-bin", b"\x01\x02"),))
        raise AssertionError

    async def fail_late(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Fails so after two messages."""
        code, _, details = request.decode().partition(":")
        yield b"one"
        yield b"two"
        await context.abort(_code(int(code)), details)

    async def wait(self, _request: bytes, _context: Any) -> bytes:
        """Answers with its name once the gate is open."""
        await self.gate.wait()
        return self.name.encode()

    async def hang(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        """Echoes, and never ends by itself."""
        async for request in requests:
            yield request
        await asyncio.Event().wait()

    async def left(self, _request: bytes, context: Any) -> bytes:
        """Seconds until the deadline, as this target sees it."""
        return json.dumps(context.time_remaining()).encode()

    async def stats(self, _request: bytes, _context: Any) -> bytes:
        return json.dumps(vars(self.counts)).encode()

    async def serve(self, request: bytes, _context: Any) -> bytes:
        """Sets what the health service says of `b"service"`: serving with b"+" in front, not serving with b"-"."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if request[:1] == b"+"
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        await self.health.set(request[1:].decode(), status)
        return b""

    async def open(self, _request: bytes, _context: Any) -> bytes:
        self.gate.set()
        return b""

    def one(self, method: Callable[[Any, Any], Awaitable[bytes]]) -> Callable[[Any, Any], Awaitable[bytes]]:
        """A method with one answer, counted."""

        async def counted(request: Any, context: Any) -> bytes:
            self._begin()
            try:
                return await method(request, context)
            except asyncio.CancelledError:
                self.counts.cancelled += 1
                raise
            finally:
                self._end()

        return counted

    def many(self, method: Callable[[Any, Any], AsyncIterator[bytes]]) -> Callable[[Any, Any], AsyncIterator[bytes]]:
        """A method with any number of answers, counted."""

        async def counted(request: Any, context: Any) -> AsyncIterator[bytes]:
            self._begin()
            try:
                async for answer in method(request, context):
                    yield answer
            except (asyncio.CancelledError, GeneratorExit):
                self.counts.cancelled += 1
                raise
            finally:
                self._end()

        return counted

    def _begin(self) -> None:
        counts = self.counts
        counts.calls += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)

    def _end(self) -> None:
        self.counts.in_flight -= 1
        self.counts.ended += 1

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        unary, spread = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        collect, echo = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        probe: dict[str, Any] = {
            "Unary": unary(self.one(self.unary)),
            "Collect": collect(self.one(self.collect)),
            "Spread": spread(self.many(self.spread)),
            "Echo": echo(self.many(self.echo)),
            "Metadata": unary(self.one(self.metadata)),
            "Fail": unary(self.one(self.fail)),
            "FailLate": spread(self.many(self.fail_late)),
            "Wait": unary(self.one(self.wait)),
            "Hang": echo(self.many(self.hang)),
            "Left": unary(self.one(self.left)),
        }
        control: dict[str, Any] = {
            "Stats": unary(self.stats),
            "Open": unary(self.open),
            "Serve": unary(self.serve),
        }
        return [
            grpc.method_handlers_generic_handler(SERVICE, probe),
            grpc.method_handlers_generic_handler(CONTROL, control),
        ]


def _pairs(context: Any) -> Iterable[tuple[str, str | bytes]]:
    return [(name, value) for name, value in context.invocation_metadata()]


def _code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def credentials(certificate: str) -> Any:
    pair = Path(f"{certificate}.key").read_bytes(), Path(f"{certificate}.pem").read_bytes()
    return grpc.ssl_server_credentials([pair])


async def serve_aio(port: int, certificate: str = "") -> None:
    server = grpc.aio.server(options=[*NO_LIMIT, ("grpc.so_reuseport", 0)])
    address = f"127.0.0.1:{port}"
    if certificate:
        bound = server.add_secure_port(address, credentials(certificate))
    else:
        bound = server.add_insecure_port(address)
    service = AioService(f"127.0.0.1:{bound}")
    server.add_generic_rpc_handlers(service.handlers())
    health_pb2_grpc.add_HealthServicer_to_server(service.health, server)
    await server.start()
    say_port(bound)
    await server.wait_for_termination()


# -- grpcio, threads ---------------------------------------------------------------------------------------------------


def serve_sync(port: int) -> None:
    def spread(request: bytes, _context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    probe: dict[str, Any] = {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _context: request),
        "Collect": grpc.stream_unary_rpc_method_handler(lambda requests, _context: b"|".join(requests)),
        "Spread": grpc.unary_stream_rpc_method_handler(spread),
        "Echo": grpc.stream_stream_rpc_method_handler(lambda requests, _context: requests),
    }
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, options=NO_LIMIT)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, probe),))
        say_port(server.add_insecure_port(f"127.0.0.1:{port}"))
        server.start()
        Event().wait()


# -- grpclib -----------------------------------------------------------------------------------------------------------


class Bytes(grpclib.encoding.base.CodecBase):
    """Messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class GrpclibService:
    """The same methods again."""

    async def unary(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def collect(self, stream: Any) -> None:
        await stream.send_message(b"|".join([request async for request in stream]))

    async def spread(self, stream: Any) -> None:
        for number in range(int(await stream.recv_message())):
            await stream.send_message(b"%d" % number)

    async def echo(self, stream: Any) -> None:
        async for request in stream:
            await stream.send_message(request)

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        kinds = grpclib.const.Cardinality
        methods = {
            "Unary": (self.unary, kinds.UNARY_UNARY),
            "Collect": (self.collect, kinds.STREAM_UNARY),
            "Spread": (self.spread, kinds.UNARY_STREAM),
            "Echo": (self.echo, kinds.STREAM_STREAM),
        }
        return {
            f"/{SERVICE}/{name}": grpclib.const.Handler(method, kind, bytes, bytes)
            for name, (method, kind) in methods.items()
        }


async def serve_grpclib(port: int) -> None:
    server = grpclib.server.Server([GrpclibService()], codec=Bytes())
    await server.start("127.0.0.1", port)
    inner: Any = server._server
    say_port(inner.sockets[0].getsockname()[1])
    await server.wait_closed()


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "aio":
        asyncio.run(serve_aio(port, *sys.argv[3:]))
    elif kind == "grpclib":
        asyncio.run(serve_grpclib(port))
    else:
        serve_sync(port)


if __name__ == "__main__":
    main()
