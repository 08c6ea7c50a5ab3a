"""Algorithms as users write them: plain subclasses, some of which misbehave."""

from typing import ClassVar

from equipoise.policy.balance import Algorithm
from equipoise.wire.message import Request


class Last(Algorithm):
    """The last target that is free."""

    promise: ClassVar[str] = "the last one"

    def pick(self, request: Request, now: int, skip: list[int] | None) -> int:
        free = [i for i in range(int(self.loads.size)) if self.loads.free(i, skip)]
        return free[-1] if free else -1


class Raises(Algorithm):
    """Never works."""

    def pick(self, request: Request, now: int, skip: list[int] | None) -> int:
        raise KeyError(request.target)


class TooHigh(Algorithm):
    """Names a target that there is not."""

    def pick(self, request: Request, now: int, skip: list[int] | None) -> int:
        return int(self.loads.size)


class TooLow(Algorithm):
    """Likewise."""

    def pick(self, request: Request, now: int, skip: list[int] | None) -> int:
        return -7


class NotAnAlgorithm:
    """Has no pick at all."""
