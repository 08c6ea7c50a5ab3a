"""The balancer's process, seen from the program that started it.

Owns: its start, the lines of its log that tell what became of it, and its end, after which no process of it is left.
Refuses to know: what it is asked to do (`running`), and how to wait (`balancer`: a thread sleeps, a loop must not).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, Final

from equipoise.config.schema import Config
from equipoise.config.world import limits_spec
from equipoise.library.errors import BalancerError

GRACE: Final = 10.0
"""Seconds beyond the drain's own limit that a process may take to be gone."""
HURRY: Final = 0.05
"""Seconds between two signals to a balancer that is to leave at once."""
_LAST_LINES: Final = 8


class Process:
    """One life of a balancer."""

    def __init__(self, folder: Path, text: str, config: Config) -> None:
        """Starts it.

        Args:
            folder: for its files: `equipoise.toml`, `equipoise.log`, `access.log`.
            text: the file.
            config: what the file says.

        Raises:
            BalancerError: it cannot be started.
        """
        self.file = folder / "equipoise.toml"
        self.log = folder / "equipoise.log"
        self.access_log = folder / "access.log"
        self.addresses: tuple[str, ...] = ()
        self.admin_address = ""
        self._drain = limits_spec(config).drain_timeout
        self._asked = 0.0
        self._signalled = 0.0
        self.file.write_text(text, "utf-8")
        try:
            with self.log.open("wb") as log, self.access_log.open("wb") as lines:
                # A session of its own: Ctrl-C is for the program, which then ends its balancer in order.
                self._popen = subprocess.Popen(  # noqa: S603 -- this interpreter, with a module of ours
                    [sys.executable, "-m", "equipoise.library.child", str(self.file)],
                    stdin=subprocess.PIPE,
                    stdout=lines,
                    stderr=log,
                    env=_environment(),
                    start_new_session=True,
                )
        except OSError as error:
            raise BalancerError(f"the balancer cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._popen.pid

    def is_ready(self) -> bool:
        """Whether all workers accept connections; `addresses` and `admin_address` are known then.

        Raises:
            BalancerError: it has left instead.
        """
        code = self._popen.poll()
        if code is not None:
            raise BalancerError(f"the balancer did not start: exit code {code}{self.last_words()}")
        events = list(self.events())
        if not any(event["event"] == "ready" for event in events):
            return False
        self.addresses = tuple(event["address"] for event in events if event["event"] == "listening")
        self.admin_address = next((e["address"] for e in events if e["event"] == "admin API listening"), "")
        return True

    def events(self) -> Iterator[dict[str, Any]]:
        """The lines of the application's log, so far."""
        for line in self.log.read_text("utf-8", "replace").split("\n")[:-1]:
            if line.startswith("{"):
                yield json.loads(line)

    def is_gone(self, *, at_once: bool) -> bool:
        """Make it leave, and say whether it has; call it again and again until it has.

        Args:
            at_once: do not let requests in flight end first.
        """
        if self._popen.poll() is not None:
            return True
        now = monotonic()
        self._asked = self._asked or now
        if now > self._asked + (GRACE if at_once else self._drain + GRACE):
            self._kill()
        elif not self._signalled or (at_once and now > self._signalled + HURRY):
            # A second one means: at once.
            self._signalled = now
            self._popen.send_signal(signal.SIGTERM)
        return False

    def close(self) -> None:
        """Leave nothing behind, whatever state it is in; at most a kill is waited for."""
        if self._popen.poll() is None:
            self._kill()
        self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def check_end(self) -> None:
        """Make sure that it left because it was asked to.

        Raises:
            BalancerError: it left by itself, had to be killed, or failed.
        """
        if self._popen.returncode != 0:
            raise BalancerError(f"the balancer ended with {_meaning(self._popen.returncode)}{self.last_words()}")
        if not self._asked:
            raise BalancerError(f"the balancer was ended by somebody else{self.last_words()}")

    def _kill(self) -> None:
        # The group is its session's: the supervisor, and its workers.
        os.killpg(self._popen.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The end of its log, to stand behind a sentence that says what is wrong."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    """This process's, in which modules are found where this process finds them: the user's own algorithms too."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 -- the path holds strings
    return {**os.environ, "PYTHONPATH": path}
