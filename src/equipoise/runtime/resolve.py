"""The addresses behind the names of targets.

Owns: when a name is looked up again, and what is believed while the name service does not answer.
Refuses to know: which targets have a name in common, what is done with the addresses.

The system's resolver tells no lifetime of an answer, so every name is looked up again every few seconds, sooner when
its target cannot be reached: a container that was restarted often has another address.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from equipoise.runtime.app_log import AppLog

INTERVAL: Final = 5.0
# How soon a name is looked up again when somebody is in a hurry, and while it does not resolve at all.
HURRY: Final = 0.5
LOOKUP_TIMEOUT: Final = 5.0
# uvloop looks names up in 4 threads.
CONCURRENT: Final = 4
_GRAIN: Final = 0.05


class Resolver:
    """Keeps the addresses of a set of names."""

    def __init__(
        self,
        log: AppLog,
        on_change: Callable[[str, tuple[str, ...]], None],
        query: "Callable[[str], Awaitable[tuple[str, ...]]] | None" = None,
    ) -> None:
        """Knows no name yet.

        Args:
            log: told when a name stops or starts to resolve.
            on_change: called with a name and its addresses when they are others than before.
            query: asks for the addresses of a name; the system's resolver unless given. Raises OSError.
        """
        self._log = log
        self._on_change = on_change
        self._query = query or ask_system
        self._known: dict[str, tuple[str, ...]] = {}
        # When each name is looked up next, and was last.
        self._due: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._failing: dict[str, str] = {}
        self._gate = asyncio.Semaphore(CONCURRENT)
        self._running: set[str] = set()

    def addresses(self, host: str) -> tuple[str, ...]:
        """What is known of a host now; an address is its own."""
        if is_address(host):
            return (host,)
        return self._known.get(host, ())

    def known(self) -> dict[str, tuple[str, ...]]:
        """The addresses of all names that are watched and have some, for another process."""
        return {name: found for name, found in self._known.items() if found}

    def remember(self, known: Mapping[str, tuple[str, ...]]) -> None:
        """Believe what another process knew, until the name service says something else."""
        self._known |= {name: found for name, found in known.items() if found}

    def watch(self, hosts: Iterable[str]) -> None:
        """Look after these names from now on, and no others."""
        names = {host for host in hosts if not is_address(host)}
        for gone in self._due.keys() - names:
            del self._due[gone]
            self._asked.pop(gone, None)
            self._known.pop(gone, None)
            self._failing.pop(gone, None)
        for name in names:
            self._due.setdefault(name, 0.0)

    async def first(self, seconds: float) -> None:
        """Look up what has never been looked up; gives up waiting after `seconds`, not looking."""
        names = [name for name in self._due if name not in self._known and name not in self._failing]
        if not names:
            return
        lookups = [asyncio.get_running_loop().create_task(self.look_up(name)) for name in names]
        _, late = await asyncio.wait(lookups, timeout=seconds)
        for task in late:
            task.cancel()

    def hurry(self, host: str) -> None:
        """Look a name up again soon: its target could not be reached."""
        if host in self._due:
            self._due[host] = min(self._due[host], self._asked.get(host, 0.0) + HURRY)

    async def run(self) -> None:
        """Look names up when they are due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = asyncio.get_running_loop().time()
                for name, due in self._due.items():
                    if due <= now and name not in self._running:
                        self._running.add(name)
                        tasks.create_task(self.look_up(name))
                await asyncio.sleep(_GRAIN)

    async def look_up(self, name: str) -> None:
        """Look one name up now. Never raises: what failed is tried again."""
        self._running.add(name)
        try:
            async with self._gate:
                now = asyncio.get_running_loop().time()
                self._asked[name] = now
                if name in self._due:
                    # Set before the answer: whoever is in a hurry meanwhile may have seen what is newer than it.
                    self._due[name] = now + INTERVAL
                found = await asyncio.wait_for(self._query(name), LOOKUP_TIMEOUT)
        except (OSError, UnicodeError, TimeoutError) as error:
            self._failed(name, str(error) or "no answer in time")
        else:
            self._succeeded(name, found)
        finally:
            self._running.discard(name)

    def _succeeded(self, name: str, found: tuple[str, ...]) -> None:
        if name not in self._due:  # nobody wants to know any more
            self._asked.pop(name, None)
            return
        if self._failing.pop(name, ""):
            self._log.info("name resolves again", name=name, addresses=list(found))
        if self._known.get(name) != found:
            self._known[name] = found
            self._on_change(name, found)

    def _failed(self, name: str, reason: str) -> None:
        if name not in self._due:
            return
        known = bool(self._known.get(name))
        if not known:
            self._due[name] = asyncio.get_running_loop().time() + HURRY
        if name not in self._failing:
            # The old addresses stay: the name service being away is no reason to lose targets that answer. Whether they
            # still do is what health is for.
            self._log.warning("name does not resolve", name=name, reason=reason, keeps_old_addresses=known)
        self._failing[name] = reason


def is_address(host: str) -> bool:
    """Whether a host is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def ask_system(name: str) -> tuple[str, ...]:
    """The addresses, IPv4 first, each family in order: a name service that rotates its answers changes nothing."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    unique = {(family != socket.AF_INET, str(place[0])) for family, _, _, _, place in found}
    return tuple(address for _, address in sorted(unique))
