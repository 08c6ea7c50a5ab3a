"""A demo target that goes away and comes back by a schedule, as its own parent process.

Owns: the process that serves, its kill (SIGKILL, as a crash would end it) and its return, the lines that say so.
Refuses to know: what the process does.

Whoever runs targets in containers needs no access to the container engine that way: the container stays, and what
listens in it dies and comes back.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from equipoise.demo.lines import wall_seconds
from equipoise.demo.target_log import TargetLog

# How exactly the moments are kept, seconds.
LOOK_EVERY: Final = 0.02
WATCHED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Absence(msgspec.Struct, frozen=True):
    """When a target is away. Seconds since the moment that `clock` holds, or, without one, since the keeper's start."""

    stop_at: float
    start_at: float
    clock: Path | None = None


class _Mark(msgspec.Struct):
    t_ms: float


def write_mark(clock: Path, seconds: float) -> None:
    """Writes the moment from which absences count, so that a reader sees all of it or nothing."""
    fresh = clock.with_name(f".{clock.name}.new")
    fresh.write_bytes(msgspec.json.encode(_Mark(seconds * 1000)))
    fresh.rename(clock)


def read_mark(clock: Path) -> float | None:
    """The moment of a clock file, seconds of the wall clock; None as long as there is none."""
    try:
        return msgspec.json.decode(clock.read_bytes(), type=_Mark).t_ms / 1000
    except (OSError, msgspec.DecodeError):
        return None


class Keeper:
    """Keeps one target, except while it is to be away."""

    def __init__(self, absence: Absence, serve: Callable[[], None], log: TargetLog) -> None:
        """Starts nothing yet.

        Args:
            absence: when nobody is to serve.
            serve: does so until a signal ends it; called in a process of its own.
            log: told of the kill and the return.
        """
        self._absence = absence
        self._serve = serve
        self._log = log
        self._born = wall_seconds()
        # 0 while nobody serves.
        self._child = 0
        self._due = ["stop", "start"]

    def run(self) -> int:
        """Keeps the target until SIGTERM or SIGINT, which it is given to drain by; the exit code to leave with."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        self._start(before)
        while True:
            arrived = signal.sigtimedwait(WATCHED, LOOK_EVERY)
            number = 0 if arrived is None else arrived.si_signo
            if number in {signal.SIGTERM, signal.SIGINT}:
                return self._end(number)
            if self._child and (code := _exit_code(self._child, os.WNOHANG)) is not None:
                return code
            self._follow(before)

    def _follow(self, mask: set[int | signal.Signals]) -> None:
        """Does what is due."""
        begin = self._begin()
        if begin is None or not self._due:
            return
        now, absence = wall_seconds() - begin, self._absence
        if self._due[0] == "stop" and now >= absence.stop_at:
            del self._due[0]
            os.kill(self._child, signal.SIGKILL)
            # Before it is buried: its sockets close now.
            self._log.say("killed", wall_seconds())
            _exit_code(self._child, 0)
            self._child = 0
        elif self._due[0] == "start" and now >= absence.start_at:
            del self._due[0]
            self._log.say("started again", wall_seconds())
            self._start(mask)

    def _begin(self) -> float | None:
        """The moment from which the schedule counts; None as long as it is not known."""
        clock = self._absence.clock
        if clock is None:
            return self._born
        mark = read_mark(clock)
        # An older one is what an earlier run left behind.
        return mark if mark is not None and mark >= self._born else None

    def _start(self, mask: set[int | signal.Signals]) -> None:
        self._child = os.fork()
        if self._child:
            return
        # The child: it leaves here, whatever happens, and never runs what its parent would have gone on with.
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._serve()
            code = 0
        except OSError as error:
            self._log.say("cannot serve", wall_seconds(), reason=str(error))
        finally:
            os._exit(code)

    def _end(self, number: int) -> int:
        if not self._child:
            return 0
        os.kill(self._child, number)
        code = _exit_code(self._child, 0)
        assert code is not None
        return code


def _exit_code(pid: int, options: int) -> int | None:
    """What a child ended with, as a shell says it; None while it runs."""
    ended, status = os.waitpid(pid, options)
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
