"""gRPC clients of grpcio, and WebSocket clients of the library websockets.

Owns: what they say, and whether the echo is right.
Refuses to know: connections, which are the libraries' own.
"""

import asyncio
import math
import random
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from benchmarks.soak.client import HOST, NAME, PATIENCE_S, Client, Side
from benchmarks.soak.plans import content
from benchmarks.soak.record import Loss, Record, Request
from benchmarks.soak.target_calls import SERVICE

LEAVES: Final = 0.03
# What grpcio says when a call ends while it writes a message: the status that came is lost with it.
_NOTHING_KNOWN: Final = "Internal error from Core"
# The statuses of HTTP that the balancer's own statuses of gRPC stand for.
STATUSES: Final = {
    grpc.StatusCode.UNAVAILABLE: 502,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}


def channel(side: Side, certificate: bytes) -> Any:
    """A connection of grpcio, which no other channel shares."""
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        # What a client does by itself would hide what the balancer does not do.
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", -1),
        # After a connection that failed while it was made, a channel fails every call until its pause is over. Its own
        # first pause of 0.8 to 1.2 s would outlast the second in which `rules` blames calls on a killed worker.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    if side.tls is None:
        return grpc.aio.insecure_channel(f"{HOST}:{side.port}", options)
    options.append(("grpc.ssl_target_name_override", NAME))
    return grpc.aio.secure_channel(f"{HOST}:{side.port}", grpc.ssl_channel_credentials(certificate), options)


class CallClient(Client):
    """Calls one method after the other: mostly `Echo`, sometimes `Talk` with some messages each way."""

    def __init__(self, name: str, shared: Any, record: Record, draw: random.Random) -> None:
        """`shared` is the channel; the first client that closes it closes it for all."""
        super().__init__(name, record, draw)
        self._channel = shared
        self._echo: Any = shared.unary_unary(f"/{SERVICE}/Echo")
        self._talk: Any = shared.stream_stream(f"/{SERVICE}/Talk")

    async def step(self) -> None:
        """See `Client.step`."""
        # grpcio does not say which connection a call had, so any may have been the dead worker's.
        request = self.record.begin(self.name, "calls", safe=False, connected=-math.inf)
        messages = [self.draw.randbytes(8) + content(self.draw.randrange(3000))]
        talks = self.draw.random() < 0.3
        if talks:
            messages *= self.draw.randrange(1, 9)
        metadata = (("x-request-id", request.request_id),)
        method = self._talk if talks else self._echo
        call = method(_stream(messages) if talks else messages[0], metadata=metadata, timeout=PATIENCE_S)
        got: list[bytes] = []
        if self.draw.random() < LEAVES:
            await asyncio.sleep(self.draw.random() / 50)
            call.cancel()
            self.record.left(request)
            return
        try:
            if talks:
                got.extend([message async for message in call])
            else:
                got.append(await call)
            trailers = {str(name): value for name, value in await call.trailing_metadata()}
        except grpc.aio.AioRpcError as error:
            self._failed(request, error, begun=bool(got) or bool(await call.initial_metadata()))
            return
        if got != messages or trailers.get("x-saw") != request.request_id:
            self.record.failed(request, Loss.WRONG, f"{len(got)} of {len(messages)} messages, {trailers}")
        else:
            self.record.good(request, 200)

    async def close(self) -> None:
        """See `Client.close`."""
        await self._channel.close()

    def _failed(self, request: Request, error: grpc.aio.AioRpcError, *, begun: bool) -> None:
        code, detail = error.code(), f"{error.code().name} {error.details()}"
        names = {str(name) for name, _value in (*error.trailing_metadata(), *error.initial_metadata())}
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - request.started > PATIENCE_S - 1:
            self.record.failed(request, Loss.SILENT, detail)
        elif begun or error.details() == _NOTHING_KNOWN:
            self.record.failed(request, Loss.CUT, detail)
        elif "x-request-id" in names or code is not grpc.StatusCode.UNAVAILABLE:
            self.record.failed(request, Loss.STATUS, detail, STATUSES.get(code, 500))
        else:
            self.record.failed(request, Loss.LOST, detail)


async def _stream(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
        await asyncio.sleep(0.005)


class SocketClient(Client):
    """Opens a WebSocket, has some messages echoed, closes it in the ordinary way or not at all."""

    def __init__(self, name: str, side: Side, record: Record, draw: random.Random) -> None:
        super().__init__(name, record, draw)
        self._side = side

    async def step(self) -> None:
        """See `Client.step`."""
        request = self.record.begin(self.name, "sockets", safe=False, connected=time.monotonic())
        tls: ssl.SSLContext | None = self._side.tls
        scheme = "ws" if tls is None else "wss"
        opened = False
        try:
            async with (
                asyncio.timeout(PATIENCE_S),
                connect(
                    f"{scheme}://{NAME}:{self._side.port}/sockets",
                    host=HOST,
                    ssl=tls,
                    proxy=None,
                    compression=None,
                    additional_headers={"X-Request-Id": request.request_id},
                    ping_interval=None,
                    max_size=None,
                ) as socket,
            ):
                opened = True
                if not await self._talk(socket):
                    self.record.failed(request, Loss.WRONG, "an echo differs")
                    return
                if self.draw.random() < LEAVES:
                    socket.transport.abort()
                    self.record.left(request)
                    return
        except TimeoutError:
            self.record.failed(request, Loss.SILENT)
        except InvalidStatus as error:
            self.record.failed(request, Loss.STATUS, "", error.response.status_code)
        except (OSError, EOFError, WebSocketException) as error:
            self.record.failed(request, Loss.CUT if opened else Loss.LOST, f"{type(error).__name__} {error}")
        else:
            self.record.good(request, 101)

    async def close(self) -> None:
        """See `Client.close`."""

    async def _talk(self, socket: Any) -> bool:
        for _ in range(self.draw.randrange(1, 30)):
            message = self.draw.randbytes(8) + content(self.draw.randrange(5000))
            await socket.send(message)
            if await socket.recv() != message:
                return False
            await asyncio.sleep(self.draw.random() / 20)
        return True
