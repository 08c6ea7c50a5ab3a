"""The way of everything that changes to the workers.

Owns: making the table that of a configuration, drawing the world from it, sending the world; telling of flips.
Refuses to know: why something changes, which configuration may be taken up (`changes`), what is healthy (`targets`).

It never waits for workers: whoever changes the configuration does.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from equipoise.config.addresses import parse_url
from equipoise.config.schema import Config
from equipoise.model import TargetState, World
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.caches import CacheMemoryError, Caches
from equipoise.runtime.events import Events
from equipoise.runtime.health_checks import HealthChecks
from equipoise.runtime.resolve import Resolver
from equipoise.runtime.slots import NoSlotError
from equipoise.runtime.targets import Flip, TargetTable
from equipoise.runtime.tls_files import Material
from equipoise.runtime.workers import Workers

# How long the start, and a change with new names, waits for the name service.
FIRST_LOOKUP: Final = 2.0


class ChangeRefusedError(Exception):
    """A configuration that is valid and yet cannot be taken up while running; nothing was changed."""


@dataclass(frozen=True)
class Parts:
    """What a supervisor is made of."""

    tasks: asyncio.TaskGroup
    table: TargetTable
    caches: Caches
    resolver: Resolver
    checks: HealthChecks
    workers: Workers
    log: AppLog
    events: Events


class Publisher:
    """Tells the workers. Belongs to the event loop's thread."""

    def __init__(self, parts: Parts, config: Config, edition: int, material: Material | None = None) -> None:
        """Nothing is installed yet.

        Args:
            parts: where things are known, and who is told.
            config: the one to start with.
            edition: its version.
            material: the certificates and keys that belong to it.
        """
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._edition = edition
        self._material = material
        self._installed = False
        self._publishing = False

    async def install(self, config: Config, edition: int, material: Material | None = None) -> None:
        """Make the table that of `config`; `publish` then sends it. Arguments as in the constructor.

        Raises:
            ChangeRefusedError: there are too many targets, or no memory for a cache; the table is as it was.
        """
        table, resolver, caches = self._parts.table, self._parts.resolver, self._parts.caches
        targets = [target for pool in config.pools.values() for target in pool.targets]
        resolver.watch(table.hosts() | {parse_url(target.url).address.host for target in targets})
        await resolver.first(FIRST_LOOKUP)
        try:
            caches.install(config)
            flips = table.install(config, self._loop.time(), material)
        except CacheMemoryError as error:
            raise ChangeRefusedError(str(error)) from error
        except NoSlotError as error:
            caches.install(self._config)
            raise ChangeRefusedError(str(error)) from error
        finally:
            resolver.watch(table.hosts())
        self._config, self._edition, self._installed = config, edition, True
        self._parts.checks.contexts.take(self._world())
        self.flipped(flips)

    async def start(self) -> None:
        """Install the first configuration and start the workers with it.

        Raises:
            ChangeRefusedError: as `install`.
            StartError: as `Workers.start`.
        """
        await self.install(self._config, self._edition, self._material)
        await self._parts.workers.start(self._world(), self._edition)

    def publish(self) -> int:
        """Tell the workers what changed, if anything did; the version of the world to wait for."""
        self._publishing = False
        workers = self._parts.workers
        world = self._world()
        if world == workers.world and self._edition == workers.edition:
            return workers.version
        return workers.send(world, self._edition)

    def settle(self) -> None:
        """All workers act on what was published last: what only an older world needed may go."""
        self._parts.caches.settle()

    def publish_soon(self) -> None:
        """What changes in one moment travels together. Before the first installation there is nothing to tell."""
        if self._installed and not self._publishing:
            self._publishing = True
            self._loop.call_soon(self.publish)

    def flipped(self, flips: list[Flip]) -> None:
        """Tell everybody of flips: the log, the subscribers, soon the workers."""
        for flip in flips:
            self._tell(flip)
        if flips:
            self.publish_soon()

    def _world(self) -> World:
        return self._parts.caches.placed(self._parts.table.world(self._config))

    def _tell(self, flip: Flip) -> None:
        parts, down = self._parts, flip.after is TargetState.DOWN
        write = parts.log.warning if down else parts.log.info
        # Plain strings: the values go to subscribers as JSON.
        before, after = flip.before.value, flip.after.value
        what = {"pool": flip.key.pool, "target": flip.key.target, "from": before, "to": after, "reason": flip.reason}
        write(f"target {after}", **what)
        parts.events.publish("flip", what)
        entry = parts.table.get(*flip.key)
        if entry is not None and down:
            parts.checks.hurry(flip.key, entry.health_config.down_interval)
