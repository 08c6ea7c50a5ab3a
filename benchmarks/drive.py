"""One load on one row: which program makes it, and what it is told.

Owns: the choice by kind of traffic, and the files that the programs read and write.
Refuses to know: rounds, counters, what the figures are compared with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load, load_ab, load_h2load
from benchmarks.load import Load
from benchmarks.model import Link, Traffic, body_path, body_size, call_message


@dataclass(frozen=True)
class Driver:
    """The programs that make loads."""

    folder: Path
    find: Callable[[str], str]

    def prepare(self) -> None:
        """Write the files that they read."""
        self._script.write_text(load.script(), encoding="utf-8")
        self._message.write_bytes(call_message())

    def run(self, traffic: Traffic, body: str, port: int, seconds: int) -> Load:
        """Load what listens on the port for so many seconds.

        Raises:
            LoadFailed: the program did not run to its end.
        """
        url = f"{'https' if traffic.link is Link.TLS else 'http'}://127.0.0.1:{port}{body_path(body)}"
        program, size = self.find(traffic.program), body_size(body)
        if traffic.program == "h2load":
            log = self.folder / "h2load.log"
            log.write_bytes(b"")
            options = load_h2load.arguments(traffic, body, self._message, log)
            output = load_h2load.run(program, url, options, seconds)
            return load_h2load.parse(output, log.read_text(encoding="ascii"), size)
        if traffic.program == "ab":
            return load_ab.parse(load_ab.run(program, url, load_ab.arguments(traffic), seconds), size)
        return load.parse(load.run(program, url, self._script, seconds, traffic.connections), size)

    @property
    def _script(self) -> Path:
        return self.folder / "load.lua"

    @property
    def _message(self) -> Path:
        return self.folder / "message"
