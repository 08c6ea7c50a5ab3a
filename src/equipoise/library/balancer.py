"""A balancer inside a program: `with Balancer(config) as balancer:`, or `async with`.

Owns: its life: started when the block is entered, ready before its first line, gone without a trace after its last.
Refuses to know: what it is asked meanwhile (`running`), what its process does (`process`).

The balancer is `equipoise run` as it is everywhere: a supervisor and its workers, processes of their own. See
docs/decisions/0027-a-balancer-in-a-program-is-a-child-process.md for why.
"""

import asyncio
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final

from equipoise.library.errors import BalancerError
from equipoise.library.process import Process
from equipoise.library.running import AsyncRunning, Running
from equipoise.library.settings import Configuration, settle

POLL: Final = 0.01
"""Seconds between two looks at a process that starts or ends."""


class Balancer:
    """A balancer for the time of a block.

    Example:
        >>> with Balancer({"pools": {"default": {"targets": ["http://127.0.0.1:9001"]}}}) as balancer:
        ...     urllib.request.urlopen(balancer.url)

    One object may be entered again after it was left; each time is another balancer.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        free_ports: bool = False,
        folder: Path | str | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Starts nothing yet.

        Args:
            configuration: a table (`dict`), a text in TOML, a path, or an `equipoise.config.schema.Config`. Ports
                that it leaves out are chosen by the system, on the loopback address.
            free_ports: let the system choose all ports, on the loopback address, whatever the configuration says.
            folder: for the balancer's files: the configuration, its logs, its state. It is made where it is missing,
                and kept. When None, a temporary one, which goes with the balancer.
            timeout: seconds that the start may take.
        """
        self._configuration = configuration
        self._free_ports = free_ports
        self._folder = None if folder is None else Path(folder)
        self._timeout = timeout
        self._life: _Life | None = None

    # With a thread

    def __enter__(self) -> Running:
        """Start it; returns when all workers accept connections.

        Raises:
            ConfigError: the configuration is not valid; nothing was started.
            BalancerError: it did not start.
        """
        with closing(self._starting()) as steps:
            for _ in steps:
                sleep(POLL)
        return self._alive().running

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: requests in flight first, unless an exception leaves the block.

        Raises:
            BalancerError: it had left by itself, or did not leave in order; not when an exception leaves the block.
        """
        with closing(self._ending(at_once=error is not None)) as steps:
            for _ in steps:
                sleep(POLL)

    # With an event loop

    async def __aenter__(self) -> AsyncRunning:
        """As with a thread, and the loop goes on meanwhile. A start that is cancelled leaves nothing behind."""
        with closing(self._starting()) as steps:
            for _ in steps:
                await asyncio.sleep(POLL)
        return AsyncRunning(self._alive().running)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As with a thread, and the loop goes on meanwhile."""
        with closing(self._ending(at_once=error is not None)) as steps:
            for _ in steps:
                await asyncio.sleep(POLL)

    # The steps, the same for both: between two of them the caller waits in its own way. Closed halfway, they undo all.

    def _starting(self) -> Generator[None, None, None]:
        if self._life is not None:
            raise BalancerError("this balancer runs already; make another Balancer for a second one")
        with ExitStack() as undo:
            folder = self._own_folder(undo)
            settings = settle(self._configuration, folder, free_ports=self._free_ports)
            process = Process(folder, settings.text, settings.config)
            undo.callback(process.close)
            deadline = monotonic() + self._timeout
            while not process.is_ready():
                if monotonic() > deadline:
                    raise BalancerError(f"the balancer was not ready within {self._timeout:g} s{process.last_words()}")
                yield
            running = Running(process, settings.config, self._rewriter(process, folder))
            undo.callback(running.close)
            self._life = _Life(process, running, undo.pop_all())

    def _ending(self, *, at_once: bool) -> Generator[None, None, None]:
        life, self._life = self._alive(), None
        with life.undo:
            while not life.process.is_gone(at_once=at_once):
                yield
            if not at_once:
                life.process.check_end()

    def _own_folder(self, undo: ExitStack) -> Path:
        if self._folder is None:
            return Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="equipoise-")))
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder.resolve()

    def _rewriter(self, process: Process, folder: Path) -> Callable[[Configuration | None], None]:
        def rewrite(configuration: Configuration | None) -> None:
            wanted = self._configuration if configuration is None else configuration
            process.file.write_text(settle(wanted, folder, free_ports=self._free_ports).text, "utf-8")
            self._configuration = wanted

        return rewrite

    def _alive(self) -> "_Life":
        if self._life is None:
            raise BalancerError("this balancer does not run; enter it first: with Balancer(...) as balancer")
        return self._life


@dataclass(frozen=True)
class _Life:
    """From one start to its end."""

    process: Process
    running: Running
    undo: ExitStack
