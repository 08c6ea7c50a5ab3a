"""Single keys from a terminal, and the reasons to look at it again.

Owns: the terminal's mode while keys are read, the pipe by which signals and threads wake the reader.
Refuses to know: what a key does.
"""

import os
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

LEAVE: Final = "q"
SUSPEND: Final = "\x1a"
"""Ctrl-Z."""
# Each signal, and the key it is like. A new size of the window only wakes the reader.
_KEYS: Final = {signal.SIGTERM: LEAVE, signal.SIGHUP: LEAVE, signal.SIGTSTP: SUSPEND, signal.SIGWINCH: ""}


class Keyboard:
    """Reads keys without waiting for Enter, where standard input is a terminal; elsewhere there are none.

    SIGTERM and SIGHUP are the key that leaves, SIGTSTP is Ctrl-Z: whoever holds the screen can then put it back. Ctrl-C
    stays what it is.
    """

    def __init__(self) -> None:
        """Changes nothing yet."""
        self._input = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._mode: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}
        self._ear = self._bell = -1
        self._signalled = ""

    def __enter__(self) -> Self:
        self._ear, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        if self._input is not None:
            self._mode = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        self._handlers = {number: signal.signal(number, self._on_signal) for number in _KEYS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._put_back()
        os.close(self._ear)
        os.close(self._bell)
        self._ear = self._bell = -1

    def wake(self) -> None:
        """Let `wait` return; from any thread."""
        with suppress(OSError):  # full of wake-ups already, or closed
            os.write(self._bell, b".")

    def wait(self) -> str:
        """The keys that were pressed, once there are some or somebody wakes; perhaps none."""
        watched = [self._ear] if self._input is None else [self._ear, self._input]
        ready, _, _ = select.select(watched, [], [])
        keys = ""
        if self._ear in ready:
            os.read(self._ear, 4096)
            keys, self._signalled = self._signalled, ""
        if self._input is not None and self._input in ready:
            pressed = os.read(self._input, 1024)
            # The end of the input: the terminal is gone.
            keys += pressed.decode(errors="replace") or LEAVE
        return keys

    def suspend(self) -> None:
        """Stop this process as Ctrl-Z does, with the terminal as it was before; returns when it goes on."""
        self._put_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._input is not None:
            tty.setcbreak(self._input)

    def _put_back(self) -> None:
        if self._input is not None and self._mode is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._mode)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signalled += _KEYS[signal.Signals(number)]
        self.wake()
