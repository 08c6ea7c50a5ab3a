"""gRPC targets in processes of their own, and clients of three kinds that look alike to a test.

Owns: the life of a target, a test's own line to it; calls by grpcio (threads and aio) and grpclib.
Refuses to know: the balancer.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpclib.client
import grpclib.const

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.grpc_service import CONTROL, NO_LIMIT, SERVICE, Bytes
from tests.scenarios.support.polling import PATIENCE, eventually

SERVER = Path(__file__).with_name("grpc_service.py")


class GrpcTarget:
    """One target as a process; after a kill it can be started again on its port.

    With a certificate (`NAME.pem` and `NAME.key` in its folder) it speaks TLS; then a test cannot ask it directly.
    """

    def __init__(self, folder: Path, kind: str = "aio", certificate: str = "") -> None:
        self.kind = kind
        self.certificate = certificate
        self.port = 0
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Any = None
        self._starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """For the configuration."""
        return f"{'https' if self.certificate else 'h2c'}://{self.name}"

    @property
    def name(self) -> str:
        """What the balancer calls it, and what it calls itself."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        self._starts += 1
        out = self._folder / f"grpc-{self.kind}-{id(self)}-{self._starts}.out"
        tls = [str(self._folder / self.certificate)] if self.certificate else []
        environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
        with out.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), self.kind, str(self.port), *tls],
                env=environment,
                stdout=file,
                stdin=subprocess.DEVNULL,
            )
        process = self._process
        eventually(lambda: out.read_text().endswith("\n") or process.poll() is not None)
        self.port = int(out.read_text())

    def kill(self) -> None:
        """kill -9."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Signals it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stats(self) -> dict[str, int]:
        """What it counted so far: calls, in_flight, most_in_flight, cancelled, ended."""
        found: dict[str, int] = json.loads(self._control("Stats"))
        return found

    def open_gate(self) -> None:
        """Lets all calls of `Wait` answer."""
        self._control("Open")

    def say_health(self, service: str, *, serving: bool) -> None:
        """Sets what its health service says."""
        self._control("Serve", (b"+" if serving else b"-") + service.encode())

    def _control(self, method: str, request: bytes = b"") -> bytes:
        """Asks it directly, past the balancer."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(self.name)
        answer: bytes = self._channel.unary_unary(f"/{CONTROL}/{method}")(request, timeout=PATIENCE)
        return answer


def unless_unavailable(call: Callable[[], bytes]) -> bytes | None:
    """What a call brings; None while no target can take it. A target is up in the log before all workers know."""
    try:
        return call()
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None


class SyncClient:
    """A channel of grpcio with threads."""

    def __init__(self, port: int, *options: tuple[str, Any], compression: grpc.Compression | None = None) -> None:
        self.channel: Any = grpc.insecure_channel(f"127.0.0.1:{port}", [*NO_LIMIT, *options], compression)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def method(self, name: str) -> Any:
        """A method with one message each way."""
        return self.channel.unary_unary(f"/{SERVICE}/{name}")

    def one(self, name: str, request: bytes, **options: Any) -> bytes:
        """One message there, one back."""
        answer: bytes = self.method(name)(request, **{"timeout": PATIENCE, **options})
        return answer

    def collect(self, name: str, requests: Sequence[bytes]) -> bytes:
        """Many there, one back."""
        answer: bytes = self.channel.stream_unary(f"/{SERVICE}/{name}")(iter(requests), timeout=PATIENCE)
        return answer

    def spread(self, name: str, request: bytes) -> list[bytes]:
        """One there, many back."""
        return list(self.channel.unary_stream(f"/{SERVICE}/{name}")(request, timeout=PATIENCE))

    def echo(self, name: str, requests: Sequence[bytes]) -> list[bytes]:
        """Many there, many back."""
        return list(self.channel.stream_stream(f"/{SERVICE}/{name}")(iter(requests), timeout=PATIENCE))


def four_shapes_sync(port: int) -> list[object]:
    """One call of each shape, by grpcio with threads."""
    with SyncClient(port) as client:
        return [
            client.one("Unary", b"one"),
            client.collect("Collect", [b"a", b"", b"c"]),
            client.spread("Spread", b"3"),
            client.echo("Echo", [b"x", b"y" * 100_000, b"z"]),
        ]


def four_shapes_aio(port: int) -> list[object]:
    """The same, by grpcio's aio."""

    async def run() -> list[object]:
        async def each(messages: Sequence[bytes]) -> AsyncIterator[bytes]:
            for message in messages:
                yield message

        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", NO_LIMIT) as channel:
            path = f"/{SERVICE}"
            collect = channel.stream_unary(f"{path}/Collect")
            spread = channel.unary_stream(f"{path}/Spread")
            echo = channel.stream_stream(f"{path}/Echo")
            return [
                await channel.unary_unary(f"{path}/Unary")(b"one"),
                await collect(each([b"a", b"", b"c"])),
                [message async for message in spread(b"3")],
                [message async for message in echo(each([b"x", b"y" * 100_000, b"z"]))],
            ]

    answers: list[object] = run_async(run)
    return answers


def four_shapes_grpclib(port: int) -> list[object]:
    """The same, by grpclib."""

    async def run() -> list[object]:
        async with grpclib.client.Channel("127.0.0.1", port, codec=Bytes()) as channel:
            return [
                await _grpclib_call(channel, "Unary", [b"one"], many=False),
                await _grpclib_call(channel, "Collect", [b"a", b"", b"c"], many=False),
                await _grpclib_call(channel, "Spread", [b"3"], many=True),
                await _grpclib_call(channel, "Echo", [b"x", b"y" * 100_000, b"z"], many=True),
            ]

    answers: list[object] = run_async(run)
    return answers


async def _grpclib_call(channel: grpclib.client.Channel, name: str, messages: list[bytes], *, many: bool) -> object:
    shapes = grpclib.const.Cardinality
    shape = {
        (False, False): shapes.UNARY_UNARY,
        (True, False): shapes.STREAM_UNARY,
        (False, True): shapes.UNARY_STREAM,
        (True, True): shapes.STREAM_STREAM,
    }[len(messages) > 1, many]
    async with channel.request(f"/{SERVICE}/{name}", shape, bytes, bytes) as stream:
        *others, last = messages
        for message in others:
            await stream.send_message(message)
        await stream.send_message(last, end=True)
        return [answer async for answer in stream] if many else await stream.recv_message()


FOUR_ANSWERS: list[object] = [b"one", b"a||c", [b"0", b"1", b"2"], [b"x", b"y" * 100_000, b"z"]]
CLIENTS: dict[str, Callable[[int], list[object]]] = {
    "sync": four_shapes_sync,
    "aio": four_shapes_aio,
    "grpclib": four_shapes_grpclib,
}


def run_async(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs it on a loop of its own, within the patience of all scenarios."""

    async def within() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work()

    return asyncio.run(within())


class GrpcStage:
    """The targets of a test, and the balancers before them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.targets: list[GrpcTarget] = []
        self._all = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._all.close()

    def target(self, kind: str = "aio", certificate: str = "") -> GrpcTarget:
        """A target that listens."""
        target = self._all.enter_context(GrpcTarget(self.folder, kind, certificate))
        self.targets.append(target)
        return target

    def client(self, balancer: Balancer, *options: tuple[str, Any], **more: Any) -> SyncClient:
        """A channel with threads, closed with the test."""
        return self._all.enter_context(SyncClient(balancer.port, *options, **more))
