"""A target that is killed and started again by its own parent: the real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from equipoise.demo.keeper import read_mark, write_mark
from equipoise.demo.lines import wall_seconds
from tests.unit.runtime.parts import free_port

PATIENCE = 30.0


class Kept:
    """`equipoise target` with a schedule."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "log"
        self.port = free_port()
        command = [sys.executable, "-m", "equipoise", "target", "--port", str(self.port), "--name", "t"]
        with (folder / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--log", str(self.log), *options], stdout=subprocess.DEVNULL, stderr=errors
            )

    def lines(self, event: str) -> list[dict[str, Any]]:
        text = self.log.read_text() if self.log.exists() else ""
        found = [json.loads(line) for line in text.split("\n")[:-1]]
        return [line for line in found if line["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> None:
        deadline = monotonic() + PATIENCE
        while len(self.lines(event)) < count:
            assert monotonic() < deadline, f"no {event}: {self.log.read_text()}"
            assert self.process.poll() is None, "it left"
            sleep(0.01)

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        except ConnectionError:
            return False
        return True

    def wait_for_silence(self) -> None:
        """The word that it is killed is out before the system has closed what it had open."""
        deadline = monotonic() + PATIENCE
        while self.listens():
            assert monotonic() < deadline, "it still listens"
            sleep(0.01)

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Any]:
    started: list[Kept] = []

    def start(*options: str) -> Kept:
        started.append(Kept(tmp_path, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            with suppress(FileNotFoundError):
                for pid in each.children():
                    os.kill(pid, signal.SIGKILL)
            each.process.kill()
        each.process.wait()


def test_it_is_killed_and_comes_back_on_its_port(kept: Any) -> None:
    target = kept("--stop-at", "0.5", "--start-at", "2.5")
    target.wait_for("killed")
    target.wait_for_silence()
    target.wait_for("listening", 2)
    assert target.listens()
    order = [json.loads(line)["event"] for line in target.log.read_text().splitlines()]
    assert [event for event in order if event != "in_flight"] == ["listening", "killed", "started again", "listening"]


def test_it_dies_as_by_a_crash_with_requests_in_flight(kept: Any) -> None:
    target = kept("--stop-at", "2", "--start-at", "100", "--delay", "60000")
    target.wait_for("listening")
    with socket.create_connection(("127.0.0.1", target.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        # Nothing is answered: the connection just ends.
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    target.wait_for("killed")
    assert target.lines("stopped") == []


def test_the_schedule_waits_for_its_clock(kept: Any, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    write_mark(clock, wall_seconds() - 3600)
    target = kept("--stop-at", "0", "--start-at", "0.3", "--clock", str(clock))
    target.wait_for("listening")
    # What an earlier run left behind does not count.
    assert target.lines("killed") == []
    write_mark(clock, wall_seconds())
    target.wait_for("listening", 2)
    (killed,), (again,) = target.lines("killed"), target.lines("started again")
    assert killed["time"] < again["time"]


def test_a_signal_drains_the_process_that_serves(kept: Any) -> None:
    target = kept("--stop-at", "100", "--start-at", "200")
    target.wait_for("listening")
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(PATIENCE) == 0
    assert len(target.lines("stopped")) == 1


def test_a_signal_ends_it_while_nobody_serves(kept: Any) -> None:
    target = kept("--stop-at", "0", "--start-at", "1000")
    target.wait_for("killed")
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(PATIENCE) == 0


def test_it_leaves_when_the_process_that_serves_does(kept: Any) -> None:
    target = kept("--stop-at", "100", "--start-at", "200")
    target.wait_for("listening")
    (child,) = target.children()
    os.kill(child, signal.SIGKILL)
    assert target.process.wait(PATIENCE) == 128 + signal.SIGKILL


def test_an_address_that_is_taken_ends_it(kept: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        target = kept("--stop-at", "100", "--start-at", "200", "--port", str(taken.getsockname()[1]))
        assert target.process.wait(PATIENCE) == 1
    assert "in use" in target.lines("cannot serve")[0]["reason"]


def test_a_mark_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_mark(tmp_path / "clock", 12.5)
    assert read_mark(tmp_path / "clock") == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["clock"]


@pytest.mark.parametrize("text", ["", "{", '{"t_ms":"soon"}'])
def test_what_is_no_mark_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock").write_text(text)
    assert read_mark(tmp_path / "clock") is None


def test_a_clock_that_is_not_there_yet_is_none(tmp_path: Path) -> None:
    assert read_mark(tmp_path / "clock") is None
