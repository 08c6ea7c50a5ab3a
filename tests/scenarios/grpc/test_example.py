"""examples/grpc does what its page says."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.polling import PATIENCE, eventually

EXAMPLE = Path(__file__).parents[3] / "examples" / "grpc"


class Served:
    """One target.py."""

    def __init__(self, folder: Path, name: str) -> None:
        self.out = folder / name
        with self.out.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, str(folder / "target.py"), "0"], stdout=out)
        line = eventually(self.out.read_text, lambda text: text.endswith("\n") or self.process.poll() is not None)
        self.port = int(line.rpartition(" ")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def example(tmp_path: Path) -> Iterator[tuple[Balancer, list[Served]]]:
    """All of it, on ports of the system's."""
    folder = tmp_path / "grpc"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with ExitStack() as started:
        targets = [started.enter_context(Served(folder, f"out-{number}")) for number in range(2)]
        text = (folder / "equipoise.toml").read_text()
        text = re.sub(r"listen = .*", 'listen = "127.0.0.1:0"\nworkers = 1\nstate_dir = "state"', text)
        urls = ", ".join(f'"h2c://127.0.0.1:{target.port}"' for target in targets)
        text = re.sub(r"targets = .*", f"targets = [{urls}]", text)
        balancer = started.enter_context(Balancer(folder, f"{text}\n[admin]\nenabled = false\n"))
        yield balancer, targets


def call(balancer: Balancer) -> list[str]:
    """What client.py prints."""
    command = [sys.executable, str(balancer.folder / "client.py"), f"127.0.0.1:{balancer.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.splitlines()


def test_the_calls_of_one_connection_are_spread_and_a_leaving_target_gets_none(
    example: tuple[Balancer, list[Served]],
) -> None:
    balancer, targets = example
    said = [f"hello world, this is {target.port}" for target in targets]
    lines = call(balancer)
    assert sorted(lines) == sorted(said * 5)
    leaving, staying = targets
    leaving.process.send_signal(signal.SIGTERM)
    down = balancer.wait_for("target down", target=f"127.0.0.1:{leaving.port}")
    assert down["reason"] == "health probe failed: says NOT_SERVING"
    assert call(balancer) == [f"hello world, this is {staying.port}"] * 10
