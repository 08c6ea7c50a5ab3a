"""The start of a process that is to take over from another, with the test in the other one's place."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.runtime.control import frame
from equipoise.runtime.handover import VARIABLE, Legacy
from tests.unit.runtime.test_supervisor import RUN, environment

GOOD = 'listen = "127.0.0.1:0"\nworkers = 1\n[admin]\nenabled = false\n[pools.p]\ntargets = []\n'


def launch(folder: Path, text: str, said: str = "", legacy: Legacy | None = None) -> tuple[int, str, bytes]:
    """Exit code, log, and what it says to the process before it."""
    file = folder / "equipoise.toml"
    file.write_text(f'state_dir = "{folder / "state"}"\n{text}')
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        if legacy is not None:
            ours.sendall(frame(legacy))
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(file)],
            env={**environment(), VARIABLE: said or str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
            text=True,
        )
        theirs.close()
        return done.returncode, done.stderr, ours.recv(65536)


def test_a_bad_file_is_told_to_the_process_before_it_too(tmp_path: Path) -> None:
    code, log, told = launch(tmp_path, "workerz = 1\n" + GOOD, legacy=Legacy(pid=os.getpid()))
    assert code == 2
    assert "workerz" in log
    assert b'"Failed"' in told
    assert b"workerz" in told


def test_an_address_that_cannot_be_had_is_told_too(tmp_path: Path) -> None:
    text = GOOD.replace("127.0.0.1:0", "192.0.2.1:80")
    code, log, told = launch(tmp_path, text, legacy=Legacy(pid=os.getpid()))
    assert code == 1
    assert "this machine has no such address" in log
    assert b"this machine has no such address" in told


@pytest.mark.parametrize("said", ["nonsense", "777"])
def test_nothing_to_take_over_from_is_no_start(tmp_path: Path, said: str) -> None:
    code, log, told = launch(tmp_path, GOOD, said)
    assert (code, told) == (1, b"")
    assert "nothing can be taken over" in log
