"""What a demo target says of itself: a line of JSON for each event.

Owns: the form of a line, and where it goes: standard output and, when one is wanted, a file.
Refuses to know: what happens at a target.
"""

import sys
from pathlib import Path
from typing import Self, TextIO

from equipoise.demo.lines import encode, rfc3339


class TargetLog:
    """A target's log. Each line is out, whole, when `say` returns: a target may be killed at any moment."""

    def __init__(self, name: str, path: Path | None = None, out: TextIO | None = None) -> None:
        """Opens the file, to which lines are added.

        Args:
            name: of the target.
            path: of the file; none when None.
            out: where lines go besides; standard output when None.

        Raises:
            OSError: the file cannot be opened.
        """
        self.name = name
        self._out = sys.stdout if out is None else out
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def say(self, event: str, seconds: float, **fields: object) -> None:
        """Something happened, at this moment of the wall clock."""
        line = encode({"time": rfc3339(seconds), "event": event, "name": self.name, **fields})
        for file in (self._out, self._file):
            if file is not None:
                file.write(line)
                file.flush()
