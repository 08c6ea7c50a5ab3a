"""What the balancer is doing, as plain data.

Owns: the shape of the status that the admin API, the dashboard and `equipoise status` show.
Refuses to know: who asks, and how it is sent.
"""

from equipoise.config.schema import Config
from equipoise.model import TargetState
from equipoise.runtime.targets import Entry, TargetTable
from equipoise.state.ledger import Ledger


def pools_status(config: Config, table: TargetTable, ledger: Ledger) -> dict[str, object]:
    """Each pool with its algorithm, spread and targets."""
    pools: dict[str, object] = {}
    for name, pool in config.pools.items():
        targets = [target_status(entry, ledger) for entry in table if entry.key.pool == name]
        loads = [
            ledger.in_flight(entry.slot) for entry in table if entry.key.pool == name and entry.state is TargetState.UP
        ]
        pools[name] = {
            "algorithm": pool.algorithm,
            "spread": max(loads) - min(loads) if loads else 0,
            "targets": targets,
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
        "addresses": list(entry.addresses),
        "health": entry.state.value,
        "reason": entry.reason,
        "since": entry.since.isoformat(timespec="milliseconds"),
        "in_flight": ledger.in_flight(entry.slot),
        "requests": totals["requests"],
        "failures": totals["failures"],
        "retries": totals["retries"],
        "mean_response_ms": round(int(ledger.mean_ns(entry.slot)) / 1e6, 3),
    }


def workers_status(pids: dict[int, int], ledger: Ledger) -> list[dict[str, int]]:
    """Each live worker with its record in the ledger; `pids` by row."""
    return [{**ledger.worker(row), "row": row, "pid": pid} for row, pid in pids.items()]
