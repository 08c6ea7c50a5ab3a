"""What a service manager is told: that the balancer is ready, reloads, leaves, is alive.

Owns: systemd's protocol for it (sd_notify(3)): datagrams of `NAME=value` lines to the socket that NOTIFY_SOCKET names;
the words of each message.
Refuses to know: when there is something to tell.

Where no service manager asks to be told, all of it does nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Final, Self

from equipoise.runtime.app_log import AppLog

# After the drain's end, workers that are left are killed and waited for.
STOP_GRACE: Final = 5.0
# How long a manager that does not read may hold up the event loop: what is told once must not be lost on a full queue.
PATIENCE: Final = 1.0
_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@dataclass(frozen=True)
class Notifier:
    """The way to the service manager.

    Each method returns why the message could not be sent, or nothing: a manager that cannot be reached is no reason to
    stop carrying traffic.

    Attributes:
        address: of its socket: a path, or `@` and an abstract name; empty when nobody asks to be told.
        watchdog: seconds within which it wants to hear that this process is alive; 0 when it does not.
    """

    address: str = ""
    watchdog: float = 0.0

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """As the service manager asks it of the process `pid`.

        Its variables are taken out of the environment: what this process starts is not meant by them.
        """
        address, microseconds, whose = (environment.pop(name, "") for name in _VARIABLES)
        meant = not whose or whose == str(pid)
        asked = meant and microseconds.isascii() and microseconds.isdecimal()
        return cls(address, int(microseconds) / 1e6 if asked and address else 0.0)

    def ready(self, status: str) -> str:
        """The balancer takes requests, or has ended a reload, whether it changed something or not."""
        return self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> str:
        """A reload begins; `ready` ends it."""
        # The moment tells systemd which reload is meant (sd_notify(3), RELOADING).
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, seconds: float, status: str) -> str:
        """The balancer is on its way out, which may take so many seconds, whatever the unit's own patience is."""
        return self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", f"STATUS={status}")

    def alive(self) -> str:
        """To be said more often than every `watchdog` seconds."""
        # The next one is due soon: not worth waiting for.
        return self._send("WATCHDOG=1", patience=0.0)

    def main_process(self, pid: int) -> str:
        """Another process is the service's main one from now on; the one that was must say so itself."""
        return self._send(f"MAINPID={pid}")

    def environment(self) -> dict[str, str]:
        """What tells another process of ours the way, as the manager told this one."""
        if not self.address:
            return {}
        watchdog = {"WATCHDOG_USEC": str(round(self.watchdog * 1e6))} if self.watchdog else {}
        return {"NOTIFY_SOCKET": self.address, **watchdog}

    def _send(self, *lines: str, patience: float = PATIENCE) -> str:
        if not self.address:
            return ""
        if self.address[0] not in "/@":
            return f"NOTIFY_SOCKET is no path: {self.address!r}"
        # An abstract name begins with a zero byte (unix(7)).
        path = f"\0{self.address[1:]}" if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(patience)
                sock.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), path)
        except OSError as error:
            return f"{self.address}: {os.strerror(error.errno) if error.errno else error}"
        return ""


class ServiceManager:
    """The service manager as the supervisor sees it."""

    def __init__(self, notifier: Notifier, log: AppLog) -> None:
        """Tells nothing yet.

        Args:
            notifier: the way to it.
            log: told when it cannot be reached, once for each reason.
        """
        self._notifier = notifier
        self._log = log
        self._problem = ""

    def ready(self, version: int, workers: int) -> None:
        """The balancer takes requests under this version of the configuration; also ends a reload."""
        self._told(self._notifier.ready(f"configuration {version}, {workers} worker{'' if workers == 1 else 's'}"))

    def reloading(self) -> None:
        """A reload begins."""
        self._told(self._notifier.reloading())

    def stopping(self, seconds: float) -> None:
        """The drain begins and takes so many seconds at most."""
        self._told(self._notifier.stopping(seconds + STOP_GRACE, f"draining, {seconds:g} s at most"))

    def hand_over(self, pid: int) -> None:
        """Another process is the service from now on, and tells everything itself."""
        self._told(self._notifier.main_process(pid))
        self._notifier = replace(self._notifier, address="")

    async def keep_informed(self) -> None:
        """Say again and again that this event loop turns, as long as it does; without a watchdog, only wait."""
        if not self._notifier.watchdog:
            await asyncio.get_running_loop().create_future()
        while True:
            self._told(self._notifier.alive())
            # Two messages may be late before the watchdog bites.
            await asyncio.sleep(self._notifier.watchdog / 3)

    def _told(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem:
                self._log.warning("the service manager was not told", reason=problem)
