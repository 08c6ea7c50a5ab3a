"""One supervisor takes over from another: what they tell each other, and how either side waits.

Owns: the messages, the order in which they go, the socket pair between the two, and the life of the new process until
it is in charge.
Refuses to know: what a supervisor is made of, when one is to be replaced (`succession`).

    the old one                                 the new one, started by it

    Legacy: sockets, lock, what is known ─────►  reads its file, opens what is new, starts its workers
    no change is taken up any more       ◄─────  Prepared: its workers accept connections; or Failed, and it leaves
    TakeOver                             ─────►  keeps the state, serves the admin API
    tells the service manager            ◄─────  InCharge
    hangs up, and drains                 ─────►  tells the service manager

Up to InCharge the old one is what it was: it ends a new one that fails or is late, and goes on. A new one whose old one
dies before TakeOver leaves, as every worker does.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar, cast

import msgspec

from equipoise.runtime.children import explain, signals_blocked
from equipoise.runtime.control import ControlError, Frames, frame, receive_first
from equipoise.runtime.listen import Bequest
from equipoise.runtime.targets import Unwell

VARIABLE: Final = "EQUIPOISE_TAKEOVER"
"""Names, in the environment of the new process, the descriptor of its end of the socket pair."""
PREPARE_TIMEOUT: Final = 75.0
"""Seconds for the new one to read its file and to start its workers, which may take 60."""
CHARGE_TIMEOUT: Final = 15.0
"""Seconds for the new one to write the state and to serve the admin API."""
END_TIMEOUT: Final = 1.0
"""Seconds for one that cannot take over to leave by itself."""


class Legacy(msgspec.Struct, frozen=True, kw_only=True):
    """What the new process gets of the old one. Fields may be added; none may change its meaning.

    Attributes:
        pid: of the old supervisor.
        listeners: its listening sockets.
        admin: those of its admin API.
        lock: descriptor of the lock on its state directory.
        unwell: targets that are down.
        addresses: those of the names of targets.
    """

    pid: int
    listeners: tuple[Bequest, ...] = ()
    admin: tuple[Bequest, ...] = ()
    lock: int | None = None
    unwell: tuple[Unwell, ...] = ()
    addresses: dict[str, tuple[str, ...]] = {}

    @property
    def fds(self) -> tuple[int, ...]:
        """All descriptors in it."""
        lock = () if self.lock is None else (self.lock,)
        return (*lock, *(fd for bequest in (*self.listeners, *self.admin) for fd in bequest.fds))


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """The workers of the new one accept connections.

    `kept` are the places, among the listeners of the legacy, of those that it goes on with.
    """

    version: int
    kept: tuple[int, ...]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The new one cannot be the balancer, and leaves."""

    reason: str


class InCharge(msgspec.Struct, frozen=True, tag=True):
    """The new one is the balancer."""


class TakeOver(msgspec.Struct, frozen=True, tag=True):
    """The new one is to be the balancer."""


ToOld = Prepared | Failed | InCharge
Received = TypeVar("Received")

_LEGACY: Final = msgspec.json.Decoder(Legacy)
_TO_OLD: Final = cast("msgspec.json.Decoder[ToOld]", msgspec.json.Decoder(ToOld))
_TO_NEW: Final = msgspec.json.Decoder(TakeOver)


class HandoverError(Exception):
    """The other process did not do its part; the text says why."""


class _Line:
    """One end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    async def say(self, message: msgspec.Struct) -> None:
        """Raises OSError when nobody listens any more."""
        await asyncio.get_running_loop().sock_sendall(self._sock, frame(message))

    async def hear(self, decoder: "msgspec.json.Decoder[Received]") -> Received | None:
        """The next message; None when the other side has hung up. Raises OSError, ControlError."""
        frames = Frames(decoder)
        while data := await asyncio.get_running_loop().sock_recv(self._sock, 65536):
            for message in frames.feed(data):
                # Neither side says two things in a row.
                return message
        return None

    def close(self) -> None:
        self._sock.close()


@dataclass
class Heir:
    """The new process, seen from the old one."""

    popen: "subprocess.Popen[bytes]"
    _line: _Line
    _in_charge: bool = field(default=False, init=False)

    @classmethod
    def start(cls, fds: Sequence[int], more: Mapping[str, str], command: Sequence[str] = ()) -> Self:
        """Start it.

        Args:
            fds: what it inherits, under the same numbers.
            more: what its environment has beside that of this process.
            command: how it is started; as this process was, unless given.

        Raises:
            HandoverError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, signals_blocked():
                popen = subprocess.Popen(  # noqa: S603 -- the command line that this process was started with
                    command or [sys.executable, *sys.orig_argv[1:]],
                    pass_fds=(theirs.fileno(), *fds),
                    env={**os.environ, **more, VARIABLE: str(theirs.fileno())},
                )
        except OSError as error:
            ours.close()
            raise HandoverError(f"the new process cannot be started: {error}") from error
        return cls(popen, _Line(ours))

    async def prepare(self, legacy: Legacy, seconds: float) -> Prepared:
        """Give it its legacy; what it says when its workers accept connections.

        Raises:
            HandoverError: it cannot, it is gone, or it was not ready in time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._line.say(legacy)
                message = await self._line.hear(_TO_OLD)
        except TimeoutError:
            raise HandoverError(f"the new process was not ready within {seconds:g} s") from None
        except (OSError, ControlError) as error:
            raise HandoverError(f"the new process cannot be talked to: {error}") from error
        match message:
            case Prepared():
                return message
            case Failed(reason=reason):
                raise HandoverError(f"the new process cannot start: {reason}")
            case _:
                raise HandoverError("the new process left before it was ready; its own lines in the log say why")

    async def put_in_charge(self, seconds: float) -> None:
        """Have it take over; returns when it has.

        Raises:
            HandoverError: it has not, and cannot any more once it is ended.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._line.say(TakeOver())
                message = await self._line.hear(_TO_OLD)
        except TimeoutError:
            raise HandoverError(f"the new process did not take over within {seconds:g} s") from None
        except (OSError, ControlError) as error:
            raise HandoverError(f"the new process did not take over: {error}") from error
        if not isinstance(message, InCharge):
            reason = message.reason if isinstance(message, Failed) else "it left"
            raise HandoverError(f"the new process did not take over: {reason}")
        self._in_charge = True

    def hang_up(self) -> None:
        """Everything is said."""
        self._line.close()
        if self._in_charge:
            # It is not waited for: it outlives this process, and is nobody's child then.
            self.popen.returncode = 0

    async def end(self) -> dict[str, object]:
        """End it, if it is there still; how it ended. Its workers notice, and finish what they carry."""
        self._line.close()
        try:
            # One that said why it cannot is on its way out.
            code = await asyncio.to_thread(self.popen.wait, END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            code = await asyncio.to_thread(self.popen.wait)
        return explain(code)


class Ancestor:
    """The old process, seen from the new one.

    Attributes:
        legacy: what it left.
    """

    def __init__(self, sock: socket.socket, legacy: Legacy) -> None:
        """It was heard already."""
        self.legacy = legacy
        self._sock = sock
        self._line = _Line(sock)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Self | None:
        """What this process is to take over from; None when it is the first one.

        The variable is taken out of the environment: what this process starts is not meant by it.

        Raises:
            HandoverError: there was something, and it cannot be understood.
        """
        said = environment.pop(VARIABLE, "")
        if not said:
            return None
        try:
            sock = socket.socket(fileno=int(said))
        except (ValueError, OSError) as error:
            raise HandoverError(f"${VARIABLE} is {said!r}, and nothing can be taken over from there") from error
        sock.set_inheritable(False)
        try:
            return cls(sock, receive_first(sock, _LEGACY))
        except (OSError, ControlError) as error:
            sock.close()
            raise HandoverError(f"nothing can be taken over: {error}") from error

    def fail(self, reason: str) -> None:
        """Say why this process cannot be the balancer; before there is a loop, or after."""
        self._sock.setblocking(True)
        try:
            self._sock.sendall(frame(Failed(reason)))
        except OSError:
            return  # nobody wants to know
        finally:
            self._sock.close()

    async def wait_for_order(self, prepared: Prepared) -> None:
        """Say that the workers are ready; returns when this process is to take over.

        Raises:
            HandoverError: the old one is gone, or has given up.
        """
        try:
            await self._line.say(prepared)
            order = await self._line.hear(_TO_NEW)
        except (OSError, ControlError) as error:
            raise HandoverError(f"the process before this one cannot be talked to: {error}") from error
        if order is None:
            raise HandoverError("the process before this one is gone, or has given up")

    async def tell_in_charge(self) -> None:
        """Say that this process is the balancer; returns when the old one has told whoever had to know."""
        try:
            async with asyncio.timeout(CHARGE_TIMEOUT):
                await self._line.say(InCharge())
                await self._line.hear(_TO_NEW)
        except (OSError, ControlError):  # a TimeoutError is one too
            return  # it is gone, which makes this process no less the balancer
        finally:
            self._line.close()
