import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEADLINE_S = 20.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "equipoise", "run", *arguments]
    env = {key: value for key, value in os.environ.items() if key != "EQUIPOISE_CONFIG"}
    # PYTHONPATH may be relative to where the tests were started.
    env["PYTHONPATH"] = os.pathsep.join(
        str(Path(part).resolve()) for part in env.get("PYTHONPATH", "").split(os.pathsep) if part
    )
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "cannot read equipoise.toml: No such file or directory" in errors


def test_a_bad_file_is_wrong_usage_and_every_problem_is_shown(tmp_path: Path) -> None:
    (tmp_path / "equipoise.toml").write_text('listen = "0.0.0.0:8080"\nworkers = 0\n')
    with start(tmp_path) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert [word for word in ("workers", "pools", "there is no pool") if word not in errors] == []


def test_a_good_file_runs_until_told_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = f'listen = "127.0.0.1:{port}"\nworkers = 1\n[pools.default]\ntargets = []\n[admin]\nlisten = "127.0.0.1:0"\n'
    (tmp_path / "equipoise.toml").write_text(text)
    with start(tmp_path, "-c", "equipoise.toml") as process:
        try:
            wait_for_listener(port, process)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors


def wait_for_listener(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                pytest.fail("the balancer does not listen")
            time.sleep(0.02)
        else:
            return
