"""`equipoise status`: what the balancer is doing now.

Owns: its options, and what of the status a person gets to see.
Refuses to know: how the numbers come about.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.text import Text

    from equipoise.cli.answers import PoolStatus, Status, TargetStatus
    from equipoise.cli.show import Marks, Row

_NARROW = 100
_HEADER = ("target", "health", "in flight", "weight", "requests", "failures", "mean ms", "since", "reason")
_NUMBERS = frozenset({3, 4, 5, 6})


def status(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Shows the pools with their targets, and the workers.

    Exits with 0 when the balancer answers, however its targets are.
    """
    from equipoise.cli.answers import Status, read
    from equipoise.cli.connect import Command, connect
    from equipoise.cli.show import console_for_tables

    with connect(Command("status"), config, admin, token) as client:
        answer = client.get("status")
        if json:
            typer.echo(answer.text)
        else:
            show(console_for_tables(), read(answer.data, Status))


def show(console: "Console", found: "Status") -> None:
    """The whole status, in colours where the console is a terminal."""
    from equipoise.cli.show import count, moment

    now = moment(found.time) or datetime.now(UTC)
    most = max((target.in_flight for pool in found.pools.values() for target in pool.targets), default=0)
    console.print(summary(found), markup=False)
    for name, pool in found.pools.items():
        console.print()
        console.print(pool_line(name, pool), style="bold", markup=False)
        show_targets(console, pool.targets, now, most)
    console.print()
    for worker in found.workers:
        waiting = f", {count(worker.waiting, 'request')} waiting for a target" if worker.waiting else ""
        console.print(f"worker {worker.pid}: {count(worker.connections, 'connection')}{waiting}", markup=False)


def summary(found: "Status") -> str:
    """The first line."""
    from equipoise.cli.show import count, duration

    parts = [
        "compiled" if found.compiled else "interpreted",
        f"up {duration(found.uptime_s)}",
        f"configuration {found.version}",
        count(len(found.workers), "worker"),
    ]
    return f"equipoise: {', '.join(parts)}{', draining' if found.draining else ''}"


def pool_line(name: str, pool: "PoolStatus") -> str:
    """What is said of a pool as a whole."""
    up = sum(target.health == "up" for target in pool.targets)
    return f"pool {name}: {pool.algorithm}, spread {pool.spread}, {up} of {len(pool.targets)} up"


def show_targets(console: "Console", targets: "Iterable[TargetStatus]", now: datetime, most: int) -> None:
    """The table of a pool; bars are drawn on a scale up to `most` in flight."""
    from equipoise.cli.show import columns, marks_for, table

    found = list(targets)
    if not found:
        console.print("no targets", style="dim")
    elif console.is_terminal:
        marks = marks_for(console)
        narrow = console.width < _NARROW
        loads = [_load(target, most, 6 if narrow else 16, marks) for target in found]
        rows = [_coloured(target, load, now, marks) for target, load in zip(found, loads, strict=True)]
        # A reason may be long: it has a line of its own.
        console.print(table(_HEADER[:-1], rows, _NUMBERS, 1 if narrow else 2))
        for target in found:
            if target.reason:
                console.print(f"{target.name}: {target.reason}", style=style_of(target), markup=False)
    else:
        numbers = _NUMBERS | {2}
        console.print(columns(_HEADER, [_plain(target, now) for target in found], numbers), markup=False)


def style_of(target: "TargetStatus") -> str:
    """The colour of its health."""
    from equipoise.cli.show import STYLES

    return STYLES.get(target.health, "bold red")


def _plain(target: "TargetStatus", now: datetime) -> "Row":
    from equipoise.cli.show import ago, milliseconds

    return (
        target.name,
        target.health,
        str(target.in_flight),
        str(target.weight),
        str(target.requests),
        str(target.failures),
        milliseconds(target.mean_response_ms).replace(",", ""),
        ago(target.since, now) or "-",
        target.reason or "-",
    )


def _load(target: "TargetStatus", most: int, width: int, marks: "Marks") -> "Text":
    from rich.text import Text

    from equipoise.cli.show import bar

    limit = f"/{target.max_in_flight}" if target.max_in_flight else ""
    return bar(target.in_flight, most, width, style_of(target), marks) + Text(f" {target.in_flight:,}{limit}")


def _coloured(target: "TargetStatus", load: "Text", now: datetime, marks: "Marks") -> "Row":
    from rich.text import Text

    from equipoise.cli.show import ago, milliseconds

    return (
        Text(target.name),
        Text(f"{marks.health(target.health)} {target.health}", style_of(target)),
        load,
        str(target.weight),
        f"{target.requests:,}",
        Text(f"{target.failures:,}", "red" if target.failures else ""),
        milliseconds(target.mean_response_ms),
        ago(target.since, now).split(" ")[0],
    )
