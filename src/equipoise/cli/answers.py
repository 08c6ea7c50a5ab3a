"""What the admin API answers, as values.

Owns: the fields that the commands read, and how strict they are about the rest: not at all. A newer balancer may say
more, an older one less.
Refuses to know: how the answers are fetched and shown.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")


class StrangeAnswerError(Exception):
    """An answer that has not the shape it should have."""


class TargetStatus(msgspec.Struct, frozen=True):
    """One target. `since` is a time in RFC 3339; `mean_response_ms` is None or 0 without a sample.

    `health` is what holds, `state` what an operator ordered.
    """

    name: str
    url: str = ""
    weight: int = 1
    max_in_flight: int = 0
    health: str = "up"
    state: str = "up"
    reason: str | None = None
    since: str | None = None
    in_flight: int = 0
    requests: int = 0
    failures: int = 0
    mean_response_ms: float | None = None


class CacheUse(msgspec.Struct, frozen=True):
    """How the cache of a pool is used. `ttl` is seconds, `hit_ratio` None before the first request."""

    enabled: bool = False
    mode: str = "-"
    ttl: float = 0.0
    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    hits: int = 0
    misses: int = 0
    stores: int = 0
    evictions: int = 0
    hit_ratio: float | None = None


class PoolStatus(msgspec.Struct, frozen=True):
    """One pool."""

    algorithm: str
    targets: tuple[TargetStatus, ...]
    spread: int = 0
    cache: CacheUse = CacheUse()


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker process.

    `requests` is the count of its row, which successors go on with; `waiting` are those that wait for a target.
    """

    pid: int
    row: int = -1
    connections: int = 0
    requests: int = 0
    waiting: int = 0


class Status(msgspec.Struct, frozen=True):
    """The whole balancer. `version` is that of the configuration, `uptime_s` seconds, `time` the balancer's clock."""

    version: int
    pools: dict[str, PoolStatus]
    time: str | None = None
    uptime_s: float = 0.0
    compiled: bool = False
    draining: bool = False
    workers: tuple[WorkerStatus, ...] = ()


class Targets(msgspec.Struct, frozen=True):
    """The targets of one pool."""

    targets: tuple[TargetStatus, ...]


class AlgorithmInfo(msgspec.Struct, frozen=True):
    """One algorithm and what it promises."""

    name: str
    promise: str = ""


class Algorithms(msgspec.Struct, frozen=True):
    """Those that are known."""

    algorithms: tuple[AlgorithmInfo, ...]


class Difference(msgspec.Struct, frozen=True):
    """A place of the configuration where the file and the balancer differ; None where one has nothing."""

    place: str
    file: Any = None
    running: Any = None


class Differences(msgspec.Struct, frozen=True):
    """All of them."""

    differences: tuple[Difference, ...]


def read(data: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The answer as a value. Raises StrangeAnswerError."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise StrangeAnswerError(str(error)) from error
