"""Targets that are processes, so that they can be killed and stopped.

Owns: the life of `equipoise target`.
Refuses to know: the balancer.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.scenarios.support.balancer import environment
from tests.scenarios.support.polling import eventually


class RealTarget:
    """One `equipoise target`; after a kill it can be started again on its port."""

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        self.folder = folder
        self.options = options
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """For the configuration."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """What the balancer and the target itself call it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        self._starts += 1
        log = self.folder / f"target-{id(self)}-{self._starts}.log"
        words = [f"--{name}={value}" for name, value in self.options.items()]
        command = [sys.executable, "-m", "equipoise", "target", f"--port={self.port}", *words]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, env=environment(), stdout=out, stdin=subprocess.DEVNULL)
        line = eventually(lambda: log.read_text().partition("\n"), lambda parts: bool(parts[1]))[0]
        self.port = int(json.loads(line)["address"].rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Signals it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
