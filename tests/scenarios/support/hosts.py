"""Hosts of our own: network namespaces with real addresses and names, joined by a switch.

Owns: the namespaces, the cables, who has which address and name; programs that run on a host.
Refuses to know: what the programs are.

It takes root. A host's name is looked up in a file that its programs see as /etc/hosts, and nobody else does.
"""

import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

SUBNET = "10.77.0"
# linux/sched.h
_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
# Several networks may be there at once.
_NUMBERS = itertools.count()
_LIBC = ctypes.CDLL(None, use_errno=True)
# A classic BPF program for `tc filter ... bpf direct-action`: a packet whose random number is above the limit passes
# (-1, no opinion), the others are dropped (2, TC_ACT_SHOT). netem would do as well, where the kernel has it.
_DROP = "4,32 0 0 4294963256,37 0 1 {limit},6 0 0 4294967295,6 0 0 2"
# Puts the names before the program, which keeps the process: its id is the one that was started.
_WITH_NAMES = 'mount --bind "$0" /etc/hosts && exec "$@"'


def why_not() -> str:
    """Why there can be no hosts here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    name = f"eq{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces: {made.stderr.strip()}"
    _ip("netns", "delete", name)
    return ""


class Network:
    """A switch and the hosts on it; all of it is gone afterwards."""

    def __init__(self, folder: Path) -> None:
        """Nothing is there yet; the file with the names lies in the folder."""
        self._names = folder / "hosts"
        self._addresses: dict[str, str] = {}
        self._hosts: dict[str, Host] = {}
        self._mark = f"eq{os.getpid()}-{next(_NUMBERS)}"
        self._switch = f"{self._mark}-switch"
        self._gone = ExitStack()

    def __enter__(self) -> Self:
        self._add_namespace(self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        self._write_names()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.close()

    def host(self, name: str) -> "Host":
        """A host with a name and the next address; the same one for the same name."""
        if name not in self._hosts:
            number = len(self._hosts) + 1
            namespace = f"{self._mark}-{number}"
            self._add_namespace(namespace)
            cable = f"cable{number}"
            _ip("-n", self._switch, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("-n", self._switch, "link", "set", cable, "master", "switch", "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            self._hosts[name] = Host(self, name, namespace)
            self._hosts[name].take(f"{SUBNET}.{number}")
        return self._hosts[name]

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._gone.callback(_ip, "netns", "delete", name)

    def name(self, name: str, address: str | None) -> None:
        """From now on the name means this address, or nothing."""
        self._addresses.pop(name, None)
        if address is not None:
            self._addresses[name] = address
        self._write_names()

    def _write_names(self) -> None:
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._addresses.items())]
        # In place: programs that run see this very file. One write, so that no look-up finds half of it; spaces at the
        # end cover what was there before.
        text = "\n".join(lines) + "\n"
        fd = os.open(self._names, os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.pwrite(fd, text.ljust(max(os.fstat(fd).st_size, len(text) + 1) - 1).encode() + b"\n", 0)
        finally:
            os.close(fd)

    @property
    def names(self) -> Path:
        """The file with the names."""
        return self._names


class Host:
    """One host."""

    def __init__(self, network: Network, name: str, namespace: str) -> None:
        self.name = name
        self.address = ""
        self._network = network
        self._namespace = namespace

    def take(self, address: str) -> None:
        """Has this address from now on, and its name means it."""
        self.leave()
        _ip("-n", self._namespace, "address", "add", f"{address}/24", "dev", "eth0")
        self.address = address
        self._network.name(self.name, address)

    def leave(self) -> None:
        """Has no address any more; its name means nothing, and who still has the address reaches nobody."""
        if self.address:
            _ip("-n", self._namespace, "address", "flush", "dev", "eth0")
            self._network.name(self.name, None)
            self.address = ""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is on the host meanwhile, and so is every thread and process that it starts."""
        with Path("/proc/thread-self/ns/net").open("rb") as home:
            _enter(_NAMESPACES / self._namespace)
            try:
                yield
            finally:
                _set_network(home.fileno())

    def lose(self, share: float, directions: Sequence[str] = ("ingress", "egress")) -> None:
        """From now on so much of what comes in (ingress) and goes out (egress) is lost without a word; 1.0 is all."""
        self.lose_nothing()
        _run("tc", "-n", self._namespace, "qdisc", "add", "dev", "eth0", "clsact")
        program = _DROP.format(limit=round(share * 0xFFFFFFFF))
        for direction in directions:
            _run(
                "tc", "-n", self._namespace, "filter", "add", "dev", "eth0", direction, "bpf", "da", "bytecode", program
            )

    def lose_nothing(self) -> None:
        """The cable is whole again."""
        command = ["tc", "-n", self._namespace, "qdisc", "del", "dev", "eth0", "clsact"]
        subprocess.run(command, capture_output=True, check=False)

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line that runs a program on this host, as the process that is started."""
        inside = ["ip", "netns", "exec", self._namespace]
        return [*inside, "unshare", "--mount", "sh", "-c", _WITH_NAMES, str(self._network.names), *words]

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Runs a program to its end."""
        return subprocess.run(self.command(words), env=environment, capture_output=True, text=True, check=False)


def _enter(namespace: Path) -> None:
    with namespace.open("rb") as there:
        _set_network(there.fileno())


def _set_network(fd: int) -> None:
    """The calling thread's network namespace (setns(2)); Python has a function for it since 3.12 only."""
    if _LIBC.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
