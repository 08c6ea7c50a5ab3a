"""What all clients have: where the balancer is, the record, and how an answer is judged.

Owns: `Side`, `Client`, `Answer` and its judgement.
Refuses to know: protocols.
"""

import abc
import random
import ssl
from dataclasses import dataclass, field
from typing import Final

from benchmarks.soak.plans import Plan
from benchmarks.soak.record import Loss, Record, Request

HOST: Final = "127.0.0.1"
# The name in the certificate.
NAME: Final = "shop.example.com"
# Nothing takes so long, whatever happens to targets and workers.
PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Side:
    """One listener of the balancer."""

    port: int
    tls: ssl.SSLContext | None = None


@dataclass
class Answer:
    """An answer as far as it has come. `status` is 0 before its head."""

    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Client(abc.ABC):
    """One client: does one thing after the other, each a `step`; keeps its connection in between."""

    def __init__(self, name: str, record: Record, draw: random.Random) -> None:
        self.name = name
        self.record = record
        self.draw = draw

    @abc.abstractmethod
    async def step(self) -> None:
        """Makes one request, and records what became of it. Raises nothing but what is a defect of this program."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Ends the connection, if there is one."""

    def judge(self, request: Request, plan: Plan, answer: Answer) -> None:
        """Records a whole answer."""
        saw = answer.fields.get(b"x-saw", b"").decode()
        if answer.status != 200:
            self.record.failed(request, Loss.STATUS, bytes(answer.body[:300]).decode(errors="replace"), answer.status)
        elif answer.body != plan.expected:
            self.record.failed(request, Loss.WRONG, f"{plan.path}: {len(answer.body)} of {len(plan.expected)} bytes")
        elif plan.pool != "kept" and saw != request.request_id:
            self.record.failed(request, Loss.WRONG, f"{plan.path}: the answer to {saw}")
        else:
            self.record.good(request, answer.status)
