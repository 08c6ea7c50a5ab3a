"""Memory and descriptors of the balancer's processes, and whether the memory grows.

Owns: the /proc files that say it, the samples, the line through them.
Refuses to know: what the processes do meanwhile.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_ESTABLISHED: Final = "01"
_LISTENING: Final = "0A"
CLIENTS: Final = "connections of clients"
TARGETS: Final = "connections to targets"


@dataclass(frozen=True)
class Memory:
    """Resident bytes of a process: its own, and all with what it shares (code, the ledger, the cache)."""

    own: int
    resident: int


def parse_memory(status: str) -> Memory:
    """From /proc/PID/status."""
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in status.splitlines())
        if name in {"RssAnon", "VmRSS"}
    }
    return Memory(sizes.get("RssAnon", 0), sizes.get("VmRSS", 0))


def parse_connections(table: str, listening: Collection[int]) -> dict[str, str]:
    """From /proc/PID/net/tcp: what each socket is, by its inode. `listening` are the ports of the listeners."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        port = int(fields[1].rpartition(":")[2], 16)
        if fields[3] == _LISTENING:
            found[fields[9]] = "listeners"
        else:
            found[fields[9]] = CLIENTS if port in listening else TARGETS
    return found


def kind_of(link: str, connections: dict[str, str]) -> str:
    """What a descriptor is, from where its link in /proc/PID/fd leads."""
    kind, _, rest = link.partition(":")
    if kind == "socket":
        return connections.get(rest.strip("[]"), "other sockets")
    if kind in {"pipe", "anon_inode"}:
        return kind
    return "files"


def descriptors(pid: int, listening: Collection[int]) -> Counter[str]:
    """Open descriptors by what they are. What is closed while it looks is left out."""
    connections: dict[str, str] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            table = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
            connections |= parse_connections(table, listening)
    counts: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            counts[kind_of(str(entry.readlink()), connections)] += 1
    return counts


def lasting(counts: Counter[str]) -> dict[str, int]:
    """Without the connections to targets, which are kept or not as the traffic has it."""
    return {kind: count for kind, count in counts.items() if kind != TARGETS and count}


@dataclass
class Samples:
    """Memory over time, by process id."""

    points: dict[int, list[tuple[float, Memory]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, pids: Iterable[int], now: float) -> None:
        """Looks at each process that there is. `now` is in seconds."""
        for pid in pids:
            with contextlib.suppress(OSError):
                memory = parse_memory(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
                if memory.resident:
                    self.points[pid].append((now, memory))

    def own_since(self, pid: int, moment: float) -> list[tuple[float, float]]:
        """Seconds and bytes of one process from a moment on."""
        return [(when, float(memory.own)) for when, memory in self.points.get(pid, []) if when >= moment]

    def series(self, pid: int, began: float, every: int) -> list[tuple[float, int, int]]:
        """The first of each `every` samples of a process: seconds since `began`, own bytes, resident bytes."""
        points = self.points.get(pid, [])[::every]
        return [(round(when - began, 1), memory.own, memory.resident) for when, memory in points]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best (least squares), units per second; 0 for fewer than two moments."""
    if not points:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
