"""What changes between two worlds, as a list of values.

Owns: `diff` and `apply`, with `apply(old, diff(old, new)) == new`, and how changes are written on the wire.
Refuses to know: who asked for a change (file, admin API, health), and who must hear of it.

Pools are known by name, and targets by name within their pool, so names must not repeat.
An `index` is a place in the order that has been reached when the changes before it are applied.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Protocol, TypeVar

import msgspec

from equipoise.model import (
    AccessLogSpec,
    CacheSpec,
    LimitsSpec,
    ListenerTlsSpec,
    PoolSpec,
    QueueSpec,
    RetrySpec,
    RouteSpec,
    TargetSpec,
    TlsFile,
    World,
)


class PoolAdded(msgspec.Struct, frozen=True, tag=True):
    """A pool with all its targets."""

    index: int
    pool: PoolSpec


class PoolRemoved(msgspec.Struct, frozen=True, tag=True):
    """A pool is gone, and its targets with it."""

    pool: str


class PoolSettingsChanged(msgspec.Struct, frozen=True, tag=True):
    """Everything of a pool but its targets, and its place among the pools."""

    pool: str
    index: int
    slot: int
    algorithm: str
    retry: RetrySpec
    failure_statuses: tuple[int, ...]
    panic: bool
    queue: QueueSpec
    cache: CacheSpec
    cache_section: tuple[int, int] | None


class TargetAdded(msgspec.Struct, frozen=True, tag=True):
    """A target is new in its pool."""

    pool: str
    index: int
    target: TargetSpec


class TargetRemoved(msgspec.Struct, frozen=True, tag=True):
    """A target is gone from its pool."""

    pool: str
    target: str


class TargetChanged(msgspec.Struct, frozen=True, tag=True):
    """A target, known by its name, as it is now, and its place in the pool."""

    pool: str
    index: int
    target: TargetSpec


class RoutesChanged(msgspec.Struct, frozen=True, tag=True):
    """All routes."""

    routes: tuple[RouteSpec, ...]


class LimitsChanged(msgspec.Struct, frozen=True, tag=True):
    """All limits."""

    limits: LimitsSpec


class AccessLogChanged(msgspec.Struct, frozen=True, tag=True):
    """The whole access log."""

    access_log: AccessLogSpec


class GrpcHealthChanged(msgspec.Struct, frozen=True, tag=True):
    """Whether workers answer for their health themselves."""

    grpc_health: bool


class ListenersChanged(msgspec.Struct, frozen=True, tag=True):
    """How each listener speaks TLS."""

    listeners: tuple[ListenerTlsSpec | None, ...]


class FilesChanged(msgspec.Struct, frozen=True, tag=True):
    """All certificates and keys."""

    files: tuple[TlsFile, ...]


Change = (
    PoolAdded
    | PoolRemoved
    | PoolSettingsChanged
    | TargetAdded
    | TargetRemoved
    | TargetChanged
    | RoutesChanged
    | LimitsChanged
    | AccessLogChanged
    | GrpcHealthChanged
    | ListenersChanged
    | FilesChanged
)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Change])


def encode(changes: list[Change]) -> bytes:
    """As JSON, for the way to a worker."""
    return _ENCODER.encode(changes)


def decode(data: bytes) -> list[Change]:
    """The changes that `encode` wrote."""
    return _DECODER.decode(data)


def diff(old: World, new: World) -> list[Change]:
    """The changes that lead from `old` to `new`, in the order in which they are to be applied."""
    changes = list(_pool_changes(old.pools, new.pools))
    if old.routes != new.routes:
        changes.append(RoutesChanged(new.routes))
    if old.limits != new.limits:
        changes.append(LimitsChanged(new.limits))
    if old.access_log != new.access_log:
        changes.append(AccessLogChanged(new.access_log))
    if old.grpc_health != new.grpc_health:
        changes.append(GrpcHealthChanged(new.grpc_health))
    if old.listeners != new.listeners:
        changes.append(ListenersChanged(new.listeners))
    if old.files != new.files:
        changes.append(FilesChanged(new.files))
    return changes


def apply(world: World, changes: Iterable[Change]) -> World:
    """The world after the changes. A change of a pool or target that does not exist raises LookupError."""
    return reduce(_applied, changes, world)


def _pool_changes(old: tuple[PoolSpec, ...], new: tuple[PoolSpec, ...]) -> Iterator[Change]:
    kept = {pool.name for pool in new}
    known = {pool.name: pool for pool in old}
    order = [pool.name for pool in old if pool.name in kept]
    yield from (PoolRemoved(name) for name in known if name not in kept)
    for index, pool in enumerate(new):
        before = known.get(pool.name)
        if before is None:
            yield PoolAdded(index, pool)
            order.insert(index, pool.name)
            continue
        if _put(order, index, pool.name) or _settings(before) != _settings(pool):
            yield PoolSettingsChanged(pool.name, index, *_settings(pool))
        yield from _target_changes(pool.name, before.targets, pool.targets)


def _target_changes(pool: str, old: tuple[TargetSpec, ...], new: tuple[TargetSpec, ...]) -> Iterator[Change]:
    kept = {target.name for target in new}
    known = {target.name: target for target in old}
    order = [target.name for target in old if target.name in kept]
    yield from (TargetRemoved(pool, name) for name in known if name not in kept)
    for index, target in enumerate(new):
        before = known.get(target.name)
        if before is None:
            yield TargetAdded(pool, index, target)
            order.insert(index, target.name)
        elif _put(order, index, target.name) or before != target:
            yield TargetChanged(pool, index, target)


def _put(order: list[str], index: int, name: str) -> bool:
    """Bring a name to its place; whether it had to move."""
    if order[index] == name:
        return False
    order.remove(name)
    order.insert(index, name)
    return True


def _settings(
    pool: PoolSpec,
) -> tuple[int, str, RetrySpec, tuple[int, ...], bool, QueueSpec, CacheSpec, tuple[int, int] | None]:
    first = pool.slot, pool.algorithm, pool.retry, pool.failure_statuses, pool.panic
    return *first, pool.queue, pool.cache, pool.cache_section


def _applied(world: World, change: Change) -> World:
    match change:
        case RoutesChanged(routes=routes):
            return msgspec.structs.replace(world, routes=routes)
        case LimitsChanged(limits=limits):
            return msgspec.structs.replace(world, limits=limits)
        case AccessLogChanged(access_log=access_log):
            return msgspec.structs.replace(world, access_log=access_log)
        case GrpcHealthChanged(grpc_health=grpc_health):
            return msgspec.structs.replace(world, grpc_health=grpc_health)
        case ListenersChanged(listeners=listeners):
            return msgspec.structs.replace(world, listeners=listeners)
        case FilesChanged(files=files):
            return msgspec.structs.replace(world, files=files)
        case PoolAdded(index=index, pool=pool):
            return msgspec.structs.replace(world, pools=_insert(world.pools, index, pool))
        case PoolRemoved(pool=name):
            return msgspec.structs.replace(world, pools=_without(world.pools, name))
        case PoolSettingsChanged():
            return msgspec.structs.replace(world, pools=_with_settings(world.pools, change))
        case _:
            return msgspec.structs.replace(world, pools=_with_target(world.pools, change))


def _with_settings(pools: tuple[PoolSpec, ...], change: PoolSettingsChanged) -> tuple[PoolSpec, ...]:
    pool = msgspec.structs.replace(
        _find(pools, change.pool),
        slot=change.slot,
        algorithm=change.algorithm,
        retry=change.retry,
        failure_statuses=change.failure_statuses,
        panic=change.panic,
        queue=change.queue,
        cache=change.cache,
        cache_section=change.cache_section,
    )
    return _insert(_without(pools, change.pool), change.index, pool)


def _with_target(
    pools: tuple[PoolSpec, ...], change: TargetAdded | TargetChanged | TargetRemoved
) -> tuple[PoolSpec, ...]:
    targets = _find(pools, change.pool).targets
    match change:
        case TargetAdded():
            targets = _insert(targets, change.index, change.target)
        case TargetChanged():
            targets = _insert(_without(targets, change.target.name), change.index, change.target)
        case TargetRemoved():
            targets = _without(targets, change.target)
    return tuple(msgspec.structs.replace(pool, targets=targets) if pool.name == change.pool else pool for pool in pools)


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


_Named = TypeVar("_Named", bound=_HasName)


def _find(items: tuple[_Named, ...], name: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    raise LookupError(f"a change names {name!r}, which does not exist")


def _without(items: tuple[_Named, ...], name: str) -> tuple[_Named, ...]:
    found = _find(items, name)
    return tuple(item for item in items if item is not found)


def _insert(items: tuple[_Named, ...], index: int, item: _Named) -> tuple[_Named, ...]:
    if any(other.name == item.name for other in items):
        raise LookupError(f"a change adds {item.name!r}, which exists already")
    return (*items[:index], item, *items[index:])
