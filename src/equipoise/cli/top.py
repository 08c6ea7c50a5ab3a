"""`equipoise top`: the balancer as it works.

Owns: its options, the taking of samples, and what the keys do.
Refuses to know: how it looks (`top_view`), how keys come in (`keyboard`).
"""

import json as encoding
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from equipoise.cli.client import Client
    from equipoise.cli.keyboard import Keyboard
    from equipoise.cli.show import Marks
    from equipoise.cli.top_samples import Sample
    from equipoise.cli.top_view import Picture


def top(
    *,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, max=60, metavar="S", help="Time between two looks.")
    ] = 1.0,
    count: Annotated[int, typer.Option("--count", min=0, help="Leave after so many looks.", show_default="never")] = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Watches the balancer: targets, workers and events, once a second.

    On a terminal, q leaves, p puts the next pool first, s sorts by something else. Elsewhere it prints a block of lines
    each time, with --json the status in one line. It goes on when the balancer is restarted.
    """
    from equipoise.cli.connect import Command, connect
    from equipoise.cli.show import console_for_tables

    console = console_for_tables()
    with connect(Command("top"), config, admin, token) as client:
        # The first look is outside of what goes on for ever: a wrong address or token should end it at once.
        watch = Watch(client, look(client))
        try:
            if json or not console.is_terminal or console.is_dumb_terminal:
                print_on(watch, interval, count, as_json if json else as_block)
            else:
                draw_on(console, watch, interval, count)
        except KeyboardInterrupt:
            pass


def look(client: "Client") -> "Sample":
    """One sample. Raises what the client raises."""
    from equipoise.cli.answers import Status, read
    from equipoise.cli.client import Refused
    from equipoise.cli.show import moment
    from equipoise.cli.top_samples import Sample

    data = client.get("status").data
    status = read(data, Status)
    at = time.monotonic()
    try:
        events = client.get("events", "recent").data.get("events") or []
    except Refused as error:
        if error.status != 404:
            raise
        events = []  # a balancer that keeps none
    wall = (moment(status.time) or datetime.now(UTC)).astimezone()
    return Sample(status, at, wall, tuple(event for event in events if isinstance(event, dict)), data)


class Watch:
    """What is known by now. `take` and `picture` may be called by different threads."""

    def __init__(self, client: "Client", first: "Sample") -> None:
        """Begins with a first sample."""
        from equipoise.cli.top_samples import Trail
        from equipoise.cli.top_view import Picture

        self._client = client
        self._samples = [first]
        self._picture = Picture(first, None, Trail(self._samples), client.access.url)
        # How many looks there were, the first included.
        self.looks = 1

    @property
    def picture(self) -> "Picture":
        """The latest; a new value after each look."""
        return self._picture

    def interrupt(self) -> None:
        """End a look that waits for the balancer."""
        self._client.interrupt()

    def take(self) -> None:
        """Look again. When the balancer does not answer, the last sample stays, with the reason."""
        from equipoise.cli.answers import StrangeAnswerError
        from equipoise.cli.client import Refused, Unreachable
        from equipoise.cli.top_samples import MINUTE, Lost, Trail

        before = self._picture
        self.looks += 1
        try:
            sample = look(self._client)
        except (Unreachable, Refused, StrangeAnswerError) as error:
            reason = error.detail if isinstance(error, Refused) else str(error)
            lost = before.lost or Lost(datetime.now(UTC).astimezone(), reason)
            self._picture = replace(before, lost=replace(lost, reason=reason))
            return
        self._samples = [each for each in self._samples if each.at > sample.at - MINUTE] + [sample]
        self._picture = replace(before, now=sample, before=before.now, trail=Trail(self._samples), lost=None)


# Elsewhere than on a terminal


def print_on(watch: Watch, interval: float, count: int, form: "Callable[[Picture], str]") -> None:
    """A block now and after each interval."""
    due = time.monotonic()
    while True:
        typer.echo(form(watch.picture))
        if watch.looks == count:
            return
        due += interval
        time.sleep(max(due - time.monotonic(), 0))
        watch.take()


def as_block(picture: "Picture") -> str:
    """For people and for grep."""
    from equipoise.cli.top_view import block

    return block(picture)


def as_json(picture: "Picture") -> str:
    """For programs: the status as the API gives it, or why there is none."""
    if picture.lost:
        return encoding.dumps({"error": picture.lost.reason, "since": picture.lost.since.isoformat()})
    return encoding.dumps(picture.now.data)


# On a terminal


def draw_on(console: "Console", watch: Watch, interval: float, count: int) -> None:
    """The live screen, until a key leaves it or there were `count` looks."""
    from rich.live import Live

    from equipoise.cli.keyboard import LEAVE, SUSPEND, Keyboard
    from equipoise.cli.show import marks_for
    from equipoise.cli.top_view import ORDERS

    order, first, marks = 0, 0, marks_for(console)
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with Keyboard() as keyboard, Sampler(watch, interval, keyboard), live:
        while True:
            picture = replace(watch.picture, order=ORDERS[order], first=first)
            live.update(Frame(picture, marks), refresh=True)
            if count and watch.looks >= count:
                return
            keys = keyboard.wait()
            if LEAVE in keys:
                return
            if SUSPEND in keys:
                live.stop()
                keyboard.suspend()
                live.start()
            first += keys.count("p")
            order = (order + keys.count("s")) % len(ORDERS)


class Frame:
    """A picture as rich draws it: for the size that the terminal has at that moment."""

    def __init__(self, picture: "Picture", marks: "Marks") -> None:
        self._picture = picture
        self._marks = marks

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from equipoise.cli.top_view import draw

        yield from draw(self._picture, options.max_width, options.height or console.height, self._marks)


class Sampler:
    """Takes samples in a thread of its own, so that a balancer that does not answer holds up no key."""

    def __init__(self, watch: Watch, interval: float, keyboard: "Keyboard") -> None:
        """Starts with `with`."""
        self._watch = watch
        self._interval = interval
        self._keyboard = keyboard
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watch.interrupt()
        # Where it is connecting, nothing interrupts it: it ends with the process.
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._watch.take()
            self._keyboard.wake()
