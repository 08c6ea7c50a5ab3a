"""Every metric of the balancer: its name, its labels, what it says.

Owns: the table that the text of `/metrics` and the reference page are made from. `python -m
equipoise.admin.metrics_reference` prints the page.
Refuses to know: where the numbers come from (`metrics`), how they are written.

A name and its labels are a promise to other people's dashboards and alerts: they are added to, not changed. The labels
are bounded by the configuration: pools, targets, rows of workers; never a path, a client or a process id.
"""

import sys
from dataclasses import dataclass
from typing import Final, Literal

from equipoise.state.ledger import BUCKETS_MS, LIMITS

STATUS_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
STATES: Final = ("up", "draining", "down")
TURNED_AWAY: Final = ("400", "401", "403", "408", "413", "421", "429")
BUCKETS: Final = (*(str(bound / 1000) for bound in BUCKETS_MS), "+Inf")
"""Upper bounds of the response times' buckets, in seconds, as the label `le` writes them."""

_TARGET: Final = ("pool", "target")


@dataclass(frozen=True)
class Metric:
    """One metric with all its series."""

    name: str
    """As a query names it: counters with `_total`, information with `_info`."""
    kind: Literal["counter", "gauge", "histogram", "info"]
    about: str
    """One sentence for the page and for the line HELP; what it counts, and in which unit."""
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """All values of the last label, where they are always the same; each of them is a series."""


GROUPS: Final[dict[str, tuple[Metric, ...]]] = {
    "Targets": (
        Metric(
            "equipoise_requests_total",
            "counter",
            "Answers of the target by class of status; an attempt without an answer is not among them.",
            (*_TARGET, "status_class"),
            STATUS_CLASSES,
        ),
        Metric("equipoise_in_flight", "gauge", "Requests in flight at the target now, over all workers.", _TARGET),
        Metric(
            "equipoise_response_time_seconds",
            "histogram",
            "Time from the pick of the target to the first byte of its answer.",
            (*_TARGET, "le"),
            BUCKETS,
        ),
        Metric(
            "equipoise_mean_response_seconds",
            "gauge",
            "Mean response time of the last 5 minutes; no series while there was no answer in that time.",
            _TARGET,
        ),
        Metric(
            "equipoise_failures_total",
            "counter",
            "Attempts that the target failed: without an answer, with a broken one, or with a status that the pool "
            "counts as failure.",
            _TARGET,
        ),
        Metric(
            "equipoise_retries_total",
            "counter",
            "Attempts at the target that were followed by one at another target.",
            _TARGET,
        ),
        Metric(
            "equipoise_ejections_total", "counter", "Times that its health took the target from up to down.", _TARGET
        ),
        Metric("equipoise_target_up", "gauge", "1 while the target takes new requests, 0 while it does not.", _TARGET),
        Metric(
            "equipoise_target_state",
            "gauge",
            "1 for the state that the target is in, 0 for the others.",
            (*_TARGET, "state"),
            STATES,
        ),
        Metric("equipoise_target_weight", "gauge", "The target's weight.", _TARGET),
        Metric(
            "equipoise_target_max_in_flight",
            "gauge",
            "Requests that the target may hold at once; 0 is no limit.",
            _TARGET,
        ),
        Metric(
            "equipoise_received_bytes_total",
            "counter",
            "Bytes of request bodies received from clients for it.",
            _TARGET,
        ),
        Metric("equipoise_sent_bytes_total", "counter", "Bytes of its answers' bodies sent to clients.", _TARGET),
    ),
    "Pools": (
        Metric(
            "equipoise_pool_spread",
            "gauge",
            "Largest minus smallest number in flight among the targets that are up; 0 when none is.",
            ("pool",),
        ),
    ),
    "Caches": (
        Metric("equipoise_cache_entries", "gauge", "Answers that are kept now.", ("pool",)),
        Metric("equipoise_cache_bytes", "gauge", "Bytes that they take.", ("pool",)),
        Metric("equipoise_cache_max_bytes", "gauge", "Bytes of memory that the cache may have.", ("pool",)),
        Metric("equipoise_cache_hits_total", "counter", "Requests that were answered from the cache.", ("pool",)),
        Metric("equipoise_cache_misses_total", "counter", "Requests that might have been and were not.", ("pool",)),
        Metric("equipoise_cache_stores_total", "counter", "Answers that were stored.", ("pool",)),
        Metric("equipoise_cache_evictions_total", "counter", "Answers that had to make room for others.", ("pool",)),
        Metric(
            "equipoise_cache_refused_total",
            "counter",
            "Answers that were not stored: too large, or purged while they were fetched.",
            ("pool",),
        ),
        Metric(
            "equipoise_cache_busy_total",
            "counter",
            "Changes that were left out, since another worker held that part of the cache.",
            ("pool",),
        ),
        Metric("equipoise_cache_damaged_total", "counter", "Stored answers that were found damaged.", ("pool",)),
        Metric(
            "equipoise_cache_followed_total",
            "counter",
            "Requests that waited for an answer that another one was fetching.",
            ("pool",),
        ),
    ),
    "Workers": (
        Metric("equipoise_workers", "gauge", "Worker processes that are alive."),
        Metric("equipoise_worker_restarts_total", "counter", "Workers that died and were given a successor."),
        Metric(
            "equipoise_worker_resident_memory_bytes",
            "gauge",
            "Resident memory of the worker in bytes; no series while the row has no worker.",
            ("worker",),
        ),
        Metric("equipoise_connections", "gauge", "Open connections of clients, tunnels included.", ("worker",)),
        Metric("equipoise_tunnels", "gauge", "Open tunnels: WebSocket and its like.", ("worker",)),
        Metric(
            "equipoise_waiting_requests",
            "gauge",
            "Requests that wait now, since all targets of their pool are at their limit.",
            ("worker",),
        ),
        Metric(
            "equipoise_worker_requests_total", "counter", "Requests that ended, whoever answered them.", ("worker",)
        ),
        Metric(
            "equipoise_worker_config_version",
            "gauge",
            "Version of the configuration that the worker acts on; no series while the row has no worker.",
            ("worker",),
        ),
        Metric("equipoise_access_log_lines_total", "counter", "Lines handed to the access log's sink.", ("worker",)),
        Metric(
            "equipoise_access_log_dropped_total",
            "counter",
            "Lines of the access log that were lost: a full disk, a sink that failed.",
            ("worker",),
        ),
    ),
    "The balancer": (
        Metric(
            "equipoise_own_answers_total",
            "counter",
            "Answers that the balancer gave itself: refused requests, no target, a target that failed.",
            ("status_class",),
            STATUS_CLASSES,
        ),
        Metric(
            "equipoise_limit_reached_total",
            "counter",
            "Times that a limit was reached: requests refused, connections closed, attempts given up.",
            ("limit",),
            LIMITS,
        ),
        Metric(
            "equipoise_admin_refused_total",
            "counter",
            "Calls of the admin API that were turned away: no good token (401), the wrong role (403), a body that is "
            "too slow (408) or too large (413), another host (421), too many failures (429), a client that left (400).",
            ("status",),
            TURNED_AWAY,
        ),
        Metric("equipoise_config_version", "gauge", "Version of the configuration in force."),
        Metric("equipoise_start_time_seconds", "gauge", "When the balancer was started, Unix time in seconds."),
        Metric(
            "equipoise_build_info",
            "info",
            "Always 1; the labels say which version runs, and whether the data path is compiled.",
            ("version", "compiled"),
        ),
    ),
    "The supervisor's process": (
        Metric(
            "process_cpu_seconds_total", "counter", "Processor time of the supervisor, user and system, in seconds."
        ),
        Metric("process_resident_memory_bytes", "gauge", "Resident memory of the supervisor in bytes."),
        Metric("process_virtual_memory_bytes", "gauge", "Virtual memory of the supervisor in bytes."),
        Metric("process_open_fds", "gauge", "Open file descriptors of the supervisor."),
        Metric("process_max_fds", "gauge", "Limit on open file descriptors of the supervisor."),
        Metric("process_start_time_seconds", "gauge", "When the supervisor was started, Unix time in seconds."),
    ),
}

METRICS: Final[dict[str, Metric]] = {metric.name: metric for group in GROUPS.values() for metric in group}

_PREFACE: Final = """\
<!-- Made by `python -m equipoise.admin.metrics_reference`; change src/equipoise/admin/metrics_reference.py instead. -->

# Metrics

What `GET /metrics` of the admin API answers, in the text format of Prometheus, or in that of OpenMetrics when `Accept`
asks for it. [How to use them](../how-to/metrics.md).

- A counter only grows. It goes back to 0 when the balancer is started anew, and at a target that was removed for more
  than ten minutes and is added again. The death of a worker takes nothing away.
- `worker` is a row of the ledger. There is one row more than workers: while one is replaced, it and its successor have
  one each. Counts stay with the row, and go on with whoever gets it next.
- The series of a cache are there while it is switched on, and its counters begin at 0 when it is switched on, or when
  `max_bytes` changes.
- A removed target has its series until its last request in flight has ended.
"""


def page() -> str:
    """The reference page, Markdown."""
    return _PREFACE + "".join(f"\n## {title}\n\n{_rows(group)}" for title, group in GROUPS.items())


def _rows(group: tuple[Metric, ...]) -> str:
    lines = ["| metric | kind | labels | says |", "|---|---|---|---|"]
    for metric in group:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        if metric.values:
            labels += f": {', '.join(f'`{value}`' for value in metric.values)}"
        kind = "gauge, always 1" if metric.kind == "info" else metric.kind
        lines.append(f"| `{metric.name}` | {kind} | {labels} | {metric.about} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
