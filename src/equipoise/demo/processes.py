"""Real processes of the demo: started, watched, ended by their own id.

Owns: ports held for targets, starting a process with its output in files, ending it, what it used.
Refuses to know: what the processes do.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Self

GRACE: Final = 10.0
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demo cannot go on; the message is for the user."""


class Child:
    """One started process, in a session of its own: Ctrl-C reaches the demo alone, which then ends all in order."""

    def __init__(self, name: str, arguments: Sequence[str], out: Path, errors: Path) -> None:
        self.name = name
        self.errors = errors
        with out.open("ab") as stdout, errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=_environment(),
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Makes sure that it still runs.

        Raises:
            DemoError: it ended by itself.
        """
        code = self._process.poll()
        if code is not None:
            raise DemoError(f"{self.name} ended with {code}{_last_words(self.errors)}")

    def kill(self) -> None:
        """Ends it at once, as a crash would (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def end(self, grace: float = GRACE) -> int:
        """Asks it to leave, and makes it leave when it has not after `grace` seconds. Returns its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()


class Children:
    """All processes of one demo. However the demo ends, none of them outlives it."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # In the reverse order of their start: traffic, balancer, targets. Signals wait until this is done.
        held = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
        try:
            for child in reversed(self._all):
                child.end()
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)

    def start(self, name: str, arguments: Sequence[str], out: Path, errors: Path) -> Child:
        """Starts a process of this interpreter; its output is added to the two files."""
        child = Child(name, arguments, out, errors)
        self._all.append(child)
        return child


class HeldPort:
    """A free port that stays ours while no target listens on it.

    The socket is bound and does not listen: clients are refused, as they are by a dead target, and neither another
    program nor an outgoing connection of this machine gets the port in the meantime.
    """

    def __init__(self, host: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((host, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Gives the port back."""
        self._socket.close()


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Looks every 10 ms whether something has happened.

    Raises:
        DemoError: it has not, in time.
    """
    deadline = monotonic() + seconds
    while not ready():
        if monotonic() > deadline:
            raise DemoError(f"{what} took longer than {seconds:g} s")
        sleep(0.01)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, so far; 0 where there is no /proc."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def family(pid: int) -> list[int]:
    """A process and all below it; the process alone where there is no /proc."""
    found = [pid]
    for member in found:
        for path in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:
                continue
    return found


def connections_by_process(pid: int, port: int) -> dict[int, int]:
    """How many connections to this local port each process below `pid` holds; empty where there is no /proc."""
    established = _established(port)
    counts: dict[int, int] = {}
    for member in family(pid)[1:]:
        held = 0
        for entry in Path(f"/proc/{member}/fd").glob("*"):
            try:
                held += entry.readlink().name in established
            except OSError:
                continue
        if held:
            counts[member] = held
    return counts


def _established(port: int) -> set[str]:
    """The sockets that are connected at this local port, named as /proc/PID/fd names them."""
    try:
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return set()
    fields = [row.split() for row in rows]
    return {f"socket:[{row[9]}]" for row in fields if row[3] == "01" and int(row[1].rpartition(":")[2], 16) == port}


def _environment() -> dict[str, str]:
    """This process's, with the path that this program was found on, so that it runs from a source tree as well."""
    source = str(Path(__file__).parents[2])
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{others}" if others else source}


def _last_words(errors: Path) -> str:
    lines = errors.read_text(errors="replace").splitlines()[-5:] if errors.exists() else []
    return "".join(f"\n  {line}" for line in lines)
