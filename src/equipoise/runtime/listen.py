"""Listening sockets.

Owns: SO_REUSEPORT sockets for each listener, as many for each worker, what is taken over of another process's, and what
is said when an address cannot be had.
Refuses to know: who accepts from them.

The supervisor keeps them open for as long as it lives: connections that arrive while a worker is dead wait in its
socket's queue for the successor.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from equipoise.config.addresses import Address, parse_address

BACKLOG: Final = 4096
ADMIN_BACKLOG: Final = 128
# Linux, asm-generic/socket.h; Python's socket module does not name it.
SO_ATTACH_FILTER: Final = 26
# A classic BPF program over a TCP header: drop what has SYN and not ACK, let everything else pass.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


class ListenError(Exception):
    """An address that cannot be listened on; the text is for the user."""


class Bequest(msgspec.Struct, frozen=True):
    """The sockets of one listener as they are handed to another process.

    Attributes:
        asked: the address in the words of the configuration, where the port may be 0.
        address: the real one.
        fds: descriptors of the sockets.
    """

    asked: str
    address: str
    fds: tuple[int, ...]


class Estate:
    """The listening sockets that another process left to this one, until each is claimed or given up.

    Attributes:
        claimed: which of them somebody took, by their place.
    """

    def __init__(self, bequests: Iterable[Bequest] = ()) -> None:
        """All there is, and nothing claimed.

        Raises:
            OSError: a descriptor is none, or no socket.
        """
        self.claimed: set[int] = set()
        self._bequests = tuple(bequests)
        self._sockets = [tuple(_adopt(fd) for fd in bequest.fds) for bequest in self._bequests]

    def claim(self, text: str) -> tuple[socket.socket, ...]:
        """The sockets that listen where `text` says, which are the caller's from now on; none when there are none.

        Raises:
            OSError: the name in it does not resolve.
        """
        for index, bequest in enumerate(self._bequests):
            if index in self.claimed or not self._sockets[index]:
                continue
            if bequest.asked == text or self._is_at(index, text):
                self.claimed.add(index)
                return self._sockets[index]
        return ()

    def give_up_rest(self) -> None:
        """Close what nobody claimed: here, not where it comes from."""
        for index, sockets in enumerate(self._sockets):
            if index not in self.claimed:
                for sock in sockets:
                    sock.close()

    def _is_at(self, index: int, text: str) -> bool:
        family, place = _resolve(parse_address(text))
        first = self._sockets[index][0]
        return place[1] != 0 and first.family == family and first.getsockname()[:2] == place


@dataclass(frozen=True)
class Listener:
    """One address with as many sockets for each worker; `address` holds the real port.

    Attributes:
        address: where it listens.
        sockets: all of them; those of the worker in seat n of s are `sockets[n::s]`.
        asked: the address as the configuration has it.
        inherited: how many of the sockets, the first ones, come from another process.
    """

    address: str
    sockets: tuple[socket.socket, ...]
    asked: str = ""
    inherited: int = 0

    @property
    def bequest(self) -> Bequest:
        """It, as it is handed to another process."""
        return Bequest(self.asked, self.address, tuple(sock.fileno() for sock in self.sockets))

    def close(self) -> None:
        """Close the supervisor's side; a worker's own copy stays open."""
        for sock in self.sockets:
            sock.close()

    def refuse_new(self, shared: int = 0) -> None:
        """Answer no new connection from now on, so that what waits in the queues can be accepted before the close.

        Closing a listening socket resets what waits in its queue. New connections therefore stop first: their SYN is
        dropped, and the client's kernel, which tries again after a second, is refused then. Where the system knows no
        socket filters, a connection that arrives in the last moment is reset.

        Args:
            shared: how many of the sockets, the first ones, another process accepts from: they are left alone.
        """
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
        buffer = struct.pack("HL", len(_DROP_SYN), _address_of(program))
        for sock in self.sockets[shared:]:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, buffer)
            except OSError:
                return


def open_listener(text: str, count: int, estate: Estate | None = None) -> Listener:
    """Listen on `host:port`, as often for each of `count` workers.

    Sockets that were left to this process are all used, since closing one resets what waits in its queue. The system
    spreads connections evenly over sockets; so that it does over workers, they are filled up to a multiple of `count`.

    Raises:
        ListenError: the address is taken, not permitted, or not one of this machine.
    """
    address = parse_address(text)
    try:
        family, place = _resolve(address)
        inherited = estate.claim(text) if estate is not None else ()
        if inherited:
            place = (place[0], inherited[0].getsockname()[1])
        else:
            _check_free(family, place)
        sockets = list(inherited)
        try:
            for _ in range(-len(inherited) % count if inherited else count):
                sockets.append(_bind(family, place, share=True))
                # Port 0 gets its number with the first socket; the others must share it.
                place = (place[0], sockets[0].getsockname()[1])
            # What joins sockets of another process gets connections only when there is a worker to take them.
            for sock in sockets if not inherited else ():
                sock.listen(BACKLOG)
        except OSError:
            for sock in sockets:
                sock.close()
            raise
    except OSError as error:
        raise ListenError(_explain(text, address, error)) from error
    return Listener(str(Address(address.host, place[1])), tuple(sockets), text, len(inherited))


def open_alone(text: str, estate: Estate | None = None) -> Listener:
    """Listen on `host:port` with one socket that nobody can share, for the admin API; or take it over.

    Raises:
        ListenError: as `open_listener`.
    """
    address = parse_address(text)
    try:
        family, place = _resolve(address)
        inherited = estate.claim(text) if estate is not None else ()
        sock = inherited[0] if inherited else _bind(family, place, share=False)
        try:
            sock.listen(ADMIN_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ListenError(_explain(text, address, error)) from error
    return Listener(str(Address(address.host, sock.getsockname()[1])), (sock,), text, len(inherited))


def _adopt(fd: int) -> socket.socket:
    """A socket that this process inherited; what it starts itself does not."""
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    sock.settimeout(0)
    return sock


def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # "localhost" is usually both; IPv4 is what most clients of it try.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    family, _, _, _, place = found[0]
    return family, (str(place[0]), address.port)


def _check_free(family: socket.AddressFamily, place: tuple[str, int]) -> None:
    """SO_REUSEPORT would silently share the port with another process of this user; a plain bind would not."""
    if place[1] != 0:
        _bind(family, place, share=False).close()


def _bind(family: socket.AddressFamily, place: tuple[str, int], *, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # "0.0.0.0:80" and "[::]:80" may stand side by side in a file.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(text: str, address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen on {text}: the name {address.host} does not resolve ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {text}: another process listens there already"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"cannot listen on {text}: not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {text}: this machine has no such address"
    return f"cannot listen on {text}: {os.strerror(error.errno) if error.errno else error}"


def _address_of(program: bytes) -> int:
    """Where the bytes are in memory, for the kernel to read them during one call."""
    import ctypes  # noqa: PLC0415 -- 10 ms that only a drain needs

    return ctypes.cast(ctypes.c_char_p(program), ctypes.c_void_p).value or 0
