"""What the balancer is doing, as plain data.

Owns: the shape of the status that the admin API, the dashboard and `equipoise status` show.
Refuses to know: who asks, and how it is sent.
"""

from equipoise.config.schema import Config
from equipoise.model import TargetState
from equipoise.runtime.caches import Caches
from equipoise.runtime.targets import Entry, TargetTable
from equipoise.state.ledger import Ledger


def pools_status(config: Config, table: TargetTable, ledger: Ledger, caches: Caches) -> dict[str, object]:
    """Each pool with its algorithm, spread, cache and targets, the removed ones with requests in flight included."""
    pools: dict[str, object] = {}
    shown = table.shown()
    for name, pool in config.pools.items():
        entries = [entry for entry in shown if entry.key.pool == name]
        loads = [ledger.in_flight(entry.slot) for entry in entries if entry.state is TargetState.UP]
        pools[name] = {
            "algorithm": pool.algorithm,
            "spread": max(loads) - min(loads) if loads else 0,
            "cache": caches.stats(name, pool.cache),
            "targets": [target_status(entry, ledger) for entry in entries],
        }
    return pools


def target_status(entry: Entry, ledger: Ledger) -> dict[str, object]:
    """One target with its health and counters."""
    totals = ledger.totals(entry.slot)
    return {
        "name": entry.key.target,
        "url": entry.config.url,
        "weight": entry.config.weight,
        "max_in_flight": entry.config.max_in_flight,
        "state": entry.config.state,
        "addresses": list(entry.addresses),
        "health": entry.state.value,
        "reason": entry.reason,
        "since": entry.since.isoformat(timespec="milliseconds"),
        "in_flight": ledger.in_flight(entry.slot),
        "requests": totals["requests"],
        "failures": totals["failures"],
        "retries": totals["retries"],
        "ejections": entry.ejections,
        "mean_response_ms": round(int(ledger.mean_ns(entry.slot)) / 1e6, 3),
    }


def workers_status(
    pids: dict[int, int], versions: dict[int, int], leaving: set[int], ledger: Ledger
) -> list[dict[str, int]]:
    """Each live worker with its record in the ledger.

    Args:
        pids: process ids by row.
        versions: of the configuration that they act on, by row.
        leaving: the rows of those that drain since they have a successor.
        ledger: the counters.
    """
    return [
        {**_record(ledger, row), "row": row, "pid": pid, "version": versions[row], "draining": row in leaving}
        for row, pid in pids.items()
    ]


def _record(ledger: Ledger, row: int) -> dict[str, int]:
    """What people look at; how often limits were reached is for the metrics."""
    return {name: count for name, count in ledger.worker(row).items() if not name.startswith("limited_")}


def why_not_ready(config: Config, table: TargetTable, workers: tuple[int, int]) -> str | None:
    """What keeps the balancer from being of use, None when nothing does.

    Args:
        config: what runs.
        table: its targets.
        workers: how many are up, and how many there are to be.
    """
    up, wanted = workers
    if up < wanted:
        return f"{up} of {wanted} workers are up"
    served = {entry.key.pool for entry in table if entry.state is TargetState.UP}
    for name, pool in config.pools.items():
        if pool.targets and name not in served:
            return f"no target of pool {name} is up"
    return None if served else "no pool has a target"
