import os
import socket
import sys
from pathlib import Path

import pytest

from equipoise.demo.processes import (
    Child,
    Children,
    DemoError,
    HeldPort,
    connections_by_process,
    cpu_seconds,
    family,
    wait_until,
)

SLEEPER = "import signal, sys; print('ready', flush=True); signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"])
try:
    child.wait()
except BaseException:
    child.kill()
    child.wait()
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc here")


def start(children: Children, tmp_path: Path, code: str, name: str = "child") -> Child:
    """Starts Python code that prints a line when it is ready, and waits for that."""
    out = tmp_path / f"{name}.out"
    child = children.start(name, ["-c", code], out, tmp_path / f"{name}.err")
    wait_until(lambda: out.read_text().startswith("ready"), 20, "the start")
    return child


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_is_ended_by_its_own_id(tmp_path: Path) -> None:
    with Children() as children:
        child = start(children, tmp_path, SLEEPER)
        assert child.exit_code() is None
        assert child.end() == -15
    assert not alive(child.pid)


def test_a_child_that_does_not_leave_is_made_to(tmp_path: Path) -> None:
    with Children() as children:
        assert start(children, tmp_path, STUBBORN).end(grace=0.1) == -9


def break_off(tmp_path: Path, pids: list[int]) -> None:
    with Children() as children:
        pids += [start(children, tmp_path, SLEEPER, f"child-{number}").pid for number in range(3)]
        raise RuntimeError("oops")


def test_no_child_outlives_an_exception(tmp_path: Path) -> None:
    pids: list[int] = []
    with pytest.raises(RuntimeError, match="oops"):
        break_off(tmp_path, pids)
    assert len(pids) == 3
    assert not any(alive(pid) for pid in pids)


def test_a_child_is_not_in_the_terminals_foreground(tmp_path: Path) -> None:
    with Children() as children:
        child = start(children, tmp_path, SLEEPER)
        assert os.getsid(child.pid) == child.pid


def test_a_child_that_ended_by_itself_says_why(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start(
            "the child", ["-c", "import sys; sys.exit('no way')"], tmp_path / "out", tmp_path / "err"
        )
        wait_until(lambda: child.exit_code() is not None, 20, "the end")
        with pytest.raises(DemoError, match=r"the child ended with 1\n  no way"):
            child.check()


def test_waiting_has_an_end() -> None:
    with pytest.raises(DemoError, match=r"the impossible took longer than 0\.05 s"):
        wait_until(lambda: False, 0.05, "the impossible")


def test_a_held_port_refuses_and_a_target_can_take_it() -> None:
    held = HeldPort("127.0.0.1")
    address = ("127.0.0.1", held.number)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen()
            socket.create_connection(address).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    finally:
        held.close()


def test_nobody_else_gets_a_held_port() -> None:
    held = HeldPort("127.0.0.1")
    try:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", held.number))
    finally:
        held.close()


@needs_proc
def test_a_family_is_a_process_and_all_below_it(tmp_path: Path) -> None:
    with Children() as children:
        child = start(children, tmp_path, PARENT)
        assert len(family(child.pid)) == 2
        assert child.pid in family(os.getpid())
        grandchild = family(child.pid)[1]
        os.kill(grandchild, 9)


@needs_proc
def test_processor_time_only_grows() -> None:
    before = cpu_seconds(os.getpid())
    wait_until(lambda: sum(range(20_000)) > 0 and cpu_seconds(os.getpid()) > before, 20, "some work")


@needs_proc
def test_connections_are_counted_by_the_process_that_holds_them(tmp_path: Path) -> None:
    code = (
        "import socket\nlistener = socket.create_server(('127.0.0.1', 0))\n"
        "print('ready', listener.getsockname()[1], flush=True)\nheld = [listener.accept() for _ in range(3)]\n"
        "print('all', flush=True)\nlistener.accept()"
    )
    with Children() as children:
        child = start(children, tmp_path, code)
        port = int((tmp_path / "child.out").read_text().split()[1])
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        wait_until(lambda: "all" in (tmp_path / "child.out").read_text(), 20, "three connections")
        assert connections_by_process(os.getpid(), port)[child.pid] == 3
        for client in clients:
            client.close()


def test_children_run_this_interpreter_with_this_source(tmp_path: Path) -> None:
    code = "import sys, equipoise.demo; print('ready', sys.executable, equipoise.demo.__file__, flush=True)"
    with Children() as children:
        start(children, tmp_path, code)
    import equipoise.demo  # noqa: PLC0415 (the one that this test run imported)

    assert (tmp_path / "child.out").read_text().split()[1:] == [sys.executable, equipoise.demo.__file__]
