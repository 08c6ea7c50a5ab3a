"""The run on an empty Debian takes what README asks for and nothing else, and begins with nothing."""

import re
import subprocess
from pathlib import Path

from tests.support.shipping import ROOT

PROGRAM = ROOT / ".ci" / "empty-debian"


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, check=False, timeout=30)


def test_it_installs_what_readme_asks_for() -> None:
    (asked,) = re.findall(r"`apt-get install ([^`]+)` on an empty Debian", (ROOT / "README.md").read_text())
    (installed,) = re.findall(r'prepare "apt-get install [-\w ]*--no-install-recommends ([^"]+)"', PROGRAM.read_text())
    assert sorted(installed.split()) == sorted(asked.split())


def test_it_runs_readmes_two_commands() -> None:
    block = (ROOT / "README.md").read_text().partition("## Two commands")[2].split("```")[1]
    commands = re.findall(r"^(make \w+)", block, re.MULTILINE)
    (default,) = re.findall(r"set -- (\".*\")$", PROGRAM.read_text(), re.MULTILINE)
    assert re.findall(r'"([^"]+)"', default) == commands


def test_a_root_that_is_there_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert "it would not be empty" in done.stderr


def test_without_a_folder_it_says_what_it_does() -> None:
    done = run()
    assert done.returncode == 2
    assert "empty-debian FOLDER" in done.stderr
    assert "set -euo" not in done.stderr
