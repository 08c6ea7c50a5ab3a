"""One way to talk to the balancer and one to answer it, whichever protocol is spoken on either side.

Owns: an exchange as a client sees it (`Line`) and as a target does (`Turn`), over HTTP/1 and HTTP/2.
Refuses to know: what is said in it.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable

from tests.scenarios.support.client import Client
from tests.scenarios.support.http2_client import Http2Client
from tests.scenarios.support.http2_client import head as http2_head
from tests.scenarios.support.http2_target import Http2Call, http2_target
from tests.scenarios.support.messages import ClosedEarlyError, Message, parse_fields
from tests.scenarios.support.stage import Call, Stage, Target, has_body

Pair = tuple[str, str]
# How the length of a body is told: before it, by framing that ends it, or (of an answer of HTTP/1) by the close.
LENGTH, OPEN, UNTIL_CLOSE = "by length", "open", "until close"


class Turn(ABC):
    """A request at a target, to be answered."""

    request: Message

    @abstractmethod
    async def read(self) -> bytes:
        """The next piece of the body; nothing is its end."""

    async def body(self) -> bytes:
        """The whole body; trailers are in the request then."""
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        self.request.body = b"".join(pieces)
        return self.request.body

    @abstractmethod
    async def interim(self, status: int, *fields: Pair) -> None:
        """An answer before the answer."""

    @abstractmethod
    async def head(self, status: int, *fields: Pair, framing: str = OPEN) -> None:
        """The answer's head; with `LENGTH` the length is among the fields."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """A piece of the answer."""

    @abstractmethod
    async def end(self, *trailers: Pair) -> None:
        """The end of the answer."""

    @abstractmethod
    async def break_off(self) -> None:
        """Gives up in the middle: a stream or a connection that is reset."""

    @abstractmethod
    async def gone(self) -> None:
        """Waits until the balancer has given up."""

    async def answer(self, body: bytes, *fields: Pair, status: int = 200) -> None:
        """A whole answer, by length."""
        await self.head(status, ("content-length", str(len(body))), *fields, framing=LENGTH)
        await self.write(body)
        await self.end()


class Turn1(Turn):
    """Over HTTP/1."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request = call.request
        self.framing = LENGTH
        self._left = int(self.request.get("content-length") or 0)
        self._ended = not has_body(self.request)

    async def read(self) -> bytes:
        buffer = self.call.buffer
        if self._ended:
            return b""
        if not self.request.chunked:
            await self._have(1)
            piece = buffer.take(min(self._left, len(buffer.data)))
            self._left -= len(piece)
            if self._left == 0:
                self._end()
            return piece
        size = int((await self._line()).partition(b";")[0], 16)
        if size:
            await self._have(size + 2)
            return buffer.take(size + 2)[:-2]
        lines = []
        while line := await self._line():
            lines.append(line)
        self.request.trailers = parse_fields(b"\r\n".join(lines))
        self._end()
        return b""

    def _end(self) -> None:
        self._ended = True
        self.call.body_read = True

    async def _line(self) -> bytes:
        buffer = self.call.buffer
        while b"\r\n" not in buffer.data:
            await self._have(len(buffer.data) + 1)
        return buffer.take(buffer.data.index(b"\r\n") + 2)[:-2]

    async def _have(self, size: int) -> None:
        buffer = self.call.buffer
        while len(buffer.data) < size:
            if buffer.ended:
                raise ClosedEarlyError(bytes(buffer.data))
            buffer.feed(await self.call.reader.read(64 * 1024))

    async def interim(self, status: int, *fields: Pair) -> None:
        await self.call.send(_head_lines(f"HTTP/1.1 {status} Interim", fields))

    async def head(self, status: int, *fields: Pair, framing: str = OPEN) -> None:
        self.framing = framing
        more = [("Transfer-Encoding", "chunked")] if framing == OPEN else []
        await self.call.send(_head_lines(f"HTTP/1.1 {status} Final", (*fields, *more)))

    async def write(self, data: bytes) -> None:
        if data:
            await self.call.send(b"%x\r\n%b\r\n" % (len(data), data) if self.framing == OPEN else data)

    async def end(self, *trailers: Pair) -> None:
        if self.framing == OPEN:
            await self.call.send(b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n")
        elif self.framing == UNTIL_CLOSE:
            self.call.close()

    async def break_off(self) -> None:
        self.call.reset()

    async def gone(self) -> None:
        await self.call.gone()


class Turn2(Turn):
    """Over HTTP/2."""

    def __init__(self, call: Http2Call) -> None:
        self.call = call
        self.request = call.request

    async def read(self) -> bytes:
        return await self.call.read()

    async def interim(self, status: int, *fields: Pair) -> None:
        await self.call.interim(status, *fields)

    async def head(self, status: int, *fields: Pair, framing: str = OPEN) -> None:
        await self.call.head(status, *fields)

    async def write(self, data: bytes) -> None:
        await self.call.write(data)

    async def end(self, *trailers: Pair) -> None:
        await self.call.end(*trailers)

    async def break_off(self) -> None:
        await self.call.reset()

    async def gone(self) -> None:
        await self.call.gone()


def _head_lines(line: str, fields: Iterable[Pair]) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


TurnScript = Callable[[Turn], Awaitable[None]]


def target_of(stage: Stage, protocol: str, script: TurnScript) -> Target:
    """A target that speaks "h1" or "h2"."""
    if protocol == "h2":
        return http2_target(stage, lambda call: script(Turn2(call)))
    return stage.target(lambda call: script(Turn1(call)))


class Line(ABC):
    """A client's connection, with one exchange at a time on it."""

    def __init__(self) -> None:
        self.interims: list[Message] = []

    @abstractmethod
    def begin(self, method: str, path: str, *fields: str, body: str | None = None) -> None:
        """Sends a head; `body` is `LENGTH` (which is among the fields then), `OPEN`, or None when there is none."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Sends a piece of the body."""

    @abstractmethod
    def end(self, *trailers: Pair) -> None:
        """Ends the body."""

    @abstractmethod
    def interim(self) -> Message:
        """The next answer that is not the final one."""

    @abstractmethod
    def head(self) -> Message:
        """The head of the final answer; what came before it is in `interims`."""

    @abstractmethod
    def receive(self, size: int) -> bytes:
        """So many bytes of the answer's body, which must not be all of it."""

    @abstractmethod
    def answer(self) -> Message:
        """The whole answer."""

    @abstractmethod
    def cancel(self) -> None:
        """Gives up on the exchange."""

    @abstractmethod
    def close(self) -> None:
        """Leaves."""

    def ask(self, method: str, path: str, *fields: str, body: bytes | None = None) -> Message:
        """A whole exchange, with a body by length if there is one."""
        if body is None:
            self.begin(method, path, *fields)
        else:
            self.begin(method, path, *fields, f"content-length: {len(body)}", body=LENGTH)
            self.write(body)
            self.end()
        return self.answer()


class Line1(Line):
    """Over HTTP/1."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.client = Client(port)
        self.method = ""
        self.framing: str | None = None
        self._head: Message | None = None

    def begin(self, method: str, path: str, *fields: str, body: str | None = None) -> None:
        self.method, self.framing, self._head, self.interims = method, body, None, []
        lines = [f"{method} {path} HTTP/1.1", "Host: example.org", *fields]
        if body == OPEN:
            lines.append("Transfer-Encoding: chunked")
        self.client.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def write(self, data: bytes) -> None:
        if data:
            self.client.send(b"%x\r\n%b\r\n" % (len(data), data) if self.framing == OPEN else data)

    def end(self, *trailers: Pair) -> None:
        if self.framing == OPEN:
            self.client.send(b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n")

    def interim(self) -> Message:
        message = self.client.answer(self.method)
        assert message.status < 200, message
        self.interims.append(message)
        return message

    def head(self) -> Message:
        while True:
            message = self.client.head()
            if message.status >= 200:
                return message
            self.interims.append(message)

    def receive(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            length = int(self.client.receive_until(b"\r\n"), 16)
            taken += self.client.receive(length + 2)[:-2]
        assert len(taken) == size
        return taken

    def answer(self) -> Message:
        while True:
            message = self.client.answer(self.method)
            if message.status >= 200:
                return message
            self.interims.append(message)

    def cancel(self) -> None:
        self.client.reset()

    def close(self) -> None:
        self.client.close()


class Line2(Line):
    """Over HTTP/2."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.client = Http2Client(port)
        self.stream = 0

    def begin(self, method: str, path: str, *fields: str, body: str | None = None) -> None:
        lowered = [f"{name.lower()}: {value}" for name, _, value in (line.partition(": ") for line in fields)]
        self.stream = self.client.request(http2_head(method, path, *lowered), end=body is None)
        self.interims = self.client.streams[self.stream].interims

    def write(self, data: bytes) -> None:
        self.client.write(self.stream, data)

    def end(self, *trailers: Pair) -> None:
        if trailers:
            self.client.trailers(self.stream, [(name.encode(), value.encode()) for name, value in trailers])
        else:
            self.client.write(self.stream, b"", end=True)

    def interim(self) -> Message:
        mine = self.client.streams[self.stream]
        seen = len(mine.interims)
        if not seen:
            self.client.wait(lambda: mine.interims, "an interim answer")
        return mine.interims[-1]

    def head(self) -> Message:
        return self.client.head(self.stream)

    def receive(self, size: int) -> bytes:
        return self.client.receive(self.stream, size)

    def answer(self) -> Message:
        return self.client.answer(self.stream)

    def cancel(self) -> None:
        self.client.reset(self.stream)

    def close(self) -> None:
        self.client.close()


def line_to(port: int, protocol: str) -> Line:
    """A client's connection that speaks "h1" or "h2"."""
    return Line2(port) if protocol == "h2" else Line1(port)
