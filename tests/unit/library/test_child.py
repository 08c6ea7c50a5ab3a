"""A balancer does not outlive the program that started it, however that ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.scenarios.support.polling import eventually

PROGRAM = """
import signal, sys
from equipoise import Balancer
with Balancer({"pools": {"default": {"targets": []}}}, folder=sys.argv[1]):
    print("ready", flush=True)
    signal.pause()
"""


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "equipoise.log").read_text().splitlines()]


def test_a_program_that_is_killed_takes_its_balancer_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        os.kill(program.pid, signal.SIGKILL)
    eventually(lambda: events(tmp_path)[-2:], lambda seen: seen == ["draining", "stopped"])
