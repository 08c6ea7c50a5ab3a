"""Ledgers in memory of this process, and worlds small enough to read.

Owns: the shapes that tests of the pool, the ledger and the data path start from.
Refuses to know: what they test.
"""

import mmap
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from equipoise.model import AccessLogSpec, PoolSpec, TargetSpec, World
from equipoise.policy.balance import ALGORITHMS, Algorithm, Loads
from equipoise.state.ledger import Ledger, PoolLoads
from equipoise.wire.http1 import RequestHead

SLOTS = 256
QUIET = AccessLogSpec(enabled=False)


def memory(rows: int, slots: int = SLOTS) -> mmap.mmap:
    return mmap.mmap(-1, Ledger.size(rows, slots))


def ledgers(rows: int, slots: int = SLOTS) -> tuple[Ledger, list[Ledger]]:
    """The supervisor's view of one block, and each worker's."""
    block = memory(rows, slots)
    return Ledger(block, rows, slots, -1), [Ledger(block, rows, slots, row) for row in range(rows)]


def pool_loads(
    ledger: Ledger, weights: Sequence[int], limits: Sequence[int] | None = None, first_slot: int = 0
) -> PoolLoads:
    """The loads of a pool at `first_slot`, its targets behind it."""
    names = [f"t{i}" for i in range(len(weights))]
    slots = [first_slot + 1 + i for i in range(len(weights))]
    return PoolLoads(ledger, first_slot, slots, (names, list(weights), list(limits or [0] * len(weights))))


def alone(weights: Sequence[int], limits: Sequence[int] | None = None) -> PoolLoads:
    """The loads of a pool in a balancer of one worker."""
    return pool_loads(ledgers(1)[1][0], weights, limits)


def algorithm(name: str, loads: Loads, draw: Callable[[], float] | None = None) -> Algorithm:
    return ALGORITHMS[name](loads, draw or Random(1).random)


def request(text: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> RequestHead:
    head = RequestHead(32 * 1024, 100, 8 * 1024)
    assert head.read(text)
    return head


def target(name: str, slot: int, **settings: Any) -> TargetSpec:
    settings.setdefault("addresses", (f"10.0.0.{slot}",))
    return TargetSpec(name=name, url=f"http://{name}:80", host=name, port=80, slot=slot, **settings)


def pool(*targets: TargetSpec, name: str = "web", slot: int = 0, **settings: Any) -> PoolSpec:
    settings.setdefault("algorithm", "round_robin")
    return PoolSpec(name=name, slot=slot, targets=targets, **settings)


def world(*pools: PoolSpec, **settings: Any) -> World:
    settings.setdefault("access_log", QUIET)
    return World(pools=pools, **settings)


def no_report(pool: str, target: str, outcome: str) -> None:
    """Told of a failure where none is expected, or none matters."""
    del pool, target, outcome
