# ruff: noqa: INP001  a module of its own beside its configuration, as a user's is
"""Requests of one user go to one target, for as long as that target is not overloaded.

Useful where targets keep something per user in memory. The user is the value of the field X-User; requests without it
go to the target with the fewest requests in flight.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import ClassVar

from equipoise.policy.balance import Algorithm, Loads
from equipoise.wire.message import Request

# A target takes at most so many times the average before its users spill over to others.
ROOM = 1.25


class Affinity(Algorithm):
    """Rendezvous hashing with bounded load."""

    promise: ClassVar[str] = "one target per X-User, until it has a quarter more in flight than the average"

    def __init__(self, loads: Loads, draw: Callable[[], float]) -> None:
        super().__init__(loads, draw)
        self.names = [name.encode() for name in loads.names]

    def pick(self, request: Request, now: int, skip: list[int] | None) -> int:
        """The target that ranks highest for this user among those that have room."""
        loads = self.loads
        free = [index for index in range(int(loads.size)) if loads.free(index, skip)]
        if not free:
            return -1
        user = request.find(b"x-user")
        if user is None:
            return min(free, key=lambda index: (loads.in_flight(index), self.draw()))
        most = ROOM * (1 + sum(loads.in_flight(index) for index in free)) / len(free)
        return max((index for index in free if loads.in_flight(index) < most), key=lambda index: self.rank(index, user))

    def rank(self, index: int, user: bytes) -> bytes:
        """The same in every worker, which Python's own hash() is not."""
        return blake2b(user + b"\0" + self.names[index], digest_size=8).digest()
