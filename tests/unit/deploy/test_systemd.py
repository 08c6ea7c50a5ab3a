"""The unit: by systemd's own check, and how it fits the commands and the drain."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.config.schema import LimitsConfig
from tests.support.shipping import ROOT, usage_error

FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "equipoise.service"


def settings() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=50, check=False)


def startable(folder: Path) -> Path:
    """The unit with commands that are on this machine."""
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/equipoise/bin/equipoise", sys.executable))
    return unit


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    found = analyze("verify", "--man=no", str(startable(tmp_path)))
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_what_is_wrong(tmp_path: Path) -> None:
    unit = startable(tmp_path)
    unit.write_text(unit.read_text().replace("WatchdogSec=30", "WatchdogSec=soon"))
    assert "soon" in analyze("verify", "--man=no", str(unit)).stderr


@pytest.mark.needs("systemd-analyze")
def test_what_it_may_do_is_little(tmp_path: Path) -> None:
    # Tenths of systemd's scale from 0 (nothing) to 10 (everything).
    found = analyze("security", "--offline=yes", "--threshold=20", str(startable(tmp_path)))
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", ["ExecStartPre", "ExecStart"])
def test_the_commands_are_there(name: str) -> None:
    program, *words = settings()[name].split()
    assert program == "/opt/equipoise/bin/equipoise"
    assert usage_error(words) is None


def test_it_is_told_when_the_balancer_is_ready() -> None:
    assert settings()["Type"] == "notify"
    assert settings()["NotifyAccess"] == "main"


def test_the_drain_fits_into_the_stop() -> None:
    assert float(settings()["TimeoutStopSec"]) > LimitsConfig().drain_timeout + 5


def test_only_the_supervisor_is_signalled_and_workers_have_successors() -> None:
    assert settings()["KillMode"] == "mixed"
    assert settings()["OOMPolicy"] == "continue"


def test_its_user_is_made() -> None:
    made = re.findall(r"^u (\S+)", (FOLDER / "equipoise.sysusers.conf").read_text(), re.MULTILINE)
    assert made == [settings()["User"]]
