"""What is done once, before anything runs.

Owns: the checks of the surroundings, the shared memory, the listening sockets, and what the first log lines say.
Refuses to know: what happens afterwards.
"""

import mmap
import os
import platform
import resource
import secrets
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from equipoise.config.schema import MAX_SLOTS, Config
from equipoise.config.world import listen_addresses, worker_count
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.listen import Estate, Listener, ListenError, open_alone, open_listener
from equipoise.state import ledger as ledger_module
from equipoise.state.ledger import Ledger

# Older ones close a file descriptor twice: answers can reach the wrong client (MagicStack/uvloop 645).
OLDEST_UVLOOP: Final = (0, 23)


class UnfitError(Exception):
    """This process cannot be a balancer; the text says why."""


def check_surroundings() -> None:
    """Refuse an event loop that mixes up connections.

    Raises:
        UnfitError: uvloop is too old.
    """
    version = metadata.version("uvloop")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_UVLOOP:
        raise UnfitError(f"uvloop {version} is too old: 0.23.0 is the first that is safe to use")


def is_compiled() -> bool:
    """Whether the data path runs as compiled modules."""
    return not str(ledger_module.__file__).endswith(".py")


def version() -> str:
    """The version of Equipoise; a source tree that was never installed has none."""
    try:
        return metadata.version("equipoise")
    except metadata.PackageNotFoundError:
        return "not installed"


def announce(log: AppLog, config: Config) -> None:
    """Say what runs, and loudly when it runs slowly."""
    log.info(
        "starting",
        version=version(),
        compiled=is_compiled(),
        pid=os.getpid(),
        workers=worker_count(config),
        python=platform.python_version(),
        uvloop=metadata.version("uvloop"),
    )
    if not is_compiled():
        log.warning("INTERPRETED: the data path is not compiled and costs about 20 times the CPU", compiled=False)


def raise_file_limit() -> None:
    """Each connection is a file descriptor: take as many as the system grants. Workers inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True)
class Memory:
    """The shared memory: a file descriptor to hand down, and the supervisor's view of it."""

    fd: int
    rows: int
    slots: int
    ledger: Ledger

    def map(self) -> mmap.mmap:
        """The memory once more, as a worker maps it."""
        return mmap.mmap(self.fd, Ledger.size(self.rows, self.slots))

    def close(self) -> None:
        """Hand it down to nobody any more."""
        os.close(self.fd)


def make_memory(rows: int) -> Memory:
    """Shared memory for so many workers, all counts 0."""
    fd = os.memfd_create("equipoise-ledger")
    size = Ledger.size(rows, MAX_SLOTS)
    os.ftruncate(fd, size)
    ledger = Ledger(mmap.mmap(fd, size), rows, MAX_SLOTS, -1)
    ledger.clients.set_key(secrets.randbits(63))
    return Memory(fd, rows, MAX_SLOTS, ledger)


def open_admin(config: Config, estate: Estate | None = None) -> Listener | None:
    """Where the admin API is to be served; None when it is not.

    Args:
        config: says where.
        estate: what another process left to this one.

    Raises:
        UnfitError: the address cannot be had.
    """
    if not config.admin.enabled:
        return None
    try:
        return open_alone(config.admin.listen, estate)
    except ListenError as error:
        raise UnfitError(f"the admin API {error}; set [admin] listen to another address, or enabled = false") from error


def open_listeners(config: Config, estate: Estate | None = None) -> tuple[Listener, ...]:
    """All listeners of the file, or none.

    Args:
        config: says where.
        estate: what another process left to this one.

    Raises:
        UnfitError: one of them cannot be had.
    """
    listeners: list[Listener] = []
    try:
        for address in listen_addresses(config):
            listeners.append(open_listener(address, worker_count(config), estate))  # noqa: PERF401 -- those open so far are closed
    except ListenError as error:
        for listener in listeners:
            listener.close()
        raise UnfitError(str(error)) from error
    return tuple(listeners)
