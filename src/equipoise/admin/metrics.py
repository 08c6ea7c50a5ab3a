"""What `/metrics` answers.

Owns: from which counter of the ledger or which fact of the supervisor each metric of the table is read, and on which
thread that is done.
Refuses to know: names, labels and help texts (`metrics_reference`), the format (prometheus_client), who asks.

A scrape reads shared memory and what the supervisor holds anyway. No worker notices it.
"""

import asyncio
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from equipoise.admin.metrics_reference import GROUPS, METRICS, STATES, STATUS_CLASSES, TURNED_AWAY
from equipoise.config.schema import TargetConfig
from equipoise.model import TargetState
from equipoise.runtime.slots import Key
from equipoise.runtime.startup import is_compiled, version
from equipoise.runtime.targets import Entry
from equipoise.state.ledger import BUCKETS_MS, LIMITS, Ledger

_BUCKET_FIELDS: Final = (*(f"le_{bound}ms" for bound in BUCKETS_MS), "le_inf")
_SECOND: Final = 1e9  # nanoseconds

Series = Iterable[tuple[Sequence[str], Sequence[float]]]
"""Values of the labels, and the numbers: one for each of the metric's `values`, or a single one; for a histogram the
cumulative counts of its buckets and behind them the sum."""


class WorkersView(Protocol):
    """What is read of `runtime.workers.Workers`."""

    restarts: int

    def versions(self) -> Mapping[int, int]:
        """The version of the configuration that each live worker acts on, by row."""


class TableView(Protocol):
    """What is read of `runtime.targets.TargetTable`."""

    def shown(self) -> Iterable[Entry]:
        """All targets, those included that were removed and still hold requests."""


class CachesView(Protocol):
    """What is read of `runtime.caches.Caches`."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Counts of each pool whose cache is switched on."""


class SupervisorView(Protocol):
    """What is read of `runtime.supervisor.Supervisor`."""

    @property
    def ledger(self) -> Ledger:
        """The counters."""

    @property
    def table(self) -> TableView:
        """The targets."""

    @property
    def caches(self) -> CachesView:
        """The caches of the pools."""

    @property
    def workers(self) -> WorkersView:
        """The worker processes."""

    @property
    def version(self) -> int:
        """The configuration's."""


class _Reading(NamedTuple):
    """One target at the moment of the scrape. Entries change on the loop, so it holds none."""

    key: Key
    config: TargetConfig
    state: TargetState
    ejections: int
    in_flight: int
    totals: dict[str, int]
    mean_ns: int


@dataclass(frozen=True)
class _Snapshot:
    """All numbers at the moment of the scrape."""

    targets: tuple[_Reading, ...]
    # By row; also while nobody is in it, since its counts go on with whoever gets it, but not before anybody was.
    records: Mapping[int, dict[str, int]]
    caches: Mapping[str, Mapping[str, int]]
    versions: dict[int, int]
    restarts: int
    version: int


class Metrics(Collector):
    """The metrics of one balancer, for all who scrape it.

    The numbers are read on the loop, where the table changes. They are made to text in a thread: that takes twenty
    times as long, and the loop has health checks to do.
    """

    def __init__(self, supervisor: SupervisorView, refused: Mapping[int, int] | None = None) -> None:
        """Nothing is read yet, so any thread may call it.

        Args:
            supervisor: of which everything is read.
            refused: calls of the admin API that were turned away before anything looked at them, by status.
        """
        self._supervisor = supervisor
        self._refused = {} if refused is None else refused
        self._snapshot: _Snapshot | None = None
        self._process = ProcessCollector(registry=None)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        # A crowd of scrapes takes one thread, not all that the supervisor has for its disk and for names.
        self._turn = asyncio.Lock()

    async def text(self, accept: str | None = None) -> tuple[bytes, str]:
        """All metrics as they are now. Called on the supervisor's loop.

        Args:
            accept: the field Accept of the request, which may ask for OpenMetrics.

        Returns:
            The body and its content type.
        """
        try:
            encode, content_type = choose_encoder(accept or "")
        except TypeError:
            # It compares the version that is asked for with numbers, whatever it is.
            encode, content_type = choose_encoder("")
        async with self._turn:
            self._snapshot = _read(self._supervisor)
            return await asyncio.to_thread(encode, self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """The families with their samples, as prometheus_client asks for them; those without a sample are left out."""
        return filter(lambda family: family.samples, self._families())

    def _families(self) -> Iterator[Family]:
        at = self._snapshot
        if at is not None:
            yield from _targets(at.targets)
            yield from _caches(at.caches)
            yield from _workers(at)
            yield _single("equipoise_config_version", at.version)
        turned_away = [self._refused.get(int(status), 0) for status in TURNED_AWAY]
        yield _family("equipoise_admin_refused_total", [((), turned_away)])
        yield _family("equipoise_build_info", [(_build(), (1,))])
        yield from _processes(self._process)


# What is read, on the loop


def _read(supervisor: SupervisorView) -> _Snapshot:
    ledger = supervisor.ledger
    return _Snapshot(
        targets=tuple(_read_target(entry, ledger) for entry in supervisor.table.shown()),
        caches=supervisor.caches.counts(),
        records={row: record for row in range(int(ledger.rows)) if (record := ledger.worker(row))["pid"]},
        versions=dict(supervisor.workers.versions()),
        restarts=supervisor.workers.restarts,
        version=supervisor.version,
    )


def _read_target(entry: Entry, ledger: Ledger) -> _Reading:
    return _Reading(
        entry.key,
        entry.config,
        entry.state,
        entry.ejections,
        ledger.in_flight(entry.slot),
        ledger.totals(entry.slot),
        int(ledger.mean_ns(entry.slot)),
    )


# What is made of it, in a thread

_TARGET: Final[dict[str, Callable[[_Reading], tuple[float, ...]]]] = {
    "equipoise_requests_total": lambda at: tuple(at.totals[f"status_{kind}"] for kind in STATUS_CLASSES),
    "equipoise_in_flight": lambda at: (at.in_flight,),
    "equipoise_response_time_seconds": lambda at: (
        *accumulate(at.totals[field] for field in _BUCKET_FIELDS),
        at.totals["response_ns"] / _SECOND,
    ),
    # 0 means that there is no mean; a series that said 0 would be read as very fast.
    "equipoise_mean_response_seconds": lambda at: (at.mean_ns / _SECOND,) if at.mean_ns else (),
    "equipoise_failures_total": lambda at: (at.totals["failures"],),
    "equipoise_retries_total": lambda at: (at.totals["retries"],),
    "equipoise_ejections_total": lambda at: (at.ejections,),
    "equipoise_target_up": lambda at: (int(at.state is TargetState.UP),),
    "equipoise_target_state": lambda at: tuple(int(at.state == state) for state in STATES),
    "equipoise_target_weight": lambda at: (at.config.weight,),
    "equipoise_target_max_in_flight": lambda at: (at.config.max_in_flight,),
    "equipoise_received_bytes_total": lambda at: (at.totals["bytes_in"],),
    "equipoise_sent_bytes_total": lambda at: (at.totals["bytes_out"],),
}
"""How each metric of a target is drawn from its reading; nothing for no series."""


def _targets(readings: Sequence[_Reading]) -> Iterator[Family]:
    for name, of_target in _TARGET.items():
        drawn = (((each.key.pool, each.key.target), of_target(each)) for each in readings)
        yield _family(name, ((labels, values) for labels, values in drawn if values))
    yield _labelled("equipoise_pool_spread", _spreads(readings))


def _spreads(readings: Iterable[_Reading]) -> dict[str, int]:
    loads: dict[str, list[int]] = {}
    for each in readings:
        here = loads.setdefault(each.key.pool, [])
        if each.state is TargetState.UP:
            here.append(each.in_flight)
    return {pool: max(here) - min(here) if here else 0 for pool, here in loads.items()}


def _caches(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Family]:
    for metric in GROUPS["Caches"]:
        field = metric.name.removeprefix("equipoise_cache_").removesuffix("_total")
        yield _labelled(metric.name, {pool: each[field] for pool, each in counts.items()})


def _workers(at: _Snapshot) -> Iterator[Family]:
    yield _single("equipoise_workers", len(at.versions))
    yield _single("equipoise_worker_restarts_total", at.restarts)
    for name, field in (
        ("equipoise_connections", "connections"),
        ("equipoise_tunnels", "tunnels"),
        ("equipoise_waiting_requests", "waiting"),
        ("equipoise_worker_requests_total", "requests"),
        ("equipoise_access_log_lines_total", "log_lines"),
        ("equipoise_access_log_dropped_total", "log_dropped"),
    ):
        yield _labelled(name, {row: record[field] for row, record in at.records.items()})
    yield _labelled("equipoise_worker_config_version", at.versions)
    resident = {row: _resident(record["pid"]) for row, record in at.records.items() if row in at.versions}
    yield _labelled("equipoise_worker_resident_memory_bytes", {row: size for row, size in resident.items() if size})
    own = [sum(record[f"own_{kind}"] for record in at.records.values()) for kind in STATUS_CLASSES]
    yield _family("equipoise_own_answers_total", [((), own)])
    reached = [sum(record[f"limited_{limit}"] for record in at.records.values()) for limit in LIMITS]
    yield _family("equipoise_limit_reached_total", [((), reached)])


def _resident(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone, or where there is no /proc."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _processes(collector: Collector) -> Iterator[Family]:
    """Of this process, which is the supervisor; nothing where there is no /proc."""
    found = {sample.name: sample.value for family in collector.collect() for sample in family.samples}
    for metric in GROUPS["The supervisor's process"]:
        if metric.name in found:
            yield _single(metric.name, found[metric.name])
    if "process_start_time_seconds" in found:
        yield _single("equipoise_start_time_seconds", found["process_start_time_seconds"])


@cache
def _build() -> tuple[str, str]:
    # The installed package's version is looked up in files, and does not change while this process runs.
    return version(), str(is_compiled()).lower()


def _single(name: str, value: float) -> Family:
    return _family(name, [((), (value,))])


def _labelled(name: str, values: Mapping[str, float] | Mapping[int, float]) -> Family:
    return _family(name, (((str(key),), (value,)) for key, value in values.items()))


def _family(name: str, series: Series) -> Family:
    """A metric of the table with its samples."""
    metric = METRICS[name]
    if metric.kind == "histogram":
        # Its last label, `le`, is the family's own business.
        histogram = HistogramMetricFamily(name, metric.about, labels=metric.labels[:-1])
        for labels, (*counts, total) in series:
            histogram.add_metric(labels, list(zip(metric.values, counts, strict=True)), total)
        return histogram
    if metric.kind == "info":
        info = InfoMetricFamily(name.removesuffix("_info"), metric.about, labels=metric.labels)
        for labels, _ in series:
            info.add_metric(labels, {})
        return info
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(name, metric.about, labels=metric.labels)
    endings: list[tuple[str, ...]] = [(value,) for value in metric.values] or [()]
    for labels, values in series:
        for ending, value in zip(endings, values, strict=True):
            family.add_metric((*labels, *ending), value)
    return family
