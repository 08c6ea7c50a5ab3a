"""A name service of our own: it says what a test tells it, says that it cannot, or says nothing.

Owns: one UDP socket in a thread, and what is known of each name (RFC 1035).
Refuses to know: who asks.
"""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.scenarios.support.polling import PATIENCE

PORT = 53
_A = 1
_ANSWER = 0x8180
_SERVER_FAILURE, _NO_SUCH_NAME = 2, 3


class NameService:
    """Answers for IPv4 addresses; `mood` is "well", "silent" or "failing"."""

    def __init__(self, address: str) -> None:
        """Listens on port 53 of the address, in the network namespace of the calling thread."""
        self.names: dict[str, list[str]] = {}
        self.mood = "well"
        # Questions that were asked, whatever was said to them.
        self.asked = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((address, PORT))
        self._thread = threading.Thread(target=self._serve, name="names")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mood = "gone"
        # To itself: only this socket is sure to be in its network.
        self._sock.sendto(b"", self._sock.getsockname())
        self._thread.join(PATIENCE)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._sock.recvfrom(512)
            if self.mood == "gone":
                return
            self.asked += 1
            if self.mood != "silent":
                self._sock.sendto(self._answer(question), sender)

    def _answer(self, packet: bytes) -> bytes:
        name, end = _name(packet)
        wanted = struct.unpack("!H", packet[end : end + 2])[0]
        known = self.names.get(name)
        code = _SERVER_FAILURE if self.mood == "failing" else _NO_SUCH_NAME if known is None else 0
        addresses = known if known and wanted == _A and not code else []
        head = packet[:2] + struct.pack("!5H", _ANSWER | code, 1, len(addresses), 0, 0)
        # 0xC00C points at the name of the question.
        records = [struct.pack("!HHHIH", 0xC00C, _A, 1, 0, 4) + socket.inet_aton(each) for each in addresses]
        return head + packet[12 : end + 4] + b"".join(records)


def _name(packet: bytes) -> tuple[str, int]:
    """The name that is asked for, and where it ends."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 1
