"""What became of each request, and what was done to the balancer and its targets meanwhile.

Owns: the numbers of requests, their statuses and ends, the failures in full, the incidents.
Refuses to know: which failure may be forgiven (see `rules`), how anything is sent.

All moments are seconds of the monotonic clock, which all processes of a machine share.
"""

import enum
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "soak-"
# What `Record.statuses` has for a request that nobody knows the answer of.
UNKNOWN: Final = 0


class Loss(enum.Enum):
    """How a request failed, as its client saw it."""

    REFUSED = "no connection"
    LOST = "connection lost before an answer"
    CUT = "answer cut"
    STATUS = "another status"
    WRONG = "wrong answer"
    SILENT = "no answer in time"


class What(enum.Enum):
    """What was done on purpose."""

    TARGET_KILLED = "target killed"
    TARGET_FROZEN = "target frozen"
    WORKER_KILLED = "worker killed"


@dataclass(frozen=True)
class Incident:
    """One thing that was done, from when to when."""

    what: What
    name: str
    pools: frozenset[str]
    began: float
    ended: float


@dataclass(frozen=True)
class Request:
    """One request from its first byte; `connected` is when its connection was made, or -inf where that is not known."""

    number: int
    client: str
    pool: str
    safe: bool
    connected: float
    started: float

    @property
    def request_id(self) -> str:
        """For X-Request-Id, by which the line in the access log is found again."""
        return f"{PREFIX}{self.number}"


@dataclass(frozen=True)
class Failure:
    """A request that its client was not content with."""

    request: Request
    loss: Loss
    status: int
    detail: str
    ended: float

    def __str__(self) -> str:
        """For the report."""
        each = self.request
        status = f" {self.status}" if self.status else ""
        return f"{each.client}, pool {each.pool}, {each.request_id}: {self.loss.value}{status} {self.detail}".rstrip()


def number_of(request_id: str) -> int:
    """The number in a request id; -1 for one that is not of this run."""
    digits = request_id.removeprefix(PREFIX)
    return int(digits) if digits != request_id and digits.isdecimal() and digits.isascii() else -1


@dataclass
class Record:
    """Everything that happened. A request is begun once, and ended once by one of `good`, `failed` and `left`."""

    # By the number of the request.
    statuses: "array[int]" = field(default_factory=lambda: array("H"))
    starts: "array[float]" = field(default_factory=lambda: array("d"))
    ends: "array[float]" = field(default_factory=lambda: array("d"))
    failures: list[Failure] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    # Good answers and given-up requests, by client.
    answered: Counter[str] = field(default_factory=Counter)
    abandoned: Counter[str] = field(default_factory=Counter)

    def begin(self, client: str, pool: str, *, safe: bool, connected: float) -> Request:
        """A request that is about to be sent."""
        self.statuses.append(UNKNOWN)
        self.starts.append(time.monotonic())
        self.ends.append(0.0)
        return Request(len(self.statuses) - 1, client, pool, safe, connected, self.starts[-1])

    def good(self, request: Request, status: int) -> None:
        """It was answered as it should be."""
        self._end(request, status)
        self.answered[request.client] += 1

    def left(self, request: Request) -> None:
        """The client gave up on it, as it had meant to."""
        self._end(request, UNKNOWN)
        self.abandoned[request.client] += 1

    def failed(self, request: Request, loss: Loss, detail: str = "", status: int = UNKNOWN) -> None:
        """It was not answered as it should be."""
        self._end(request, status if loss is Loss.STATUS and "call" not in request.client else UNKNOWN)
        self.failures.append(Failure(request, loss, status, detail, self.ends[request.number]))

    def _end(self, request: Request, status: int) -> None:
        self.statuses[request.number] = status
        self.ends[request.number] = time.monotonic()
