import re
import subprocess
import sys

import pytest


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "equipoise", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--concurrency", "3", "--rate", "3"], "exclude each other"),
        (["--kill-at", "40", "--restart-at", "20"], "the order is"),
        (["--duration", "5"], "at least 4 s each"),
        (["--targets", "1"], "--targets"),
        (["--rate", "0"], "--rate"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(arguments: list[str], says: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 2
    # The message may be wrapped and coloured.
    words = re.sub(r"\x1b\[[0-9;]*m|[│\s]+", " ", done.stderr)
    assert says in re.sub(r" +", " ", words)


def test_help_does_not_load_what_the_demo_needs() -> None:
    code = "import sys, equipoise.cli.demo; print(*(name for name in sys.modules if name.startswith('equipoise.demo')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
