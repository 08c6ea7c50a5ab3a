"""A command on a terminal of its own: what it draws, and the keys that a person presses.

Owns: the pseudo-terminal, its size, the last frame that was drawn.
Refuses to know: what the command is.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HOME = "\x1b[H"
ALTERNATE, ORDINARY = "\x1b[?1049h", "\x1b[?1049l"
PATIENCE = 20.0


class Terminal:
    """One command on one terminal."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (80, 24)) -> None:
        """Starts it; `size` is columns and lines."""
        self._own, self._its = pty.openpty()
        self._before: list[Any] = termios.tcgetattr(self._its)
        self._text = ""
        self._resize(size)
        plain = {key: value for key, value in env.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = subprocess.Popen(
            command,
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env={**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)
        os.close(self._its)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._own, keys.encode())

    def resize(self, size: tuple[int, int]) -> None:
        """Pull at the window's corner."""
        self._resize(size)
        self.process.send_signal(signal.SIGWINCH)

    def wait_for(self, text: str) -> list[str]:
        """The lines of the first frame that holds `text`, without colours."""
        deadline = time.monotonic() + PATIENCE
        while True:
            # The last frame may be half drawn; one that another follows is whole.
            frames = self._text.split(_HOME)
            for frame in frames[-2:]:
                lines = _CONTROL.sub("", frame).replace("\r", "").split("\n")
                if any(text in line for line in lines):
                    return [line.rstrip() for line in lines]
            assert time.monotonic() < deadline, f"{text!r} was never drawn; last: {self._text[-4000:]}"
            self._read()

    def wait_exit(self) -> int:
        """The exit code, once it has left."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it did not leave"
            self._read()
        self._read()
        return self.process.returncode

    def said(self) -> str:
        """All that was written so far, control sequences included."""
        return self._text

    def is_as_before(self) -> bool:
        """Whether the terminal's mode is what it was before the command."""
        return termios.tcgetattr(self._its) == self._before

    def _read(self) -> None:
        ready, _, _ = select.select([self._own], [], [], 0.05)
        if ready:
            with suppress(OSError):
                self._text += os.read(self._own, 65536).decode(errors="replace")

    def _resize(self, size: tuple[int, int]) -> None:
        columns, lines = size
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
