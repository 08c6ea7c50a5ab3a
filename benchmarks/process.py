"""Processes: started, watched and ended by their own pid.

Owns: the /proc files (CPU time and memory of a whole process tree) and the life of each process that a run starts.
Refuses to know: what those processes are for.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0


class ProcessFailed(Exception):
    """A process did not start, or ended when it should not have."""


@dataclass(frozen=True)
class CpuTime:
    """Seconds of processor time."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        """User and system together."""
        return self.user + self.system

    def __add__(self, other: "CpuTime") -> "CpuTime":
        """Both together."""
        return CpuTime(self.user + other.user, self.system + other.system)

    def __sub__(self, other: "CpuTime") -> "CpuTime":
        """What was spent since `other`."""
        return CpuTime(self.user - other.user, self.system - other.system)


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that are used here."""

    parent: int
    cpu: CpuTime
    started: int


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat. The command may hold spaces and parentheses, so fields count from the last one.

    The times are of all threads; those of children already waited for are added, so that a tree's sum never falls.
    """
    fields = text[text.rindex(")") + 2 :].split()
    user, system, child_user, child_system = (int(field) for field in fields[11:15])
    cpu = CpuTime((user + child_user) / TICKS_PER_SECOND, (system + child_system) / TICKS_PER_SECOND)
    return Stat(parent=int(fields[1]), cpu=cpu, started=int(fields[19]))


def parse_rss(text: str) -> int:
    """Resident bytes from /proc/PID/status; 0 for a process without memory (a zombie)."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_busy(text: str) -> float:
    """Seconds that all processors together were busy, from /proc/stat; time stolen by the host counts too."""
    # user nice system idle iowait irq softirq steal (guest is part of user)
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in text.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and all below it, from a map of pid to parent pid."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def tree(root: int) -> dict[int, Stat]:
    """The live processes from `root` down."""
    stats: dict[int, Stat] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # A process may end between the listing and the reading.
            with contextlib.suppress(OSError, ValueError):
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text(encoding="utf-8"))
    return {pid: stats[pid] for pid in descendants(root, {p: s.parent for p, s in stats.items()}) if pid in stats}


def tree_cpu(root: int) -> CpuTime:
    """Processor time of the whole tree."""
    return sum((stat.cpu for stat in tree(root).values()), CpuTime())


def tree_rss(root: int) -> int:
    """Resident bytes of the whole tree; pages shared between its processes count in each."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += parse_rss(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return total


def settled_rss(root: int, deadline_s: float = 5.0) -> int:
    """`tree_rss` once it has not changed for half a second."""
    end = time.monotonic() + deadline_s
    last, since = tree_rss(root), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 0.5:
        time.sleep(0.05)
        now = tree_rss(root)
        if now != last:
            last, since = now, time.monotonic()
    return last


def busy_seconds() -> float:
    """See `parse_busy`."""
    return parse_busy(Path("/proc/stat").read_text(encoding="utf-8"))


def waited_cpu() -> CpuTime:
    """Processor time of this process and of the children it has waited for (the load generator is one)."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return CpuTime(own.ru_utime + children.ru_utime, own.ru_stime + children.ru_stime)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the limit of open files as far as allowed towards `wanted`; children inherit it. Returns what it is now."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_ports(count: int) -> list[int]:
    """Ports that the system gives out, all different since all are held until the last one is known."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Process:
    """One started process; a context manager that ends it and all below it."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        """Start it. Its output goes to files in `folder`, which is also its working directory."""
        self.name = name
        self.stderr_path = folder / "stderr.txt"
        self.stdout_path = folder / "stdout.txt"
        with self.stdout_path.open("ab") as out, self.stderr_path.open("ab") as err:
            # A session of its own: an interrupt from the terminal ends only this run, which then ends its processes.
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        """Nothing to do: it was started."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()

    def check_alive(self) -> None:
        """Raise with the end of its standard error when it has ended."""
        if self._child.poll() is not None:
            tail = self.stderr_path.read_text(encoding="utf-8", errors="replace")[-1500:]
            raise ProcessFailed(f"{self.name} ended with {self._child.returncode}: {tail}")

    def wait_listening(self, port: int) -> None:
        """Return when something accepts on the port; raise when the process ends or the time is up."""
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            self.check_alive()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise ProcessFailed(f"{self.name} does not listen on its port after {START_DEADLINE_S:.0f} s")

    def wait(self, seconds: float) -> int:
        """Return its exit code; raise subprocess.TimeoutExpired when it does not end by itself in time."""
        return self._child.wait(seconds)

    def stop(self) -> None:
        """Ask, wait, then kill what is left of the tree."""
        if self._child.poll() is not None:
            return
        below = tree(self.pid)
        self._child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(STOP_DEADLINE_S)
        for pid, stat in below.items():
            # The start time tells whether the number still means the same process.
            with contextlib.suppress(OSError, ValueError):
                if parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")).started == stat.started:
                    os.kill(pid, signal.SIGKILL)
        self._child.wait(STOP_DEADLINE_S)
