"""Scripted targets: they answer, hang, break off and lie as a test tells them to, and keep what they saw.

Owns: the event loop in a thread on which targets live, the connections that the balancer makes to them, their counts.
Refuses to know: the balancer.

A script is called for each request whose head has arrived. The test swaps it at any time; connections stay.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.scenarios.support.client import read_from
from tests.scenarios.support.messages import Buffer, ClosedEarlyError, Message, read_body, read_head
from tests.scenarios.support.polling import PATIENCE

Result = TypeVar("Result")


class Call:
    """One request at a target, and the connection to answer it on."""

    def __init__(self, target: "Target", streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.target = target
        self.reader, self.writer = streams
        self.buffer = Buffer()
        self.request = Message(b"", b"", [])
        self.body_read = False
        # How many requests this connection carried, this one included.
        self.number = 0

    async def body(self) -> bytes:
        """Reads the request's body; the connection can take another request then."""
        if not self.body_read:
            await read_from(self.reader, self.buffer, _body_of(self.buffer, self.request))
            self.body_read = True
        return self.request.body

    async def send(self, *pieces: bytes) -> None:
        """Says something, in as many writes as there are pieces."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def gone(self) -> None:
        """Waits until the balancer gives up on this connection, reading whatever comes."""
        with suppress(ConnectionError):
            while await self.reader.read(64 * 1024):
                pass

    def close(self) -> None:
        """Ends the connection in the ordinary way."""
        self.writer.close()

    def reset(self) -> None:
        """Ends the connection with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Call], Awaitable[None]]


def _body_of(buffer: Buffer, message: Message) -> Any:
    yield from read_body(buffer, message)
    return message


def answer(status: str = "200 OK", body: bytes = b"ok", *fields: str) -> bytes:
    """An answer with a body by length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def says(*pieces: bytes) -> Script:
    """Takes the whole request, then says this."""

    async def script(call: Call) -> None:
        await call.body()
        await call.send(*pieces)

    return script


def says_and_closes(*pieces: bytes) -> Script:
    """Takes the whole request, says this, and closes."""

    async def script(call: Call) -> None:
        await call.body()
        await call.send(*pieces)
        call.close()

    return script


async def echoes(call: Call) -> None:
    """Answers with the body of the request."""
    await call.send(answer("200 OK", await call.body()))


async def hangs(call: Call) -> None:
    """Takes the request and never answers."""
    await call.gone()


async def resets(call: Call) -> None:
    """Takes the request and resets the connection."""
    await call.body()
    call.reset()


class Gate:
    """Closed until the test opens it; scripts wait before it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        # How many waited here so far.
        self.reached = 0

    async def passed(self) -> None:
        """For scripts: waits until it is open."""
        self.reached += 1
        await self._event.wait()

    def open(self) -> None:
        """For tests: lets everybody through."""
        self._loop.call_soon_threadsafe(self._event.set)


class Target:
    """A scripted target on a port of its own. Counters are written by the stage's thread and read by the test's."""

    def __init__(self, stage: "Stage", script: Script, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.stage = stage
        self.script = script
        self.host = host
        self.tls = tls
        self.port = 0
        self.requests: list[Message] = []
        self.received = bytearray()
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.problems: list[str] = []
        self._server: asyncio.Server | None = None
        self._listens = False
        self._open: set[asyncio.StreamWriter] = set()
        # The loop itself holds tasks by weak references only.
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """For the configuration."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def name(self) -> str:
        """What the balancer calls it when the configuration does not."""
        return self.url.partition("://")[2]

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.target for request in self.requests]

    def forget(self, script: Script) -> None:
        """Starts another test: another script, empty records."""
        self.script = script
        self.requests.clear()
        self.received.clear()
        self.most_in_flight = 0

    def start(self) -> None:
        """Listens; on the same port as before when it had one."""
        self.stage.run(self._start())

    def stop(self) -> None:
        """Closes the port and breaks every connection, as a process that is killed does."""
        self.stage.run(self._stop())

    def close_idle(self) -> None:
        """Closes every connection, as a target does with those that are idle for too long."""
        self.stage.run(self._close_all())

    async def _start(self) -> None:
        self._listens = True
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, backlog=4096, reuse_port=True, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._listens = False
        if self._server is not None:
            # What was accepted in this turn of the loop becomes a connection first: a closed server takes no more, and
            # asyncio would leave that socket open with nobody to close it.
            for sock in self._server.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            await asyncio.sleep(0)
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _close_all(self) -> None:
        for writer in list(self._open):
            writer.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, called as the connection is made: a task may be cancelled before it knows of its connection.
        if not self._listens:
            writer.transport.abort()
            return
        self._open.add(writer)
        serving = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(Call(self, (_Recording(reader, self.received), writer)))
        except (ConnectionError, ClosedEarlyError):
            pass
        except Exception as error:  # noqa: BLE001  (it must reach the test, which runs in another thread)
            self.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self._open.discard(writer)
            writer.close()

    async def _converse(self, call: Call) -> None:
        counted = False
        while not call.writer.is_closing():
            if not call.buffer.data:
                call.buffer.feed(await call.reader.read(64 * 1024))
            if not call.buffer.data:
                return
            self.connections += not counted
            counted = True
            call.request = await read_from(call.reader, call.buffer, read_head(call.buffer))
            call.body_read = False
            call.number += 1
            self.requests.append(call.request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await self.script(call)
            finally:
                self.in_flight -= 1
            if not call.body_read and has_body(call.request):
                return


def has_body(request: Message) -> bool:
    """Whether a request has a body."""
    return request.chunked or request.get("content-length") not in {None, "0"}


class _Recording(asyncio.StreamReader):
    """Passes reads on and keeps the bytes."""

    def __init__(self, inner: asyncio.StreamReader, record: bytearray) -> None:
        super().__init__()
        self._inner = inner
        self._record = record

    async def read(self, n: int = -1) -> bytes:
        data = await self._inner.read(n)
        if len(self._record) < 1024 * 1024:
            self._record += data
        return data


class Stage:
    """An event loop in a thread of its own, and the targets on it."""

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
        problems = [problem for target in self.targets for problem in target.problems]
        assert not problems, f"a script failed: {problems}"

    def target(
        self, script: Script | None = None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> Target:
        """A target that listens; it answers 200 `ok` to everything unless told otherwise."""
        target = Target(self, script or says(answer()), host, tls)
        target.start()
        self.targets.append(target)
        return target

    def closed_port(self) -> Target:
        """A target that nobody can connect to; its port stays free of others while the test runs."""
        target = self.target()
        target.stop()
        return target

    def gate(self) -> Gate:
        """A closed gate."""
        return self.run(self._make_gate())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine on the loop, for the test's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _make_gate(self) -> Gate:
        return Gate(self._loop)

    async def _end(self) -> None:
        for target in self.targets:
            await target._stop()
        # Connections that were being accepted get to their target, which turns them away.
        for _ in range(3):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
