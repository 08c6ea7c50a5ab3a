"""The channel between the supervisor and a worker.

Owns: the messages, how they are framed on a socket pair, and the asyncio protocol at either end.
Refuses to know: what either side does with a message.

A frame is its length in 4 bytes, big-endian, then JSON. The end of the channel is the end of the other process: nobody
else holds its socket, so a supervisor that was killed is noticed by its workers at once.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

import msgspec

from equipoise.config.diff import Change
from equipoise.model import Outcome

# A whole world of 4,096 targets is about 1 MiB. More than this is no message of ours.
MAX_FRAME: Final = 64 * 1024 * 1024
_PREFIX: Final = 4

FieldValue = str | int | float | bool | None


class Inherited(msgspec.Struct, frozen=True):
    """The listening sockets of one address that the worker got with its life."""

    address: str
    fds: tuple[int, ...]


class Bootstrap(msgspec.Struct, frozen=True, tag=True):
    """The first message to a worker: which one it is, and the file descriptors it inherited.

    `row` is where it writes in the ledger; `alone` is as in `Company`. `cache_fds` are those of the memory of all
    caches, and of its locks.
    """

    row: int
    rows: int
    slots: int
    ledger_fd: int
    cache_fds: tuple[int, int]
    listeners: tuple[Inherited, ...]
    alone: bool = False


class Apply(msgspec.Struct, frozen=True, tag=True):
    """Changes that lead to a version of the world; the first ones start from the empty world."""

    version: int
    changes: list[Change]


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Finish what is in flight, take nothing new, leave."""

    timeout: float


class Cut(msgspec.Struct, frozen=True, tag=True):
    """What is in flight at a slot is to end now: its target was removed by force."""

    slot: int


class ReopenLogs(msgspec.Struct, frozen=True, tag=True):
    """Log files were moved away: open them anew."""


class Company(msgspec.Struct, frozen=True, tag=True):
    """Whether this worker is the only one from now on: what it counts itself is all there is then."""

    alone: bool


class Ack(msgspec.Struct, frozen=True, tag=True):
    """This version is in force; or, with a problem, it cannot be, and the one before still is."""

    version: int
    problem: str = ""


class Report(msgspec.Struct, frozen=True, tag=True):
    """A request that failed.

    `good` is how many good answers the target had given by then, over all workers: two failures are in a row when it is
    the same for both.
    """

    pool: str
    target: str
    outcome: Outcome
    good: int


class Event(msgspec.Struct, frozen=True, tag=True):
    """A line for the application log, which the supervisor writes."""

    level: str
    event: str
    fields: dict[str, FieldValue] = {}


ToWorker = Bootstrap | Apply | Cut | Drain | ReopenLogs | Company
ToSupervisor = Ack | Report | Event
Received = TypeVar("Received")

_ENCODER: Final = msgspec.json.Encoder()
TO_NEW_WORKER: Final = msgspec.json.Decoder(Bootstrap)
# A union is no `type` to mypy, so the decoder's type must be said.
TO_WORKER: Final = cast("msgspec.json.Decoder[ToWorker]", msgspec.json.Decoder(ToWorker))
TO_SUPERVISOR: Final = cast("msgspec.json.Decoder[ToSupervisor]", msgspec.json.Decoder(ToSupervisor))


class ControlError(Exception):
    """The other side sent what is no message of ours, or left before it said anything."""


def frame(message: msgspec.Struct) -> bytes:
    """The message as it travels."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(_PREFIX, "big") + body


class Frames(Generic[Received]):
    """Puts messages together from what arrives of them."""

    def __init__(self, decoder: "msgspec.json.Decoder[Received]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Received]:
        """The messages that `data` completes.

        Raises:
            ControlError: the bytes are no message.
        """
        self._buffer += data
        messages = []
        at = 0
        while len(self._buffer) - at >= _PREFIX:
            size = int.from_bytes(self._buffer[at : at + _PREFIX], "big")
            if size > MAX_FRAME:
                raise ControlError(f"a control message of {size} bytes")
            end = at + _PREFIX + size
            if len(self._buffer) < end:
                break
            try:
                messages.append(self._decoder.decode(self._buffer[at + _PREFIX : end]))
            except msgspec.MsgspecError as error:
                raise ControlError(f"a control message that cannot be read: {error}") from error
            at = end
        del self._buffer[:at]
        return messages


def receive_first(sock: socket.socket, decoder: "msgspec.json.Decoder[Received]") -> Received:
    """Wait for the first message, before there is a loop; what follows it stays in the socket.

    Raises:
        ControlError: the other side left, or spoke of something else.
    """
    size = int.from_bytes(_receive(sock, _PREFIX), "big")
    if size > MAX_FRAME:
        raise ControlError(f"a control message of {size} bytes")
    try:
        return decoder.decode(_receive(sock, size))
    except msgspec.MsgspecError as error:
        raise ControlError(f"not the first message: {error}") from error


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ControlError("the other side left before it said anything")
        data += piece
    return data


class Channel(asyncio.Protocol, Generic[Received]):
    """One end of the socket pair. Messages sent before it is connected wait for it."""

    def __init__(
        self,
        decoder: "msgspec.json.Decoder[Received]",
        on_message: Callable[[Received], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """Not connected yet: hand it to `loop.create_unix_connection`.

        Args:
            decoder: reads what the other side sends.
            on_message: called for each message, in order.
            on_closed: called once, with a reason that is empty when the other side just left.
        """
        self._frames = Frames(decoder)
        self._on_message = on_message
        self._on_closed = on_closed
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: list[bytes] = []
        self._broken = ""
        self._hung_up = False

    def send(self, message: msgspec.Struct) -> None:
        """Send, or drop when the other side is gone: its end is noticed by `on_closed`."""
        if self._transport is None:
            self._waiting.append(frame(message))
        elif not self._transport.is_closing():
            self._transport.write(frame(message))

    def close(self) -> None:
        """Hang up, after what was sent is gone; at once when it is attached, if it is not yet."""
        self._hung_up = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.writelines(self._waiting)
        self._waiting.clear()
        if self._hung_up:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            messages = self._frames.feed(data)
        except ControlError as error:
            self._broken = str(error)
            self.close()
            return
        for message in messages:
            try:
                self._on_message(message)
            except Exception as error:  # noqa: BLE001 -- left to the loop, it would end the channel and with it the worker
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"a control message was not handled: {message!r}", "exception": error}
                )

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._on_closed(self._broken or (str(exc) if exc else ""))


async def attach(channel: Channel[Received], sock: socket.socket) -> None:
    """Hands our end of a channel to the loop, which owns its descriptor from then on, whatever happens.

    uvloop ties the socket object to the transport only when the connection is made. When the other side is gone by
    then, the loop closes the descriptor, and the object would close the number once more, which may be anybody's by
    that time.

    Raises:
        OSError: the channel could not be attached.
    """
    sock.settimeout(0)
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
    except BaseException:
        sock.detach()
        raise
    if transport.is_closing():
        sock.detach()
