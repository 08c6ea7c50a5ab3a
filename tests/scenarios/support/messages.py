"""HTTP/1 messages as a peer of the balancer reads them: strictly, and nothing is corrected.

Owns: the heads and bodies of requests and answers, taken from bytes that arrive in pieces.
Refuses to know: sockets; a generator asks for more bytes by yielding.
"""

from collections.abc import Generator
from dataclasses import dataclass, field

Reading = Generator[None, None, "Message"]


class ClosedEarlyError(Exception):
    """The connection ended in the middle of a message; `got` is what had arrived of it."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"closed after {got[-200:]!r}")
        self.got = got


class Buffer:
    """What arrived on a connection and was not read yet."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Takes what one read returned; nothing is the end."""
        if data:
            self.data += data
        else:
            self.ended = True

    def take(self, size: int) -> bytes:
        """Takes bytes that are there."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def until(self, mark: bytes) -> Generator[None, None, bytes]:
        """Takes everything up to and including `mark`."""
        at = 0
        while (found := self.data.find(mark, max(0, at - len(mark)))) < 0:
            at = len(self.data)
            if self.ended:
                raise ClosedEarlyError(bytes(self.data))
            yield
        return self.take(found + len(mark))

    def exactly(self, size: int) -> Generator[None, None, bytes]:
        """Takes so many bytes."""
        while len(self.data) < size:
            if self.ended:
                raise ClosedEarlyError(bytes(self.data))
            yield
        return self.take(size)

    def rest(self) -> Generator[None, None, bytes]:
        """Takes everything until the connection ends."""
        while not self.ended:
            yield
        return self.take(len(self.data))


@dataclass
class Message:
    """One request or answer."""

    head: bytes
    line: bytes
    fields: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.line.split(b" ")[1])

    @property
    def method(self) -> str:
        """Of a request."""
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        """Of a request: its path and query."""
        return self.line.split(b" ")[1].decode()

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of a field; fails when there are several."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there more than once: {values}"
        return values[0] if values else None

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.get("transfer-encoding") == "chunked"


def read_head(buffer: Buffer) -> Reading:
    """A first line and the fields below it."""
    head = yield from buffer.until(b"\r\n\r\n")
    line, _, rest = head[:-4].partition(b"\r\n")
    return Message(head, line, parse_fields(rest))


def read_body(buffer: Buffer, message: Message, *, of_answer: bool = False) -> Generator[None, None, None]:
    """The body that the head announces."""
    length = message.get("content-length")
    if message.chunked:
        assert length is None, "both framings"
        yield from read_chunks(buffer, message)
    elif length is not None:
        message.body = yield from buffer.exactly(int(length))
    elif of_answer:
        message.body = yield from buffer.rest()


def read_chunks(buffer: Buffer, message: Message) -> Generator[None, None, None]:
    """A chunked body and its trailers."""
    while True:
        line = yield from buffer.until(b"\r\n")
        size = int(line[:-2].partition(b";")[0], 16)
        if size == 0:
            break
        chunk = yield from buffer.exactly(size + 2)
        assert chunk.endswith(b"\r\n"), f"a chunk does not end where it says: {chunk[-20:]!r}"
        message.chunks.append(chunk[:-2])
    message.body = b"".join(message.chunks)
    lines = []
    while (line := (yield from buffer.until(b"\r\n"))) != b"\r\n":
        lines.append(line[:-2])
    message.trailers = parse_fields(b"\r\n".join(lines))


def read_answer(buffer: Buffer, method: str = "GET") -> Reading:
    """A whole answer, interim or final."""
    message = yield from read_head(buffer)
    bodiless = method == "HEAD" or message.status in {204, 304} or message.status < 200
    if not bodiless:
        yield from read_body(buffer, message, of_answer=True)
    return message


def parse_fields(lines: bytes) -> list[tuple[str, str]]:
    """Field lines as pairs of a lower-case name and a value."""
    pairs = []
    for line in lines.split(b"\r\n"):
        if line:
            name, colon, value = line.partition(b":")
            assert colon, f"no field line: {line!r}"
            pairs.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))
    return pairs
