"""The examples with code of their own do what their pages say."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios.support.balancer import Balancer, environment, urls
from tests.scenarios.support.client import Client, fetch, get
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, Target, answer

EXAMPLES = Path(__file__).parents[3] / "examples"
Run = Callable[..., Balancer]


@pytest.fixture
def run(stage: Stage, tmp_path: Path) -> Iterator[Run]:
    """Runs an example before other targets and on another port than its file says."""
    assert stage.targets == []
    with ExitStack() as balancers:

        def start(name: str, targets: Sequence[Target], change: Callable[[str], str] = str) -> Balancer:
            folder = tmp_path / name
            shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
            text = (folder / "equipoise.toml").read_text()
            text = re.sub(r"listen = .*", 'listen = "127.0.0.1:0"\nworkers = 2', text)
            text = re.sub(r"targets = .*", f"targets = {json.dumps(urls(targets))}", text)
            return balancers.enter_context(Balancer(folder, change(text) + "\n[admin]\nenabled = false\n"))

        yield start


def takers(targets: Sequence[Target]) -> dict[str, set[int]]:
    """Which targets each user's requests went to."""
    found: dict[str, set[int]] = {}
    for number, target in enumerate(targets):
        for request in target.requests:
            found.setdefault(request.get("x-user") or "", set()).add(number)
    return found


def waits(gate: Gate) -> Script:
    """Answers once the gate is open."""

    async def script(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    return script


def test_affinity_gives_each_user_one_target_in_every_worker(stage: Stage, run: Run) -> None:
    targets = [stage.target() for _ in range(3)]
    balancer = run("custom-algorithm", targets)
    users = [f"user-{number}" for number in range(60)]  # enough that each target is somebody's
    for _ in range(4):
        for user in users:
            assert fetch(balancer.port, get("/", f"X-User: {user}")).status == 200
    found = takers(targets)
    assert {user: len(found[user]) for user in users} == dict.fromkeys(users, 1)
    assert set.union(*found.values()) == {0, 1, 2}


def test_affinity_spills_over_before_one_target_is_overloaded(stage: Stage, run: Run) -> None:
    gate = stage.gate()
    targets = [stage.target(waits(gate)) for _ in range(3)]
    balancer = run("custom-algorithm", targets)

    clients = [Client(balancer.port).send(get("/", "X-User: the same")) for _ in range(24)]
    eventually(lambda: gate.reached, lambda count: count == 24)
    held = [target.in_flight for target in targets]
    gate.open()
    assert {client.answer().status for client in clients} == {200}
    # A quarter more than 8 is 10; the two workers may each have picked before they saw the other's last request.
    assert sum(held) == 24
    assert max(held) <= 11, held


def test_affinity_without_a_user_takes_the_least_loaded(stage: Stage, run: Run) -> None:
    targets = [stage.target() for _ in range(2)]
    balancer = run("custom-algorithm", targets)
    for _ in range(40):
        assert fetch(balancer.port).status == 200
    assert takers(targets)[""] == {0, 1}


def test_the_udp_sink_sends_a_datagram_for_each_request(stage: Stage, run: Run) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(PATIENCE)
        port = collector.getsockname()[1]
        balancer = run("custom-sink", [stage.target()], lambda text: text.replace("5140", str(port)))
        for number in range(3):
            assert fetch(balancer.port, get(f"/{number}")).status == 200
        lines = [json.loads(collector.recv(65_535)) for _ in range(3)]
    assert sorted(line["path"] for line in lines) == ["/0", "/1", "/2"]
    assert {line["status"] for line in lines} == {200}


def test_the_test_with_a_balancer_in_it_passes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "library" / "in_a_test.py", tmp_path)  # where it finds no other settings of pytest
    command = ["-m", "pytest", "-q", "-p", "equipoise.library.pytest_plugin", "in_a_test.py"]
    done = run_python(tmp_path, command, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS="")
    assert "2 passed" in done


def test_the_program_with_a_balancer_in_it_runs(stage: Stage) -> None:
    lines = run_python(EXAMPLES / "library", ["in_a_program.py", stage.target().url]).splitlines()
    assert lines[0].startswith("clients connect to http://127.0.0.1:")
    assert lines[1].endswith("'late']")


def run_python(folder: Path, words: Sequence[str], **more: str) -> str:
    """What a program says that ends well, run in a folder."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**environment(), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
