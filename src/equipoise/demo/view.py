"""The demo while it runs: a live table on a terminal, plain lines elsewhere.

Owns: what is shown and how often.
Refuses to know: where the numbers come from.
"""

from time import monotonic
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from equipoise.demo.scenario import Now, TargetView

REFRESH: Final = 0.2
PLAIN_EVERY: Final = 5.0
BAR: Final = 40
STATE_STYLES: Final = {"up": "green", "killed": "bold red", "starting": "yellow"}


class PlainView:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def show(self, now: Now) -> None:
        """Prints a line when one is due."""
        if now.elapsed < self._due:
            return
        self._due = now.elapsed + PLAIN_EVERY
        counts = "  ".join(
            f"{target.name}={'-' if target.state != 'up' else target.in_flight}" for target in now.targets
        )
        self.say(f"{now.phase}: in flight {counts}, {now.rate:.0f} requests/s, {now.failed} failed", now.elapsed)

    def say(self, text: str, elapsed: float | None = None) -> None:
        """Prints a line."""
        stamp = "" if elapsed is None else f"{elapsed:6.1f} s  "
        self._console.print(f"{stamp}{text}", highlight=False, markup=False, soft_wrap=True)


class LiveView:
    """A table that is drawn anew several times a second. Drawn from the caller's thread alone."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._drawn = 0.0
        self._duration = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, now: Now) -> None:
        """Draws the table when it is due."""
        moment = monotonic()
        if moment - self._drawn >= REFRESH or now.phase == "done":
            self._drawn = moment
            self._live.update(draw(now), refresh=True)

    def say(self, text: str) -> None:
        """Prints a line above the table."""
        self._console.print(Text(text, style="dim"))


def draw(now: Now) -> RenderableType:
    """The table and the line below it."""
    most = max(1, *(target.in_flight for target in now.targets))
    up = [target.in_flight for target in now.targets if target.state == "up"]
    table = Table(title=f"Equipoise · {now.phase}", title_justify="left", title_style="bold", expand=False)
    table.add_column("target")
    table.add_column("state", width=8)
    table.add_column("in flight", justify="right")
    table.add_column("", width=BAR)
    table.add_column("requests", justify="right")
    table.add_column("mean delay", justify="right")
    for target in now.targets:
        table.add_row(*_row(target, most))
    spread = f"{max(up) - min(up)}" if up else "-"
    failed = Text(f"{now.failed} failed", style="bold red" if now.failed else "green")
    line = Text(f"{now.elapsed:5.1f} s · {now.rate:.0f} requests/s · {now.open_requests} open · spread {spread} · ")
    return Group(table, line.append_text(failed))


def _row(target: TargetView, most: int) -> tuple[RenderableType, ...]:
    style = STATE_STYLES.get(target.state, "")
    filled = round(BAR * target.in_flight / most)
    bar = Text("━" * filled, style=style) + Text("─" * (BAR - filled), style="dim")
    return (
        target.name,
        Text(target.state, style=style),
        str(target.in_flight),
        bar,
        f"{target.requests:,}",
        f"{target.delay_ms:.0f} ms",
    )


def view_for(console: Console) -> LiveView | PlainView:
    """The table where it can be drawn."""
    return LiveView(console) if console.is_terminal else PlainView(console)
