"""What the balancer says when it starts, and when it cannot."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import COMPILED, Balancer, Setting, environment
from tests.scenarios.support.client import fetch
from tests.scenarios.support.stage import Stage


def run(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """A balancer that is expected to leave by itself."""
    config = folder / "equipoise.toml"
    config.write_text(text)
    command = [sys.executable, "-m", "equipoise", "run", "-c", str(config)]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as sock:
        yield int(sock.getsockname()[1])


def test_the_start_says_which_mode_runs(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()])
    assert balancer.find("starting")[0]["compiled"] is COMPILED
    loud = [event for event in balancer.events() if "INTERPRETED" in event["event"]]
    assert bool(loud) is not COMPILED
    assert all(event["level"] == "warning" for event in loud)


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path, taken: int) -> None:
    done = run(tmp_path, Setting(listen=f"127.0.0.1:{taken}").text(["http://127.0.0.1:1"]))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{taken}: another process listens there already" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_balancers_do_not_share_a_port_by_accident(stage: Stage, balance: Balance, tmp_path: Path) -> None:
    balancer = balance([stage.target()])
    done = run(tmp_path, Setting(listen=f"127.0.0.1:{balancer.port}").text(["http://127.0.0.1:1"]))
    assert done.returncode == 1
    assert "another process listens there already" in done.stderr
    assert fetch(balancer.port).body == b"ok"


def test_a_bad_file_names_all_its_problems_and_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path, 'lisen = "127.0.0.1:0"\n[pools.default]\ntargets = ["http://a"]\nalgorithm = "best"\n')
    assert done.returncode == 2
    assert "lisen" in done.stderr
    assert "listen" in done.stderr
    assert "pools.default.algorithm" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "equipoise", "run", "-c", "nowhere.toml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_algorithm_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    setting = Setting(pool='algorithm = "python:nowhere_at_all:Mine"')
    done = run(tmp_path, setting.text(["http://127.0.0.1:1"]))
    assert done.returncode in {1, 2}
    assert "nowhere_at_all" in done.stderr


def test_an_access_log_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    setting = Setting(log='path = "/nowhere/at/all.log"', workers=2)
    done = run(tmp_path, setting.text(["http://127.0.0.1:1"]))
    assert done.returncode in {1, 2}
    assert "/nowhere/at/all.log" in done.stderr


def test_several_listeners_serve(stage: Stage, balance: Balance) -> None:
    more = '[[listeners]]\naddress = "127.0.0.1:0"'
    balancer = balance([stage.target()], Setting(workers=2, more=more))
    addresses = [event["address"] for event in balancer.find("listening")]
    assert len(set(addresses)) == 2
    for address in addresses:
        assert fetch(int(address.rpartition(":")[2])).body == b"ok"


def test_ipv6_is_served(stage: Stage, tmp_path: Path) -> None:
    try:
        target = stage.target(host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with Balancer(tmp_path, Setting(listen="[::1]:0").text([target.url])) as balancer:
        with socket.create_connection(("::1", balancer.port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: sock.recv(65536), b""))
        assert text.endswith(b"ok")
        request = target.requests[0]
        assert request.get("x-forwarded-for") == "::1"
        assert request.get("host") == f"[::1]:{balancer.port}"
