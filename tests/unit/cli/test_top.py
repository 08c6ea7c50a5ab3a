import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import equipoise.errors
from equipoise.cli.access import Access
from equipoise.cli.client import Client
from equipoise.cli.top import Watch, look
from tests.support.admin_api import ScriptedApi, status, target
from tests.support.terminal import ALTERNATE, ORDINARY, Terminal
from tests.unit.cli.conftest import Run

EVENTS = "GET /v1/events/recent"


@pytest.fixture(autouse=True)
def events(api: ScriptedApi) -> None:
    """One worker has started."""
    said = [{"id": 1, "kind": "worker", "time": "2026-07-30T12:04:00Z", "pid": 4242, "row": 0, "event": "started"}]
    api.says(EVENTS, {"events": said})


@pytest.fixture
def client(api: ScriptedApi) -> Iterator[Client]:
    with Client(Access(api.url, "--admin", lambda: "t")) as client:
        yield client


# Samples


def test_a_look_is_status_and_events(client: Client) -> None:
    sample = look(client)
    assert sample.status.version == 7
    assert [event["kind"] for event in sample.events] == ["worker"]


def test_a_look_has_the_balancers_clock(client: Client) -> None:
    assert look(client).wall.timestamp() == 1785413100.0


def test_a_balancer_that_keeps_no_events_can_be_watched(api: ScriptedApi, client: Client) -> None:
    del api.answers[EVENTS]
    assert look(client).events == ()


def test_the_picture_has_the_last_two_looks(api: ScriptedApi, client: Client) -> None:
    watch = Watch(client, look(client))
    first = watch.picture.now
    api.says("GET /v1/status", {**status(), "version": 8})
    watch.take()
    assert (watch.picture.before, watch.picture.now.status.version, watch.looks) == (first, 8, 2)


@pytest.mark.parametrize(("code", "reason"), [(401, "token expired"), (500, "it broke")])
def test_a_look_that_fails_leaves_the_last_one_with_the_reason(
    api: ScriptedApi, client: Client, code: int, reason: str
) -> None:
    watch = Watch(client, look(client))
    api.refuses("GET /v1/status", code, reason)
    watch.take()
    lost = watch.picture.lost
    assert lost is not None
    assert (lost.reason, watch.picture.now.status.version) == (reason, 7)


def test_a_balancer_is_lost_since_the_first_look_that_failed(api: ScriptedApi, client: Client) -> None:
    watch = Watch(client, look(client))
    api.refuses("GET /v1/status", 500, "first")
    watch.take()
    first = watch.picture.lost
    api.refuses("GET /v1/status", 500, "second")
    watch.take()
    assert (first, watch.picture.lost) != (None, None)
    assert first is not None
    assert watch.picture.lost is not None
    assert (watch.picture.lost.since, watch.picture.lost.reason) == (first.since, "second")


def test_a_balancer_that_is_back_is_not_lost(api: ScriptedApi, client: Client) -> None:
    watch = Watch(client, look(client))
    good = api.answers["GET /v1/status"]
    api.refuses("GET /v1/status", 500, "away")
    watch.take()
    api.answers["GET /v1/status"] = good
    watch.take()
    assert watch.picture.lost is None


# Elsewhere than on a terminal


def test_each_look_is_a_block(run: Run) -> None:
    result = run("top", "--count", "2", "--interval", "0.1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[1] for line in result.stdout.splitlines()] == [
        "configuration=7",
        "pool=default",
        "pool=default",
    ] * 2


def test_json_is_a_status_in_each_line(run: Run) -> None:
    result = run("top", "--json", "--count", "2", "--interval", "0.1")
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == [7, 7]


def test_a_first_look_that_fails_ends_it(api: ScriptedApi, run: Run) -> None:
    api.refuses("GET /v1/status", 401, "token expired")
    result = run("top")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("equipoise top: the token was refused: token expired")


# On a terminal


@pytest.fixture
def terminal(api: ScriptedApi, tmp_path: Path) -> Iterator[Terminal]:
    """`equipoise top` on 80 columns and 24 lines."""
    many = [target(f"t{number:02}", in_flight=number) for number in range(3)]
    api.says("GET /v1/status", status(default=many, images=[target("blue")]))
    source = str(Path(equipoise.errors.__file__).parent.parent)
    command = [sys.executable, "-m", "equipoise", "top", "--interval=0.1", "--admin", api.url, "--token", "t"]
    env = {**os.environ, "PYTHONPATH": source, "HOME": str(tmp_path)}
    with Terminal(command, env) as terminal:
        terminal.wait_for("3 of 3 up")
        yield terminal


def names(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith(("●", "pool "))]


def test_the_screen_is_full_and_no_wider(terminal: Terminal) -> None:
    lines = terminal.wait_for("sort: as configured")
    assert len(lines) == 24
    assert max(len(line) for line in lines) <= 80
    assert names(lines) == ["default", "t00", "t01", "t02", "images", "blue"]


def test_s_sorts(terminal: Terminal) -> None:
    terminal.press("s")
    assert names(terminal.wait_for("sort: in flight"))[:4] == ["default", "t02", "t01", "t00"]


def test_p_puts_the_next_pool_first(terminal: Terminal) -> None:
    terminal.press("ps")
    assert names(terminal.wait_for("sort: in flight"))[0] == "images"


def test_a_new_size_is_drawn_at_once(terminal: Terminal) -> None:
    terminal.resize((100, 10))
    terminal.press("s")
    lines = terminal.wait_for("sort: in flight")
    assert len(lines) == 10


def test_q_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.press("q")
    assert terminal.wait_exit() == 0
    assert terminal.is_as_before()
    assert terminal.said().count(ALTERNATE) == terminal.said().count(ORDINARY) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_it_so_too(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.wait_exit() == 0
    assert terminal.is_as_before()
    assert terminal.said().count(ALTERNATE) == terminal.said().count(ORDINARY) == 1


def test_the_screen_is_never_cleared_between_two_frames(terminal: Terminal) -> None:
    """It would flicker."""
    terminal.press("s")
    terminal.wait_for("sort: in flight")
    assert "\x1b[2J" not in terminal.said().partition(ALTERNATE)[2].partition("sort: as configured")[2]


def test_a_balancer_that_is_lost_is_told_and_found_again(api: ScriptedApi, terminal: Terminal) -> None:
    api.refuses("GET /v1/status", 503, "away")
    assert "away" in terminal.wait_for("not reachable since")[1]
    api.says("GET /v1/status", {**status(), "version": 8})
    lines = terminal.wait_for("configuration 8")
    assert not any("not reachable" in line for line in lines)
