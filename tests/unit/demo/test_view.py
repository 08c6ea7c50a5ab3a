from io import StringIO

import pytest
from rich.console import Console

from equipoise.demo.scenario import Now, TargetView
from equipoise.demo.view import LiveView, PlainView, draw, view_for


def now(elapsed: float = 0.0, failed: int = 0) -> Now:
    targets = [
        TargetView("a", "127.0.0.1:1", 100.0, "up", 24, 1200),
        TargetView("b", "127.0.0.1:2", 150.0, "killed", 0, 800),
        TargetView("c", "127.0.0.1:3", 200.0, "up", 21, 600),
    ]
    return Now("without b", targets, rate=640.0, open_requests=45, answered=2600, elapsed=elapsed, failed=failed)


def console(*, terminal: bool) -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, width=120, force_terminal=terminal), out


def rendered(shown: Now) -> str:
    screen, out = console(terminal=False)
    screen.print(draw(shown))
    return out.getvalue()


def test_the_table_shows_each_target_and_the_phase() -> None:
    text = rendered(now(elapsed=12.0))
    assert "without b" in text
    assert "1,200" in text
    assert "killed" in text


def test_the_spread_counts_targets_that_are_up_only() -> None:
    assert "spread 3" in rendered(now())


def test_failures_are_counted_below_the_table() -> None:
    assert "7 failed" in rendered(now(failed=7))


def test_the_longest_bar_belongs_to_the_most_loaded_target() -> None:
    bars = {line.split()[1]: line.count("━") for line in rendered(now()).splitlines() if "ms" in line and "up" in line}
    assert bars["a"] > bars["c"] > 0


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveView), (False, PlainView)])
def test_a_table_is_drawn_on_a_terminal_only(terminal: bool, kind: type) -> None:
    assert isinstance(view_for(console(terminal=terminal)[0]), kind)


def test_plain_lines_come_every_five_seconds() -> None:
    screen, out = console(terminal=False)
    with PlainView(screen) as view:
        for tenth in range(120):
            view.show(now(elapsed=tenth / 10))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:2] == ["5.0", "s"]
    assert "a=24  b=-  c=21" in lines[1]


def test_the_live_table_ends_with_the_last_state() -> None:
    screen, out = console(terminal=True)
    with LiveView(screen) as view:
        view.show(now())
        view.say("target b killed")
        final = now()
        final.phase = "done"
        view.show(final)
    assert "target b killed" in out.getvalue()
    assert "done" in out.getvalue()
