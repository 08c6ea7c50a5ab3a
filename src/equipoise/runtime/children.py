"""Starting processes of our own: workers, and the supervisor that is to take over.

Owns: what such a process inherits, that no signal reaches it before it can handle one, and what its end is called.
Refuses to know: what it is told, and what becomes of it.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

# What a person or a service manager sends to the whole group, and the supervisor alone decides about.
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def start_worker(fds: tuple[int, ...]) -> "tuple[subprocess.Popen[bytes], int, socket.socket]":
    """A worker process, what tells its death (a pidfd), and our end of its channel.

    Args:
        fds: the file descriptors that it inherits beside its channel, under the same numbers.

    Raises:
        OSError: it cannot be started, and nothing is left behind.
    """
    # The worker must find the very modules that this process runs, whatever the working directory holds.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with ExitStack() as failing:
        ours, theirs = socket.socketpair()
        failing.enter_context(ours)
        with theirs, signals_blocked():
            popen = subprocess.Popen(  # noqa: S603 -- our own interpreter with a number
                [sys.executable, "-P", "-m", "equipoise.runtime.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *fds),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        failing.callback(popen.wait)
        failing.callback(popen.kill)
        pidfd = os.pidfd_open(popen.pid)
        failing.pop_all()
        return popen, pidfd, ours


@contextmanager
def signals_blocked() -> Iterator[None]:
    """A process started meanwhile inherits the mask, and with it deafness from its first instruction on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def explain(code: int) -> dict[str, object]:
    """How a process ended, as fields of a log line: `exit_code`, or `signal` with its name."""
    if code >= 0:
        return {"exit_code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:
        return {"signal": -code}
