"""A demo target as a process."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from equipoise.demo import samples
from equipoise.demo.lines import wall_seconds
from equipoise.demo.target import SAMPLE_MS, Ticks

CODE = (
    "import sys; from pathlib import Path; from equipoise.demo.target import TargetSettings, serve;"
    "serve(TargetSettings(port=0, name='t', log_every=0.2, samples=Path(sys.argv[1])))"
)


class Process:
    """A running target and the lines it printed."""

    def __init__(self, directory: Path) -> None:
        self.samples = directory / "samples"
        self._log = directory / "log"
        with self._log.open("w") as out:
            self.process = subprocess.Popen([sys.executable, "-c", CODE, str(self.samples)], stdout=out)
        self.wait_for("listening")
        host, _, port = self.lines("listening")[0]["address"].rpartition(":")
        self.address = (host, int(port))

    def lines(self, event: str) -> list[dict[str, Any]]:
        complete = self._log.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in complete if line.endswith("\n")]
        return [line for line in found if line["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> None:
        deadline = monotonic() + 20
        while len(self.lines(event)) < count:
            assert monotonic() < deadline, f"no {event}"
            sleep(0.01)

    def ask(self, path: str) -> socket.socket:
        connection = socket.create_connection(self.address, timeout=20)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        return connection


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.process.kill()
    process.process.wait()


def test_the_in_flight_count_is_logged_at_round_moments(target: Process) -> None:
    with target.ask("/?delay=60000"):
        target.wait_for("in_flight", len(target.lines("in_flight")) + 3)
        lines = target.lines("in_flight")
    assert lines[-1]["in_flight"] == 1
    assert lines[-1]["requests"] == 1
    assert all(re.search(r":\d\d\.[02468]00Z$", line["time"]) for line in lines)


def test_samples_are_aligned_to_the_wall_clock(target: Process) -> None:
    with target.ask("/?delay=60000"):
        target.wait_for("in_flight", 4)
    series = samples.load(target.samples)
    assert len(series) > 5
    assert all(tick % SAMPLE_MS == 0 for tick in series)
    assert max(series.values()) == 1


def test_a_signal_lets_requests_in_flight_finish(target: Process) -> None:
    with target.ask("/?delay=400") as connection:
        deadline = monotonic() + 20
        while not (target.samples.exists() and 1 in samples.load(target.samples).values()):
            assert monotonic() < deadline
            sleep(0.01)
        target.process.send_signal(signal.SIGTERM)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert target.process.wait(20) == 0
    assert target.lines("stopped")[0]["in_flight"] == 0


def test_a_signal_closes_the_listening_socket_first(target: Process) -> None:
    with target.ask("/?delay=1000") as connection:
        assert connection.recv(0) == b""
        target.wait_for("in_flight", len(target.lines("in_flight")) + 1)
        target.process.send_signal(signal.SIGTERM)
        deadline = monotonic() + 20
        while True:
            try:
                socket.create_connection(target.address, timeout=20).close()
            except (ConnectionRefusedError, ConnectionResetError):  # reset: it was in the queue of the closed socket
                break
            assert monotonic() < deadline
        assert target.process.poll() is None


def test_ticks_fall_on_multiples_of_their_period_and_none_twice() -> None:
    seen: list[int] = []

    async def run() -> None:
        ticks = Ticks(20, seen.append)
        async with asyncio.timeout(20):
            while len(seen) < 10:  # noqa: ASYNC110 (the ticks come from the loop, not from a task)
                await asyncio.sleep(0.005)
        ticks.stop()

    start_ms = wall_seconds() * 1000
    asyncio.run(run())
    assert all(tick % 20 == 0 for tick in seen)
    assert seen == sorted(set(seen))
    assert seen[0] >= start_ms // 20 * 20
