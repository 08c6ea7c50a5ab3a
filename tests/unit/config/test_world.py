import os

import pytest

from equipoise.config.load import parse
from equipoise.config.schema import TargetConfig
from equipoise.config.world import (
    access_log_spec,
    build_world,
    cache_spec,
    limits_spec,
    listen_addresses,
    retry_spec,
    route_specs,
    worker_count,
)
from equipoise.model import AccessLogSpec, CacheSpec, LimitsSpec, PoolSpec, RetrySpec, RouteSpec, TargetSpec, World

TEXT = """
listen = "a:1"
listeners = [{ address = "b:2" }]
workers = 3
[pools.p]
algorithm = "random"
panic = true
targets = ["http://10.0.0.1:9001"]
retry = { attempts = 2, buffer = "1KiB", budget = 0.5 }
health.passive.statuses = [500]
[pools.q]
targets = []
[[routes]]
host = "H"
path = "/q"
pool = "q"
[[routes]]
pool = "p"
[limits]
request_body = "1MiB"
idle_timeout = "5s"
[access_log]
sink = "text"
headers = ["Accept"]
"""
CONFIG = parse(TEXT, {})


def target(pool: str, entry: TargetConfig) -> TargetSpec:
    return TargetSpec(name=f"{pool}/{entry.name}", url=entry.url, host="10.0.0.1", port=9001, slot=7)


def test_the_world_is_what_the_file_says() -> None:
    assert build_world(CONFIG, target, {"p": 1, "q": 2}.__getitem__) == World(
        pools=(
            PoolSpec(
                name="p",
                slot=1,
                algorithm="random",
                targets=(TargetSpec("p/10.0.0.1:9001", "http://10.0.0.1:9001", "10.0.0.1", 9001, 7),),
                retry=RetrySpec(attempts=2, buffer=1024, budget=0.5),
                failure_statuses=(500,),
                panic=True,
            ),
            PoolSpec(name="q", slot=2),
        ),
        routes=(RouteSpec("q", "h", "/q"), RouteSpec("p")),
        limits=LimitsSpec(request_body=1 << 20, idle_timeout=5.0),
        access_log=AccessLogSpec(sink="text", headers=("accept",)),
    )


def test_the_cache_of_a_pool_is_what_the_file_says() -> None:
    text = """
    listen = "a:1"
    [pools.p]
    targets = []
    [pools.p.cache]
    ttl = "5s"
    max_bytes = "1MiB"
    max_body = "1KiB"
    methods = ["GET"]
    keep_stale = "0s"
    """
    assert cache_spec(parse(text, {}).pools["p"]) == CacheSpec(
        ttl=5.0, max_bytes=1 << 20, max_body=1 << 10, methods=("GET",), keep_stale=0.0
    )


def test_a_file_that_says_nothing_of_the_cache_leaves_the_defaults() -> None:
    assert cache_spec(CONFIG.pools["p"]) == CacheSpec()


def test_the_parts_can_be_had_alone() -> None:
    assert retry_spec(CONFIG.pools["p"]) == RetrySpec(2, 1024, 0.5)
    assert route_specs(CONFIG)[0].pool == "q"
    assert limits_spec(CONFIG).idle_timeout == 5.0
    assert access_log_spec(CONFIG).sink == "text"


def test_listeners_of_both_kinds_are_listened_on() -> None:
    assert listen_addresses(CONFIG) == ("a:1", "b:2")


def test_the_number_of_workers_is_that_of_the_file() -> None:
    assert worker_count(CONFIG) == 3


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (5, 5), (200, 64)])
def test_auto_is_a_worker_for_each_usable_core(cores: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert worker_count(parse('listen = "a:1"\n[pools.p]\ntargets = []', {})) == workers


def test_without_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert worker_count(parse('listen = "a:1"\n[pools.p]\ntargets = []', {})) == 3
