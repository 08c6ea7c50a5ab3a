"""How `equipoise top` looks: one picture of the balancer, drawn for any size.

Owns: what stands where, and what is left out when there is no room.
Refuses to know: terminals, keys, clocks and how samples are taken. `draw` and `block` are pure functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from equipoise.cli.answers import PoolStatus, TargetStatus
from equipoise.cli.show import STYLES, Marks, ago, bar, count, duration, milliseconds, moment
from equipoise.cli.top_samples import Key, Lost, Rates, Sample, Trail, rates

ORDERS: Final = ("as configured", "in flight", "requests/s", "mean ms", "name")
"""What the targets of a pool may be sorted by."""

# Cells of the columns whose width does not depend on the terminal's, and of the gaps between all of them.
_MARK, _HEALTH, _COUNT, _RATE, _MEAN, _GAPS = 2, 12, 6, 8, 7, 6
_WORKER: Final = 40
"""Cells for one worker: two side by side at 80."""
_SHORTEST_NAME: Final = 8
_LONGEST_SPARKS: Final = 30
# A screen with fewer lines than this between head and foot has no events.
_ROOM_FOR_EVENTS: Final = 12
_FEWEST_EVENTS: Final = 3


@dataclass(frozen=True)
class Picture:
    """What is to be seen.

    Attributes:
        now: the last look that succeeded.
        before: the one before it.
        trail: the last minute.
        address: of the admin API.
        lost: when the balancer does not answer now.
        order: one of `ORDERS`.
        first: index of the pool that stands first and gets the room.
    """

    now: Sample
    before: Sample | None
    trail: Trail
    address: str
    lost: Lost | None = None
    order: str = ORDERS[0]
    first: int = 0


def draw(picture: Picture, width: int, height: int, marks: Marks) -> list[Text]:
    """The screen: exactly `height` lines of at most `width` cells."""
    drawing = _Drawing(picture, width, marks)
    head = [*drawing.head(), drawing.titles()]
    foot = Text(f"q leave  p next pool  s sort: {picture.order}", "dim")
    body = drawing.body(max(height - len(head) - 1, 0))
    if picture.lost:
        for line in (head[0], *body):
            line.stylize("dim")
    lines = [*(head + body)[: max(height - 1, 0)], foot][:height]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop")
    return lines


class _Drawing:
    """One picture at one width."""

    def __init__(self, picture: Picture, width: int, marks: Marks) -> None:
        self.picture = picture
        self.now = picture.now
        self.rates: Rates = rates(picture.before, picture.now)
        self.marks = marks
        self.width = width
        pools = list(picture.now.status.pools.items())
        at = picture.first % len(pools) if pools else 0
        self.pools = pools[at:] + pools[:at]
        self.most = max(picture.now.loads().values(), default=0)
        self.peak = max(picture.trail.most(), 1)
        longest = max((len(target.name) for _, pool in pools for target in pool.targets), default=0)
        self.name = max(_SHORTEST_NAME, min(longest, width // 4))
        room = max(width - self.name - _MARK - _HEALTH - _COUNT - _RATE - _MEAN - _GAPS, 8)
        self.sparks = min(room // 2, _LONGEST_SPARKS)
        self.bar = room - self.sparks

    # Head

    def head(self) -> Iterator[Text]:
        """What holds for the balancer as a whole."""
        status = self.now.status
        parts = [
            "compiled" if status.compiled else "interpreted",
            f"up {duration(status.uptime_s)}",
            f"configuration {status.version}",
            count(len(status.workers), "worker"),
        ]
        yield Text("equipoise", "bold") + Text("  " + "  ".join(parts) + ("  draining" if status.draining else ""))
        if lost := self.picture.lost:
            yield Text(f"not reachable since {lost.since:%H:%M:%S}: {lost.reason}", "bold red")
            return
        spread = max((pool.spread for pool in status.pools.values()), default=0)
        in_flight = sum(self.now.loads().values())
        waiting = sum(worker.waiting for worker in status.workers)
        left = f"{_rate(self.rates.total)} requests/s  {in_flight:,} in flight  spread {spread}"
        left += f"  {waiting:,} waiting" if waiting else ""
        right = f"{self.picture.address}  {self.now.wall:%H:%M:%S}"
        yield Text(left) + Text(
            right.rjust(self.width - len(left)) if len(left) + len(right) < self.width else "", "dim"
        )

    def titles(self) -> Text:
        """Above the columns."""
        return Text(
            f"{'':{_MARK}}{'target':{self.name}} {'health':{_HEALTH}} {'in flight':>{_COUNT + 3}} {'':{self.bar - 3}} "
            f"{'req/s':>{_RATE}} {'mean ms':>{_MEAN}} {'last minute' if self.sparks > 10 else '1 minute'}",
            "dim underline",
        )

    # Body

    def body(self, room: int) -> list[Text]:
        """Pools, workers and events in exactly `room` lines."""
        workers = self.workers(room // 6)
        events = list(self.events())
        kept = min(len(events), _FEWEST_EVENTS) if room >= _ROOM_FOR_EVENTS else 0
        lines = self.pool_lines(room - len(workers) - 1 - (kept + 1 if kept else 0))
        lines += [Text(), *workers] if workers else []
        left = room - len(lines) - 1
        if kept and left > 0:
            lines += [Text(), *events[:left]]
        lines += [Text() for _ in range(room - len(lines))]
        return lines[:room]

    def pool_lines(self, room: int) -> list[Text]:
        """Every pool has its line; then the first ones get theirs for targets, as far as the room goes."""
        shown = self.pools if len(self.pools) <= room else self.pools[: max(room - 1, 0)]
        hidden = len(self.pools) - len(shown)
        left = room - len(shown) - (1 if hidden else 0)
        lines: list[Text] = []
        for name, pool in shown:
            lines.append(self.pool_line(name, pool))
            rows = self.rows(name, pool, left)
            lines += rows
            left -= len(rows)
        return [*lines, Text(f"+{count(hidden, 'more pool')}", "dim")] if hidden else lines

    def pool_line(self, name: str, pool: PoolStatus) -> Text:
        """What holds for a pool as a whole."""
        up = sum(target.health == "up" for target in pool.targets)
        said = f"  {pool.algorithm}  spread {pool.spread}  {_rate(self.rates.pool(name))}/s  "
        style = "" if up == len(pool.targets) else "yellow" if up else "bold red"
        return Text(f"pool {name}", "bold") + Text(said) + Text(f"{up} of {len(pool.targets)} up", style)

    def rows(self, name: str, pool: PoolStatus, room: int) -> list[Text]:
        """The targets of a pool; with more than there is room for, those that are unwell and the busiest."""
        if room <= 0:
            return []
        targets = self.sorted(name, pool.targets)
        if len(targets) <= room:
            return [self.row(name, target) for target in targets]
        urgent = sorted(targets, key=lambda target: (target.health == "up", -target.in_flight))[: room - 1]
        chosen = {target.name for target in urgent}
        others = [target for target in targets if target.name not in chosen]
        unwell = sum(target.health != "up" for target in others)
        more = f"{'':{_MARK}}+{len(others)} more, {sum(target.in_flight for target in others):,} in flight"
        last = Text(more + (f", {unwell} not up" if unwell else ""), "dim")
        return [*(self.row(name, target) for target in targets if target.name in chosen), last]

    def sorted(self, pool: str, targets: Sequence[TargetStatus]) -> list[TargetStatus]:
        """In the order that was chosen; equals stay as configured."""
        match self.picture.order:
            case "in flight":
                return sorted(targets, key=lambda target: -target.in_flight)
            case "requests/s":
                return sorted(targets, key=lambda target: -self.rates.targets.get((pool, target.name), 0.0))
            case "mean ms":
                return sorted(targets, key=lambda target: -(target.mean_response_ms or 0.0))
            case "name":
                return sorted(targets, key=lambda target: target.name)
            case _:
                return list(targets)

    def row(self, pool: str, target: TargetStatus) -> Text:
        """One target; one that is not up tells why in the place of what it does not do."""
        style = STYLES.get(target.health, "bold red")
        since = ago(target.since, self.now.wall).split(" ")[0]
        full = bool(target.max_in_flight) and target.in_flight >= target.max_in_flight
        line = Text(f"{self.marks.health(target.health):{_MARK}}", style)
        line += Text(f"{_shortened(target.name, self.name, self.marks):{self.name}} ")
        line += Text(f"{f'{target.health} {since}'[:_HEALTH]:{_HEALTH}} ", style)
        line += Text(f"{target.in_flight:>{_COUNT},} ", "yellow" if full else "")
        if target.health != "up" and target.reason:
            return line + Text(target.reason, style)
        key = (pool, target.name)
        line += bar(target.in_flight, self.most, self.bar, style, self.marks)
        line += Text(
            f" {_rate(self.rates.targets.get(key)):>{_RATE}} {milliseconds(target.mean_response_ms):>{_MEAN}} "
        )
        return line + Text(self.spark_line(key), "cyan")

    def spark_line(self, key: Key) -> str:
        """The load of the last minute; the same scale for all."""
        steps = self.marks.steps
        heights = self.picture.trail.heights(key, self.sparks, self.now.at)
        # Nothing in flight is the lowest step alone.
        return "".join(
            " " if height is None else steps[-(-height * (len(steps) - 1) // self.peak)] for height in heights
        )

    def workers(self, room: int) -> list[Text]:
        """As many as fit side by side, in at most `room` lines."""
        across = max(self.width // _WORKER, 1)
        cells = [
            f"worker {worker.pid:<7} {worker.connections:>6,} conn {_rate(self.rates.workers.get(worker.pid)):>7}/s"
            for worker in self.now.status.workers
        ]
        if len(cells) > across * room > 0:
            kept = across * room - 1
            cells = [*cells[:kept], f"+{len(cells) - kept} more"]
        rows = [cells[at : at + across] for at in range(0, len(cells), across)]
        return [Text("".join(f"{cell:{_WORKER}}" for cell in row).rstrip()) for row in rows[:room]]

    def events(self) -> Iterator[Text]:
        """The newest first."""
        for event in reversed(self.now.events):
            if line := event_line(event, self.now.wall, self.marks):
                yield line


def event_line(event: Mapping[str, Any], wall: datetime, marks: Marks) -> Text | None:
    """What happened, in one line, with the time of day in the time zone of `wall`; None for what is not shown."""
    match event:
        case {"kind": "flip", "pool": pool, "target": target, "to": after}:
            reason = f"  {event['reason']}" if event.get("reason") else ""
            text = Text(f"{pool}/{target} {event.get('from', '')} {marks.arrow} ")
            text += Text(str(after), STYLES.get(str(after), "")) + Text(reason)
        case {"kind": "change", "what": what}:
            text = Text(f"configuration {event.get('version', '')}: {what}")
        case {"kind": "worker", "pid": pid, "event": happened}:
            text = Text(f"worker {pid} {happened}", "red" if happened == "died" else "")
        case _:
            return None
    then = moment(str(event.get("time")))
    return Text(f"{then.astimezone(wall.tzinfo):%H:%M:%S}  " if then else "          ", "dim") + text


def block(picture: Picture) -> str:
    """The same for a pipe: a line for the balancer and one for each target, each complete in itself."""
    now = picture.now
    if lost := picture.lost:
        return f"not reachable since {lost.since.isoformat(timespec='seconds')}: {lost.reason}"
    stamp = now.wall.isoformat(timespec="seconds")
    found = rates(picture.before, now)
    status = now.status
    whole = (
        f"{stamp} configuration={status.version} uptime={status.uptime_s:.0f}s workers={len(status.workers)} "
        f"requests/s={_plain(found.total)} in_flight={sum(now.loads().values())}"
    )
    lines = [
        f"{stamp} pool={name} target={target.name} health={target.health} in_flight={target.in_flight} "
        f"requests/s={_plain(found.targets.get((name, target.name)))} "
        f"mean_ms={milliseconds(target.mean_response_ms).replace(',', '')} spread={pool.spread}"
        for name, pool in status.pools.items()
        for target in pool.targets
    ]
    return "\n".join([whole, *lines])


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _shortened(name: str, width: int, marks: Marks) -> str:
    """A name that is too long loses its middle: what tells hosts apart is at one end, ports are at the other."""
    if len(name) <= width:
        return name
    head = (width - len(marks.dots)) // 2
    tail = width - len(marks.dots) - head
    return f"{name[:head]}{marks.dots}{name[-tail:]}"
