"""Scripted targets that speak HTTP/2, strictly: whatever the balancer says that `h2` does not allow fails the test.

Owns: the connections that the balancer makes to such a target, the streams on them, and what was seen of each.
Refuses to know: the balancer.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame, SettingsFrame

from tests.scenarios.support.messages import ClosedEarlyError, Message
from tests.scenarios.support.stage import Stage, Target, says

UNLIMITED = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0x7FFF_FFFF}

Http2Script = Callable[["Http2Call"], Awaitable[None]]
Pairs = list[tuple[str, str]]


class StreamGoneError(ConnectionError):
    """The balancer reset the stream, or the connection ended."""


class Http2Call:
    """One request at a target, and the stream to answer it on."""

    def __init__(self, connection: "Http2Connection", stream: int, request: Message) -> None:
        self.connection = connection
        self.stream = stream
        self.request = request
        # With what error the balancer reset it; None while it did not.
        self.reset_code: int | None = None
        self.lost = False
        self.ended = False
        self._pieces: list[tuple[bytes, int]] = []
        self._news = asyncio.Event()

    # What comes

    async def read(self) -> bytes:
        """The next piece of the body; nothing is its end. Only what was read is granted anew."""
        while not self._pieces:
            if self.ended:
                return b""
            await self._more()
        piece, size = self._pieces.pop(0)
        self.connection.granted(size, self.stream)
        await self.connection.flush()
        return piece

    async def body(self) -> bytes:
        """The whole body; the trailers are in the request then."""
        pieces = [self.request.body]
        while piece := await self.read():
            pieces.append(piece)
        self.request.body = b"".join(pieces)
        return self.request.body

    async def gone(self) -> None:
        """Waits until the balancer gives up on this stream."""
        with suppress(StreamGoneError):
            while True:
                await self._more()

    # What goes

    async def interim(self, status: int, *fields: tuple[str, str]) -> None:
        """An answer before the answer."""
        self.connection.http2.send_headers(self.stream, [(":status", str(status)), *fields])
        await self.connection.flush()

    async def head(self, status: int, *fields: tuple[str, str], end: bool = False) -> None:
        """The answer's head."""
        self._check()
        self.connection.http2.send_headers(self.stream, [(":status", str(status)), *fields], end_stream=end)
        await self.connection.flush()

    async def write(self, data: bytes) -> None:
        """A piece of the answer, as far as the balancer allows; waits for it to allow more."""
        http2 = self.connection.http2
        while data:
            self._check()
            size = min(http2.local_flow_control_window(self.stream), http2.max_outbound_frame_size, len(data))
            if size <= 0:
                await self._more()
                continue
            http2.send_data(self.stream, data[:size])
            data = data[size:]
            await self.connection.flush()

    async def end(self, *trailers: tuple[str, str]) -> None:
        """The end of the answer."""
        self._check()
        if trailers:
            self.connection.http2.send_headers(self.stream, list(trailers), end_stream=True)
        else:
            self.connection.http2.end_stream(self.stream)
        await self.connection.flush()

    async def reset(self, code: int = h2.errors.ErrorCodes.INTERNAL_ERROR) -> None:
        """Ends the stream, and leaves the others alone."""
        await self.connection.say(RstStreamFrame(self.stream, error_code=code))
        self.lost = True

    # For the connection

    def arrived(self, piece: bytes, size: int) -> None:
        """A piece of the body came."""
        self._pieces.append((piece, size))
        self._news.set()

    def news(self) -> None:
        """Something changed: whoever waits looks again."""
        self._news.set()

    async def _more(self) -> None:
        self._check()
        self._news.clear()
        await self._news.wait()

    def _check(self) -> None:
        if self.reset_code is not None or self.lost:
            raise StreamGoneError(f"stream {self.stream}: {self.reset_code}")


class Http2Connection:
    """One connection that the balancer made."""

    def __init__(self, target: "Http2Target", streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.target = target
        self.reader, self.writer = streams
        # It checks what comes by RFC 9113, and leaves to the test what goes.
        config = h2.config.H2Configuration(
            client_side=False, header_encoding="latin-1", validate_outbound_headers=False
        )
        self.http2 = h2.connection.H2Connection(config)
        self.http2.local_settings = h2.settings.Settings(client=False, initial_values=target.settings)
        # What it takes is known to the balancer once that has said so; until then a stream too many is refused.
        self.most_allowed = int(target.settings.get(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS, 100))
        self.acknowledged = False
        self.calls: dict[int, Http2Call] = {}
        # The most streams that were open at a time.
        self.most_streams = 0
        # How many requests it carried.
        self.carried = 0
        self.goaway: int | None = None

    async def serve(self) -> None:
        """Until the balancer closes."""
        self.http2.initiate_connection()
        # From here on the number of streams is looked after here, see `_begin`.
        self.http2.local_settings = h2.settings.Settings(client=False, initial_values=self.target.settings | UNLIMITED)
        await self.flush()
        async with asyncio.TaskGroup() as tasks:
            while data := await self._read():
                if self not in self.target.made:
                    # A probe of TCP says nothing.
                    self.target.made.append(self)
                    self.target.connections += 1
                for event in self.http2.receive_data(data):
                    self._take(event, tasks)
                await self.flush()
            for call in list(self.calls.values()):
                call.lost = True
                call.news()

    async def _read(self) -> bytes:
        with suppress(ConnectionError):
            return await self.reader.read(256 * 1024)
        return b""

    async def flush(self) -> None:
        """Sends what `h2` has to send."""
        data = self.http2.data_to_send()
        if data and not self.writer.is_closing():
            self.writer.write(data)
            with suppress(ConnectionError):
                await self.writer.drain()

    async def say(self, frame: Frame) -> None:
        """Sends a frame that `h2` knows nothing of."""
        await self.flush()
        self.writer.write(frame.serialize())

    async def leave(self, last: int, code: int = 0) -> None:
        """Says GOAWAY; streams up to `last` go on."""
        frame = GoAwayFrame(0)
        frame.last_stream_id = last
        frame.error_code = code
        await self.say(frame)

    async def change(self, values: dict[int, int]) -> None:
        """Says SETTINGS in the middle, as `h2` would not after its own: without waiting for the acknowledgement."""
        frame = SettingsFrame(0)
        frame.settings = values
        await self.say(frame)

    def granted(self, size: int, stream: int) -> None:
        """Allows as many bytes more as were read."""
        if size:
            with suppress(h2.exceptions.StreamClosedError):
                self.http2.acknowledge_received_data(size, stream)

    def _take(self, event: h2.events.Event, tasks: asyncio.TaskGroup) -> None:
        stream = getattr(event, "stream_id", None)
        call = self.calls.get(stream) if isinstance(stream, int) else None
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event, tasks)
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.acknowledged = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        elif isinstance(event, h2.events.DataReceived):
            if call is None:
                self.granted(event.flow_controlled_length, event.stream_id)
            else:
                call.arrived(event.data, event.flow_controlled_length)
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for each in list(self.calls.values()):
                each.news()
        elif call is not None:
            self._end(event, call)

    def _begin(self, event: h2.events.RequestReceived, tasks: asyncio.TaskGroup) -> None:
        fields: Pairs = [(str(name), str(value)) for name, value in event.headers or []]
        # A call that was reset goes on here until its script has noticed.
        if sum(call.reset_code is None for call in self.calls.values()) >= self.most_allowed:
            if self.acknowledged:
                self.target.problems.append(f"stream {event.stream_id} is one more than {self.most_allowed}")
            with suppress(h2.exceptions.StreamClosedError):
                self.http2.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        call = Http2Call(self, int(event.stream_id), request_of(fields))
        self.calls[call.stream] = call
        self.carried += 1
        open_now = sum(call.reset_code is None for call in self.calls.values())
        self.most_streams = max(self.most_streams, open_now)
        self.target.begun(call)
        tasks.create_task(self._run(call))

    def _end(self, event: h2.events.Event, call: Http2Call) -> None:
        if isinstance(event, h2.events.TrailersReceived):
            call.request.trailers = [(str(name), str(value)) for name, value in event.headers or []]
        elif isinstance(event, h2.events.StreamEnded):
            call.ended = True
        elif isinstance(event, h2.events.StreamReset):
            call.reset_code = int(event.error_code or 0)
            self.target.resets.append((call.request.target, call.reset_code))
        call.news()

    async def _run(self, call: Http2Call) -> None:
        try:
            await self.target.http2_script(call)
        except (StreamGoneError, h2.exceptions.StreamClosedError):
            pass
        except Exception as error:  # noqa: BLE001  (it must reach the test, which runs in another thread)
            self.target.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self.target.in_flight -= 1
            self.calls.pop(call.stream, None)


def request_of(fields: Pairs) -> Message:
    """A request as those of HTTP/1 are given to tests: :authority is `host`, the other pseudo-fields the first line."""
    pseudo = dict(field for field in fields if field[0].startswith(":"))
    rest = [field for field in fields if not field[0].startswith(":")]
    line = f"{pseudo[':method']} {pseudo.get(':path', '')} HTTP/2".encode("latin-1")
    if ":authority" in pseudo:
        rest.insert(0, ("host", pseudo[":authority"]))
    return Message(b"", line, rest)


class Http2Target(Target):
    """A scripted target of HTTP/2 in clear text, with prior knowledge."""

    def __init__(self, stage: Stage, script: Http2Script, settings: dict[int, int] | None = None) -> None:
        super().__init__(stage, says(), "127.0.0.1")
        self.http2_script = script
        # What it tells the balancer first.
        self.settings: Any = settings or {}
        self.calls: list[Http2Call] = []
        self.made: list[Http2Connection] = []
        # Path and error of each stream that the balancer reset.
        self.resets: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        """For the configuration."""
        return f"h2c://{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """What the balancer calls it when the configuration does not."""
        return f"{self.host}:{self.port}"

    def begun(self, call: Http2Call) -> None:
        """A request came."""
        self.calls.append(call)
        self.requests.append(call.request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def start_again(self, script: Http2Script) -> None:
        """Starts another test: another script, empty records. Connections stay."""
        self.http2_script = script
        self.calls.clear()
        self.requests.clear()
        self.resets.clear()
        self.most_in_flight = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Without it the last frames of a stream wait for an acknowledgement of those before them.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(writer)
        try:
            await Http2Connection(self, (reader, writer)).serve()
        except (ConnectionError, ClosedEarlyError):
            pass
        except Exception as error:  # noqa: BLE001  (it must reach the test, which runs in another thread)
            self.problems.append(f"{type(error).__name__}: {error}")
        finally:
            self._open.discard(writer)
            writer.close()


def http2_target(stage: Stage, script: Http2Script, settings: dict[int, int] | None = None) -> Http2Target:
    """A target that listens."""
    target = Http2Target(stage, script, settings)
    target.start()
    stage.targets.append(target)
    return target


async def answers(call: Http2Call) -> None:
    """Takes the whole request and answers 200 `ok`."""
    await call.body()
    await call.head(200, ("content-length", "2"))
    await call.write(b"ok")
    await call.end()


async def echoes(call: Http2Call) -> None:
    """Answers with the body of the request."""
    body = await call.body()
    await call.head(200, ("content-length", str(len(body))))
    await call.write(body)
    await call.end()


async def hangs(call: Http2Call) -> None:
    """Takes the request and never answers."""
    await call.gone()
