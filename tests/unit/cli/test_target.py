import json
import signal
import socket
import subprocess
import sys

import pytest

from equipoise.cli.target import JitterOption
from equipoise.demo.delays import Jitter


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "equipoise", "target", *arguments]


def test_port_0_prints_the_port_it_listens_on() -> None:
    arguments = command("--port", "0", "--name", "t", "--delay", "1", "--jitter", "uniform")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        host, _, port = line["address"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert line["event"] == "listening"
    assert b'"name":"t"' in answer
    assert process.returncode == 0


def test_a_port_in_use_is_one_sentence_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(command("--port", str(port)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("equipoise target: ")
    assert "Traceback" not in done.stderr


def test_a_missing_port_is_wrong_usage() -> None:
    done = subprocess.run(command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2


def test_the_options_words_are_the_shapes_of_the_delay() -> None:
    assert [option.value for option in JitterOption] == [shape.value for shape in Jitter]


@pytest.mark.parametrize(
    "arguments",
    [["--stop-at", "1"], ["--start-at", "1"], ["--clock", "file"], ["--stop-at", "2", "--start-at", "1"]],
)
def test_half_a_schedule_or_one_backwards_is_wrong_usage(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "equipoise", "target", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--stop-at" in done.stderr
