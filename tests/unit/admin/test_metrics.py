"""Each metric says what the ledger and the supervisor say, read back by prometheus_client's own parsers."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from equipoise.admin.metrics import Metrics
from equipoise.admin.metrics_reference import METRICS, STATES
from equipoise.model import CacheSpec, Outcome, PoolSpec, World
from equipoise.runtime.cache_memory import Section, open_store
from equipoise.runtime.caches import Caches
from equipoise.runtime.slots import Key, Slots
from equipoise.runtime.startup import make_memory
from equipoise.runtime.targets import TargetTable
from equipoise.state.ledger import (
    BYTES_IN,
    BYTES_OUT,
    FAILURES,
    LIMITS,
    RETRIES,
    WORKER_CONNECTIONS,
    WORKER_LIMITED,
    WORKER_LOG_DROPPED,
    WORKER_LOG_LINES,
    WORKER_OWN_ANSWERS,
    WORKER_PID,
    WORKER_REQUESTS,
    WORKER_TUNNELS,
    WORKER_WAITING,
    Ledger,
)
from tests.support.stores import entry, key
from tests.unit.runtime.parts import config_of

ROWS = 2
MS = 1_000_000
CONFIG = config_of(
    """
    [[pools.p.targets]]
    url = "http://10.0.0.1:1"
    name = "a"
    weight = 3
    max_in_flight = 7
    [[pools.p.targets]]
    url = "http://10.0.0.2:1"
    name = "b"
    [pools.p.health]
    type = "none"
    [pools.p.cache]
    enabled = true
    max_bytes = "64KiB"
    max_body = "1KiB"
    """
)
A, B = Key("p", "a"), Key("p", "b")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Workers:
    restarts: int = 0
    alive: dict[int, int] = field(default_factory=lambda: {0: 4, 1: 4})

    def versions(self) -> Mapping[int, int]:
        return self.alive


class Balancer:
    """A table, the supervisor's ledger, and the workers' views of the same memory."""

    def __init__(self) -> None:
        memory = make_memory(ROWS)
        self.ledger = memory.ledger
        self.rows = [Ledger(memory.map(), ROWS, memory.slots, row) for row in range(ROWS)]
        for row in self.rows:
            row.set_worker(WORKER_PID, os.getpid())
        self.table = TargetTable(
            Slots(16, lambda _slot: True, lambda _slot: None), lambda _slot: 0, lambda host: (host,)
        )
        self.table.install(CONFIG, 0.0)
        self.caches = Caches(ROWS)
        self.caches.install(CONFIG)
        self.workers = Workers()
        self.version = 4
        memory.close()

    def slot(self, key: Key) -> int:
        entry = self.table.get(*key)
        assert entry is not None
        return entry.slot

    def samples(self) -> Samples:
        for row in self.rows:
            row.flush()
        text, _ = scrape(self)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[name, frozenset(labels.items())]

    def of(self, key: Key, name: str, **labels: str) -> float:
        return self.value(name, pool=key.pool, target=key.target, **labels)


@pytest.fixture
def balancer() -> Balancer:
    return Balancer()


def scrape(balancer: Balancer, accept: str | None = None) -> tuple[str, str]:
    """Text and content type."""
    body, content_type = asyncio.run(Metrics(balancer).text(accept))
    return body.decode(), content_type


def test_every_metric_of_the_table_is_there_and_no_other(balancer: Balancer) -> None:
    balancer.ledger.publish_mean(balancer.slot(A), MS)
    text, _ = scrape(balancer)
    # The parser calls a counter without its ending.
    found = {f"{family.name}_total" if family.type == "counter" else family.name for family in parse_text(text)}
    assert found == set(METRICS)


def test_kinds_helps_and_labels_are_those_of_the_table(balancer: Balancer) -> None:
    balancer.ledger.publish_mean(balancer.slot(A), MS)
    for family in parse_text(scrape(balancer)[0]):
        metric = METRICS[f"{family.name}_total" if family.type == "counter" else family.name]
        assert family.type == ("gauge" if metric.kind == "info" else metric.kind)
        assert family.documentation == metric.about
        assert {name for sample in family.samples for name in sample.labels} == set(metric.labels)


def test_no_series_says_when_another_was_made(balancer: Balancer) -> None:
    assert "_created" not in scrape(balancer)[0]


def test_openmetrics_is_written_on_request_and_says_so(balancer: Balancer) -> None:
    text, content_type = scrape(balancer, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    parsed = parse_openmetrics(text)  # type: ignore[no-untyped-call]  # not annotated
    kinds = {family.name: family.type for family in parsed}
    assert (kinds["equipoise_requests"], kinds["equipoise_build"]) == ("counter", "info")


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/plain", "application/openmetrics-text; version=new"])
def test_without_a_wish_that_can_be_met_it_is_the_text_format(balancer: Balancer, accept: str | None) -> None:
    text, content_type = scrape(balancer, accept)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert text.endswith("\n")


def test_the_loop_goes_on_while_the_text_is_made(balancer: Balancer) -> None:
    async def turns() -> int:
        count = 0
        async with asyncio.TaskGroup() as tasks:
            scraped = tasks.create_task(Metrics(balancer).text())
            while not scraped.done():
                await asyncio.sleep(0)
                count += 1
        return count

    # The scrape begins with the first turn. Were the text made there too, it would be the only one.
    assert asyncio.run(turns()) > 1


def test_the_text_is_of_one_moment_whatever_changes_while_it_is_made(balancer: Balancer) -> None:
    async def scraped() -> str:
        async with asyncio.TaskGroup() as tasks:
            scrape = tasks.create_task(Metrics(balancer).text())
            await asyncio.sleep(0)
            for row in balancer.rows:
                row.take(balancer.slot(A))
            balancer.table.install(config_of('[pools.q]\ntargets = ["http://10.0.0.3:1"]'), 0.0)
            balancer.workers.alive.clear()
        return scrape.result()[0].decode()

    text = asyncio.run(scraped())
    assert 'equipoise_in_flight{pool="p",target="a"} 0.0\n' in text
    assert 'pool="q"' not in text
    assert "equipoise_workers 2.0\n" in text


def test_scrapes_at_the_same_time_are_all_answered(balancer: Balancer) -> None:
    async def scraped() -> list[str]:
        metrics = Metrics(balancer)
        answers = await asyncio.gather(*(metrics.text() for _ in range(3)))
        return [body.decode() for body, _ in answers]

    assert [text.count("equipoise_in_flight{") for text in asyncio.run(scraped())] == [2, 2, 2]


def test_a_scrape_that_was_given_up_leaves_its_turn_to_the_next(balancer: Balancer) -> None:
    async def scraped() -> bytes:
        metrics = Metrics(balancer)
        async with asyncio.TaskGroup() as tasks:
            given_up = tasks.create_task(metrics.text())
            await asyncio.sleep(0)
            given_up.cancel()
            return (await metrics.text())[0]

    assert b"equipoise_in_flight{" in asyncio.run(scraped())


def test_answers_are_counted_by_class_over_all_workers(balancer: Balancer) -> None:
    for row, status in ((0, 200), (1, 204), (1, 404), (0, 503), (0, 101)):
        balancer.rows[row].count_answer(balancer.slot(A), status, MS)
    counts = [balancer.of(A, "equipoise_requests_total", status_class=f"{kind}xx") for kind in range(1, 6)]
    assert counts == [1, 2, 0, 1, 1]
    assert balancer.of(B, "equipoise_requests_total", status_class="2xx") == 0


def test_requests_in_flight_are_those_of_all_workers(balancer: Balancer) -> None:
    for row in balancer.rows:
        row.take(balancer.slot(A))
    assert balancer.of(A, "equipoise_in_flight") == ROWS


def test_buckets_are_cumulative_and_agree_with_the_count(balancer: Balancer) -> None:
    for ms in (1, 3, 30, 20_000):
        balancer.rows[0].count_answer(balancer.slot(A), 200, ms * MS)
    name = "equipoise_response_time_seconds"
    buckets = {le: balancer.of(A, f"{name}_bucket", le=le) for le in ("0.001", "0.005", "0.05", "10.0", "+Inf")}
    assert buckets == {"0.001": 1, "0.005": 2, "0.05": 3, "10.0": 3, "+Inf": 4}
    assert balancer.of(A, f"{name}_count") == 4
    assert balancer.of(A, f"{name}_sum") == pytest.approx(20.034)


def test_a_mean_is_in_seconds(balancer: Balancer) -> None:
    balancer.ledger.publish_mean(balancer.slot(A), 12_500_000)
    assert balancer.of(A, "equipoise_mean_response_seconds") == 0.0125


def test_a_target_without_a_mean_has_no_series_of_it(balancer: Balancer) -> None:
    assert [name for name, _ in balancer.samples() if name == "equipoise_mean_response_seconds"] == []


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (FAILURES, "equipoise_failures_total"),
        (RETRIES, "equipoise_retries_total"),
        (BYTES_IN, "equipoise_received_bytes_total"),
        (BYTES_OUT, "equipoise_sent_bytes_total"),
    ],
)
def test_a_counter_of_a_target_is_the_sum_over_the_workers(balancer: Balancer, cell: int, name: str) -> None:
    balancer.rows[0].add(balancer.slot(A), cell, 5)
    balancer.rows[1].add(balancer.slot(A), cell, 2)
    assert balancer.of(A, name) == 7
    assert balancer.of(B, name) == 0


def test_a_target_that_goes_down_shows_its_state_and_the_ejection(balancer: Balancer) -> None:
    balancer.table.failed(A, Outcome.CONNECT_FAILED, 0, 0.0)
    assert balancer.of(A, "equipoise_target_up") == 0
    assert [balancer.of(A, "equipoise_target_state", state=state) for state in STATES] == [0, 0, 1]
    assert balancer.of(A, "equipoise_ejections_total") == 1
    assert balancer.of(B, "equipoise_target_up") == 1
    assert balancer.of(B, "equipoise_ejections_total") == 0


def test_a_target_shows_its_settings(balancer: Balancer) -> None:
    assert balancer.of(A, "equipoise_target_weight") == 3
    assert balancer.of(A, "equipoise_target_max_in_flight") == 7


def test_the_spread_is_between_the_targets_that_are_up(balancer: Balancer) -> None:
    for _ in range(5):
        balancer.rows[0].take(balancer.slot(A))
    assert balancer.value("equipoise_pool_spread", pool="p") == 5
    balancer.table.failed(B, Outcome.CONNECT_FAILED, 0, 0.0)
    assert balancer.value("equipoise_pool_spread", pool="p") == 0


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (WORKER_CONNECTIONS, "equipoise_connections"),
        (WORKER_TUNNELS, "equipoise_tunnels"),
        (WORKER_WAITING, "equipoise_waiting_requests"),
        (WORKER_REQUESTS, "equipoise_worker_requests_total"),
        (WORKER_LOG_LINES, "equipoise_access_log_lines_total"),
        (WORKER_LOG_DROPPED, "equipoise_access_log_dropped_total"),
    ],
)
def test_a_worker_s_record_is_labelled_by_its_row(balancer: Balancer, cell: int, name: str) -> None:
    balancer.rows[1].set_worker(cell, 9)
    assert [balancer.value(name, worker=str(row)) for row in range(ROWS)] == [0, 9]


def test_a_row_without_a_worker_keeps_its_counters_and_has_no_version(balancer: Balancer) -> None:
    balancer.rows[1].set_worker(WORKER_REQUESTS, 9)
    balancer.workers = Workers(restarts=1, alive={0: 4})
    samples = balancer.samples()
    assert samples["equipoise_workers", frozenset()] == 1
    assert samples["equipoise_worker_restarts_total", frozenset()] == 1
    assert samples["equipoise_worker_requests_total", frozenset({("worker", "1")})] == 9
    versions = [dict(labels)["worker"] for name, labels in samples if name == "equipoise_worker_config_version"]
    assert versions == ["0"]


def test_a_worker_that_is_late_shows_an_older_version(balancer: Balancer) -> None:
    balancer.workers.alive[1] = 3
    assert balancer.value("equipoise_config_version") == 4
    assert [balancer.value("equipoise_worker_config_version", worker=str(row)) for row in range(ROWS)] == [4, 3]


def test_own_answers_are_counted_by_class_over_all_workers(balancer: Balancer) -> None:
    balancer.rows[0].set_worker(WORKER_OWN_ANSWERS + 4, 2)
    balancer.rows[1].set_worker(WORKER_OWN_ANSWERS + 4, 3)
    assert balancer.value("equipoise_own_answers_total", status_class="5xx") == 5


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_was_reached_is_counted_over_all_workers(balancer: Balancer, limit: str) -> None:
    for row in balancer.rows:
        row.add_worker(WORKER_LIMITED + LIMITS.index(limit), 2)
    found = {dict(labels)["limit"]: value for (name, labels), value in balancer.samples().items() if "limit_" in name}
    assert found == {name: 4 if name == limit else 0 for name in LIMITS}


def test_a_worker_s_memory_is_there_while_the_worker_is(balancer: Balancer) -> None:
    assert balancer.value("equipoise_worker_resident_memory_bytes", worker="0") > 1024 * 1024
    balancer.rows[0].set_worker(WORKER_PID, 0)
    balancer.workers = Workers(alive={0: 4})
    assert [name for name, _ in balancer.samples() if name == "equipoise_worker_resident_memory_bytes"] == []


def test_a_name_with_every_character_that_names_may_have_is_kept(balancer: Balancer) -> None:
    name = "~a-Z_9+b@[::1]:80"
    config = config_of(f'[pools."p.q"]\ntargets = [{{url = "http://10.0.0.1:1", name = "{name}"}}]')
    balancer.table.install(config, 0.0)
    assert balancer.value("equipoise_in_flight", pool="p.q", target=name) == 0


def test_the_start_is_a_time_of_the_wall_clock_that_stays(balancer: Balancer) -> None:
    first, second = (balancer.value("equipoise_start_time_seconds") for _ in range(2))
    assert first == second == balancer.value("process_start_time_seconds")


def test_a_cache_is_counted_over_all_workers(balancer: Balancer) -> None:
    (pool,) = balancer.caches.placed(World(pools=(PoolSpec("p", 0, cache=CacheSpec(enabled=True)),))).pools
    assert pool.cache_section is not None
    section = Section(*pool.cache_section)
    stores = [open_store(balancer.caches.files, section, ROWS, row) for row in range(ROWS)]
    stores[0].put(key(1), entry(), 1)
    for store in stores:
        store.count(True)
        store.count(False)
        store.flush()
    counts = {name: balancer.value(f"equipoise_cache_{name}", pool="p") for name in ("hits_total", "misses_total")}
    assert counts == {"hits_total": 2, "misses_total": 2}
    assert balancer.value("equipoise_cache_entries", pool="p") == 1
    assert balancer.value("equipoise_cache_max_bytes", pool="p") == 64 * 1024


def test_a_cache_that_is_switched_off_has_no_series(balancer: Balancer) -> None:
    balancer.caches.install(config_of("[pools.p]\ntargets = []"))
    assert not [name for name, _ in balancer.samples() if name.startswith("equipoise_cache_")]
