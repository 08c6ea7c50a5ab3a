"""Where the lines of the access log go, and what happens when they cannot."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, get
from tests.scenarios.support.polling import eventually, stays
from tests.scenarios.support.stage import Stage


def text_of(balancer: Balancer, name: str, part: str) -> str:
    """A file's text, once `part` is in it."""
    path = balancer.folder / name
    return eventually(lambda: path.read_text() if path.exists() else "", lambda text: part in text)


def test_json_goes_to_standard_output_by_default(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(log="", workers=2))
    fetch(balancer.port, get("/seen"))
    text = text_of(balancer, "stdout", "/seen")
    assert json.loads(text.strip())["path"] == "/seen"


def test_text_is_a_line_for_people(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], Setting(log='sink = "text"\npath = "access.log"'))
    fetch(balancer.port, get("/%0a%22", "X-Request-Id: a\tb"))
    fetch(balancer.port, get('/"two"'))
    text = text_of(balancer, "access.log", "two")
    lines = text.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("127.0.0.1 ")
    assert '"GET /%0a%22 HTTP/1.1" 200 2' in lines[0]
    assert target.name in lines[0]
    assert '"GET /%22two%22 HTTP/1.1"' in lines[1]


def test_logging_goes_to_the_standard_library(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(log='sink = "logging"'))
    fetch(balancer.port, get("/seen"))
    assert "GET /seen 200" in text_of(balancer, "app.log", "/seen")


def test_structlog_goes_to_structlog(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(log='sink = "structlog"'))
    fetch(balancer.port, get("/seen"))
    assert "status" in text_of(balancer, "stdout", "/seen")


@pytest.mark.parametrize("log", ['sink = "null"\npath = "access.log"', 'enabled = false\npath = "access.log"'])
def test_nothing_is_logged_when_nothing_is_wanted(stage: Stage, balance: Balance, log: str) -> None:
    balancer = balance([stage.target()], Setting(log=log))
    for _ in range(5):
        assert fetch(balancer.port).status == 200
    stays((balancer.folder / "access.log").exists, lambda there: not there)
    assert (balancer.folder / "stdout").read_text() == ""


def test_a_sink_of_the_user_s_own_gets_the_records(stage: Stage, balance: Balance) -> None:
    module = (
        "from equipoise.proxy.access_log import AccessLog\n"
        "class Mine(AccessLog):\n"
        "    def __init__(self, spec):\n"
        "        self.file = open(spec.path, 'a', buffering=1)\n"
        "    def write(self, record):\n"
        "        self.file.write(f'{record.method} {record.path} {record.status} {record.body}\\n')\n"
        "    def close(self):\n"
        "        self.file.close()\n"
        "def factory(spec):\n"
        "    return Mine(spec)\n"
    )
    log = 'sink = "python:mylog:factory"\npath = "mine.log"'
    balancer = balance([stage.target()], Setting(log=log, files=(("mylog.py", module),)))
    fetch(balancer.port, get("/seen"))
    assert text_of(balancer, "mine.log", "/seen") == "GET /seen 200 None\n"


def test_a_sink_of_the_user_s_own_that_raises_costs_no_request(stage: Stage, balance: Balance) -> None:
    module = (
        "from equipoise.proxy.access_log import AccessLog\n"
        "class Broken(AccessLog):\n"
        "    def write(self, record):\n"
        "        raise ValueError('oops')\n"
        "def factory(spec):\n"
        "    return Broken()\n"
    )
    log = 'sink = "python:mylog:factory"'
    balancer = balance([stage.target()], Setting(log=log, files=(("mylog.py", module),)))
    with Client(balancer.port) as client:
        for _ in range(5):
            assert client.ask(GET).body == b"ok"
    balancer.wait_idle()
    assert "oops" in text_of(balancer, "app.log", "oops")


def test_the_log_of_requests_in_flight_is_whole_after_a_stop(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(workers=2))
    for number in range(50):
        fetch(balancer.port, get(f"/{number}"))
    balancer.signal(signal.SIGTERM)
    assert balancer.wait_exit() == 0
    lines = (balancer.folder / "access.log").read_text().splitlines()
    assert {json.loads(line)["path"] for line in lines} == {f"/{number}" for number in range(50)}


def test_a_renamed_log_is_opened_anew_and_no_line_is_lost(stage: Stage, balance: Balance, scale: int) -> None:
    balancer = balance([stage.target()], Setting(workers=2))
    log = balancer.folder / "access.log"
    load = Load(balancer.port, 6)
    with Background(load) as background:
        for number in range(3):
            background.wait_for(20 * scale)
            log.rename(balancer.folder / f"access.log.{number}")
            balancer.signal(signal.SIGUSR1)
            eventually(log.exists)
            background.wait_for(20 * scale)
    load.results.assert_all_good()

    def lines() -> int:
        return sum(path.read_text().count("\n") for path in balancer.folder.glob("access.log*"))

    eventually(lines, lambda count: count >= load.results.answered)
    assert lines() == load.results.answered
    # The old files are let go: nothing is written to them any more.
    old = [path.stat().st_size for path in sorted(balancer.folder.glob("access.log.*"))]
    fetch(balancer.port, get("/after"))
    text_of(balancer, "access.log", "/after")
    assert [path.stat().st_size for path in sorted(balancer.folder.glob("access.log.*"))] == old


def test_a_full_disk_loses_no_request_and_says_so(stage: Stage, balance: Balance, scale: int) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    balancer = balance([stage.target()], Setting(workers=2, log='path = "/dev/full"'))
    results = Load(balancer.port, 6).run_times(200 * scale)
    results.assert_all_good()
    trouble = eventually(lambda: [event for event in balancer.events() if "cannot write" in event["event"]])
    assert trouble[0]["level"] in {"warning", "error"}
    assert "/dev/full" in trouble[0]["event"]
    assert "No space left on device" in trouble[0]["event"]
    balancer.signal(signal.SIGTERM)
    assert balancer.wait_exit() == 0


def test_a_disk_that_is_full_for_a_while_gets_the_lines_later(stage: Stage, balance: Balance, tmp_path: Path) -> None:
    """A pipe stands for the disk: what it cannot take now it takes when it is read."""
    fifo = tmp_path / "slow-disk"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    balancer = balance([stage.target()], Setting(log=f'path = "{fifo}"'))
    requests = 400
    results = Load(balancer.port, 4).run_times(requests)
    results.assert_all_good()
    got = b""

    def lines() -> int:
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            got += os.read(reader, 1024 * 1024)
        return got.count(b"\n")

    eventually(lines, lambda count: count >= results.answered)
    assert {json.loads(line)["status"] for line in got.splitlines()} == {200}
    os.close(reader)
