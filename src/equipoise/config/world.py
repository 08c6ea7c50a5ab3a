"""From the configuration to what the workers act on.

Owns: which keys of the file become which part of the `World`.
Refuses to know: slots, resolved addresses and health, which the caller supplies target by target.
"""

import os
from collections.abc import Callable

from equipoise.config.schema import MAX_WORKERS, Config, PoolConfig, TargetConfig
from equipoise.model import (
    AccessLogSpec,
    CacheSpec,
    LimitsSpec,
    PoolSpec,
    QueueSpec,
    RetrySpec,
    RouteSpec,
    TargetSpec,
    World,
)


def build_world(
    config: Config, target: Callable[[str, TargetConfig], TargetSpec], pool_slot: Callable[[str], int]
) -> World:
    """The world as the file wants it.

    Args:
        config: what the file says.
        target: gives slot, addresses and state of one target of the named pool.
        pool_slot: gives the ledger slot of the named pool itself.
    """
    return World(
        pools=tuple(
            pool_spec(name, pool, pool_slot(name), tuple(target(name, entry) for entry in pool.targets))
            for name, pool in config.pools.items()
        ),
        routes=route_specs(config),
        limits=limits_spec(config),
        access_log=access_log_spec(config),
        grpc_health=config.grpc_health,
    )


def pool_spec(name: str, pool: PoolConfig, slot: int, targets: tuple[TargetSpec, ...]) -> PoolSpec:
    """One pool with the given targets."""
    return PoolSpec(
        name=name,
        slot=slot,
        algorithm=pool.algorithm,
        targets=targets,
        retry=retry_spec(pool),
        failure_statuses=pool.health.passive.statuses,
        panic=pool.panic,
        queue=QueueSpec(size=pool.queue.size, timeout=pool.queue.timeout),
        cache=cache_spec(pool),
    )


def retry_spec(pool: PoolConfig) -> RetrySpec:
    """How often a request of this pool may be tried again."""
    return RetrySpec(attempts=pool.retry.attempts, buffer=pool.retry.buffer, budget=pool.retry.budget)


def cache_spec(pool: PoolConfig) -> CacheSpec:
    """What this pool's cache keeps."""
    cache = pool.cache
    return CacheSpec(**{name: getattr(cache, name) for name in CacheSpec.__struct_fields__})


def route_specs(config: Config) -> tuple[RouteSpec, ...]:
    """The routes in order; none when everything goes to the one pool."""
    return tuple(RouteSpec(pool=route.pool, host=route.host, path=route.path) for route in config.routes)


def limits_spec(config: Config) -> LimitsSpec:
    """What one client may cost."""
    limits = config.limits
    return LimitsSpec(**{name: getattr(limits, name) for name in LimitsSpec.__struct_fields__})


def access_log_spec(config: Config) -> AccessLogSpec:
    """Where a line for each request goes."""
    log = config.access_log
    return AccessLogSpec(**{name: getattr(log, name) for name in AccessLogSpec.__struct_fields__})


def listen_addresses(config: Config) -> tuple[str, ...]:
    """Where clients connect, from `listen` and `[[listeners]]` together."""
    return config.listen + tuple(listener.address for listener in config.listeners)


def worker_count(config: Config) -> int:
    """How many workers to run; "auto" is one for each core that this process may use."""
    if config.workers != "auto":
        return config.workers
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MAX_WORKERS)
