"""JSON lines: how the demo's processes speak to files, and how these are read while they grow.

Owns: the wall clock and its format, one line per event, reading on from where the last read stopped.
Refuses to know: what the lines mean.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec


def wall_seconds() -> float:
    """The wall clock: what the demo's processes have in common, so that their samples and moments can be joined."""
    return datetime.now(UTC).timestamp()


def rfc3339(seconds: float) -> str:
    """A moment of the wall clock with milliseconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(fields: Mapping[str, object]) -> str:
    """One line, with its end."""
    return msgspec.json.encode(fields).decode() + "\n"


class Tail:
    """Whole lines of a growing file, each once. The file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """The objects of the lines that came since the last call; a line that is no JSON object is passed over."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return
        *lines, self._partial = (self._partial + self._file.read()).split(b"\n")
        for line in lines:
            try:
                fields = msgspec.json.decode(line)
            except msgspec.DecodeError:
                # A process killed in the middle of a line, or a library that writes plain text.
                continue
            if isinstance(fields, dict):
                yield fields

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
