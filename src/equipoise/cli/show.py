"""How numbers, times and tables look, on a terminal and elsewhere.

Owns: the marks for health and load, how long ago something was, a table in colours or in plain columns.
Refuses to know: what is in a table.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Final = {"up": "green", "draining": "yellow", "down": "bold red"}
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_STEP: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Marks:
    """The characters that a terminal can show. `steps` goes from nothing to everything."""

    up: str
    draining: str
    down: str
    full: str
    rest: str
    steps: str
    arrow: str
    dots: str

    def health(self, health: str) -> str:
        """The symbol for it."""
        return {"up": self.up, "draining": self.draining}.get(health, self.down)


UNICODE: Final = Marks("●", "◐", "✗", "━", "─", "▁▂▃▄▅▆▇█", "→", "…")
ASCII: Final = Marks("+", "~", "x", "#", "-", "_.-:=+*#", "->", "..")


def marks_for(console: Console) -> Marks:
    """Those that the console's encoding has."""
    return ASCII if console.options.ascii_only else UNICODE


def console_for_tables() -> Console:
    """Standard output as it is now; where that is no terminal, lines are as long as they need to be."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def bar(value: int, most: int, width: int, style: str, marks: Marks) -> Text:
    """A bar of `width` cells, of which `value` of `most` are filled: at least one when there is anything."""
    filled = min(width, max(round(width * value / max(most, 1)), 1 if value else 0))
    return Text(marks.full * filled, style) + Text(marks.rest * (width - filled), "dim")


def duration(seconds: float) -> str:
    """In at most seven cells: `12s`, `5m`, `3h 20m`, `12d 4h`."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR}h"


def moment(text: str | None) -> datetime | None:
    """A time in RFC 3339; None when there is none or it is something else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def ago(since: str | None, now: datetime) -> str:
    """How long ago that was; empty when it is not known."""
    then = moment(since)
    return duration((now - then).total_seconds()) if then else ""


def milliseconds(value: float | None) -> str:
    """With as many decimals as tell something; `-` without a sample."""
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def size(octets: int) -> str:
    """With the largest unit that leaves something in front of the point: `512 B`, `1.5 MiB`."""
    if octets < _STEP:
        return f"{octets} B"
    power = min((octets.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{octets / _STEP**power:.1f} {_UNITS[power]}"


def percent(ratio: float | None) -> str:
    """A part of one; `-` when there is none."""
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def count(number: int, word: str) -> str:
    """`1 target`, `2 targets`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


Cell = str | Text
Row = Sequence[Cell]


def table(header: Row, rows: Sequence[Row], right: frozenset[int], gap: int = 2) -> Table:
    """For a terminal; `right` are the columns of numbers. Where it is too narrow, the first column is folded."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    for index, title in enumerate(header):
        made.add_column(title, justify="right" if index in right else "left", no_wrap=index > 0, overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def columns(header: Row, rows: Sequence[Row], right: frozenset[int]) -> str:
    """For a pipe: the same in plain columns, two blanks between them and none at the end."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    padded = (
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)
