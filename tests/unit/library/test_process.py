import os
import signal
import sys
from pathlib import Path

import pytest

from equipoise.library.errors import BalancerError
from equipoise.library.process import Process
from equipoise.library.settings import settle
from tests.scenarios.support.polling import eventually


def test_a_module_beside_the_program_is_found_by_the_balancer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `python -m equipoise`, an entry of the path that is empty is the current directory."""
    (tmp_path / "lines_to_nowhere.py").write_text("def make(spec):\n    raise LookupError('reached')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    table = {"access_log": {"sink": "python:lines_to_nowhere:make"}, "pools": {"default": {"targets": []}}}
    settings = settle(table, tmp_path)
    process = Process(tmp_path, settings.text, settings.config)
    try:
        with pytest.raises(BalancerError, match="reached"):
            eventually(process.is_ready)
    finally:
        process.close()


def test_it_is_killed_when_it_does_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.library.process.GRACE", 0.0)
    settings = settle({"pools": {"default": {"targets": []}}, "limits": {"drain_timeout": "0s"}}, tmp_path)
    process = Process(tmp_path, settings.text, settings.config)
    try:
        eventually(process.is_ready)
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: process.is_gone(at_once=False))
        with pytest.raises(BalancerError, match="signal SIGKILL"):
            process.check_end()
    finally:
        process.close()


def test_a_process_that_cannot_be_started_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settle({"pools": {"default": {"targets": []}}}, tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(BalancerError, match=r"cannot be started: .*no-python"):
        Process(tmp_path, settings.text, settings.config)
