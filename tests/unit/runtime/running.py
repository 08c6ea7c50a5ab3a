"""A supervisor with real workers and a real disk inside the test's own loop: no signals, no probes, no admin face."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from equipoise.config.load import load
from equipoise.runtime.changes import Changes, Standing
from equipoise.runtime.startup import open_listeners
from equipoise.runtime.store import Store, resume
from equipoise.runtime.supervisor import Supervisor, Surroundings
from equipoise.runtime.tls_files import Reading
from tests.unit.runtime.parts import ReadableLog, port_of

TWO = '["http://127.0.0.1:1", "http://127.0.0.1:2"]'
A, B = "127.0.0.1:1", "127.0.0.1:2"


def text(targets: str = TWO, more: str = "", workers: int = 2) -> str:
    """A file whose pool `p` has these targets."""
    return (
        f'listen = "127.0.0.1:0"\nworkers = {workers}\n[access_log]\nenabled = false\n'
        f"[pools.p]\ntargets = {targets}\n{more}\n"
    )


class Running:
    """One balancer, ready."""

    def __init__(self, folder: Path, tasks: asyncio.TaskGroup, *, writable: bool = True) -> None:
        self.path = folder / "equipoise.toml"
        self.log = ReadableLog()
        self.store = Store(folder / "state", writable=writable)
        self.store.open()
        reading = Reading()
        file = load(self.path, examine=reading.examine)
        config, state = resume(self.store, file)
        self.listeners = open_listeners(config)
        standing = Standing(file, state.overlay, config, state.version, state.digest, reading.material)
        self.supervisor = Supervisor(
            self.path, standing, Surroundings(self.listeners, None, None, self.store, self.log), tasks
        )
        self.port = port_of(self.listeners[0].address)

    @property
    def changes(self) -> Changes:
        return self.supervisor._changes

    @property
    def targets(self) -> list[str]:
        """As the workers were told last."""
        return [target.name for pool in self.supervisor.workers.world.pools for target in pool.targets]

    async def end(self) -> None:
        await self.supervisor.workers.kill()
        for listener in self.listeners:
            listener.close()
        self.store.close()


def play(folder: Path, test: Callable[[Running], Awaitable[None]], *, file: str = "", writable: bool = True) -> None:
    """Runs a test with a balancer whose file and state are in `folder`."""
    path = folder / "equipoise.toml"
    if file or not path.exists():
        path.write_text(file or text())

    async def run() -> None:
        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            running = Running(folder, tasks, writable=writable)
            try:
                await running.changes.start()
                await test(running)
            finally:
                await running.end()
        await asyncio.get_running_loop().shutdown_default_executor()

    uvloop.run(run())
