"""The one path by which the configuration of a running balancer changes.

Owns: which file, overlay and version are in force, and the order of a change: decide, prepare on the disk, install,
have all workers act on it, commit; or go back.
Refuses to know: who asks, what an edit means (config), how disk (`store`) and workers (`publisher`) are served.

One change at a time. A change is in force, and its version is seen, only when it is committed; until then a death of
this process at any moment leaves what was before.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from equipoise.config.edits import Edit, RemoveTarget, in_words
from equipoise.config.load import load
from equipoise.config.overlay import Overlay, check_whole, edit, merge, trimmed
from equipoise.config.problems import ConfigError, Problem, dotted
from equipoise.config.schema import Config
from equipoise.runtime.lasting import to_its_end
from equipoise.runtime.publisher import ChangeRefusedError, Parts, Publisher
from equipoise.runtime.startup import UnfitError
from equipoise.runtime.store import State, Store, StoreError, digest_of
from equipoise.runtime.tls_files import Material, Reading

__all__ = ["ChangeRefusedError", "Changes", "NotKeptError", "StaleError", "Standing"]

# Keys that need other sockets or other processes. Of listeners it is the address, and whether it speaks TLS at all.
FIXED: Final = ("listen", "listeners", "workers", "state_dir", "admin")


class NotKeptError(ChangeRefusedError):
    """The disk does not take what a restart would have to find, so nothing was changed."""


class StaleError(Exception):
    """The change was meant for another version than the one in force."""

    def __init__(self, current: int) -> None:
        """`current` is the version in force."""
        super().__init__(f"the version is {current}")
        self.current = current


@dataclass(frozen=True)
class Standing:
    """What is in force: the file, what was changed since, both together, and the version of that."""

    file: Config
    overlay: Overlay
    config: Config
    version: int
    digest: str
    material: Material = field(default_factory=Material)

    @property
    def state(self) -> State:
        """As the disk keeps it."""
        return State(version=self.version, digest=self.digest, overlay=self.overlay)

    def succeeded_by(self, file: Config, overlay: Overlay) -> "Standing":
        """What follows, with the next version if it makes a difference.

        Raises:
            ConfigError: file and overlay do not go together.
        """
        config = merge(file, overlay)
        if config == self.config:
            return replace(self, file=file, overlay=overlay)
        check_whole(config)
        return Standing(file, overlay, config, self.version + 1, digest_of(config), self.material)


class Changes:
    """What is in force, and everything that changes it. Belongs to the event loop's thread."""

    def __init__(self, standing: Standing, store: Store, publisher: Publisher, parts: Parts) -> None:
        """What is in force at the start.

        Args:
            standing: what the file and the state directory say.
            store: where it is kept.
            publisher: how the workers are told.
            parts: of the same supervisor.
        """
        self.standing = standing
        # No change is taken up any more.
        self.closed = False
        # Why none is for now; "" when that is not so.
        self.barred = ""
        self._store = store
        self._publisher = publisher
        self._parts = parts
        self._log = parts.log
        self._lock = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._lock.locked()

    async def start(self) -> None:
        """Have the first configuration acted on; changes wait until it is.

        Raises:
            ChangeRefusedError, StartError: it cannot be.
        """
        async with self._lock:
            await self._publisher.start()

    async def edit(self, wanted: Edit, expected: int | None = None, *, force: bool = False) -> int:
        """Make one edit; the version in force when all workers act on it and the disk has it.

        Args:
            wanted: the edit.
            expected: the version that it is meant for; any when None.
            force: cut what is in flight at a target that is removed.

        Raises:
            StaleError: another version is in force.
            UnknownNameError, ConflictError, ConfigError: as `config.overlay.edit`.
            NotKeptError: the disk does not take it; nothing was changed.
            ChangeRefusedError: it is valid and cannot be done; nothing was changed.
        """
        return await self._to_its_end(self._edit(wanted, expected, force))

    async def reload(self, path: Path, expected: int | None = None) -> int:
        """Read the file again and take it up, under what was changed since; the version in force then.

        Raises:
            ConfigError: the file is bad, or does not go together with what was changed; nothing was changed.
            StaleError, NotKeptError, ChangeRefusedError: as `edit`.
        """
        return await self._to_its_end(self._reload(path, expected))

    async def bar(self, why: str) -> None:
        """Refuse every change from now on, until `barred` is empty again; the one under way is done first."""
        async with self._lock:
            self.barred = why

    async def renew(self) -> bool:
        """Read the files of certificates and keys again, and have new handshakes use them; whether they are others.

        The configuration and its version stay.

        Raises:
            ConfigError: what they hold cannot be used; the old ones stay in use.
            ChangeRefusedError: as `edit`.
        """
        before = self.standing.material
        await self._to_its_end(self._renew())
        return self.standing.material != before

    async def _to_its_end(self, change: Coroutine[Any, Any, int]) -> int:
        return await to_its_end(self._parts.tasks, change)

    async def _edit(self, wanted: Edit, expected: int | None, force: bool) -> int:
        async with self._lock:
            self._check(expected)
            if isinstance(wanted, RemoveTarget):
                entry = self._parts.table.get(wanted.pool, wanted.target)
                leaving = self._parts.table.leaving(wanted.pool, wanted.target)
            else:
                entry = leaving = None
            if leaving is None:
                await self._take_up(lambda: self._edited(wanted), in_words(wanted))
            removed = entry or leaving
            if force and removed is not None:
                self._parts.workers.cut(removed.slot)
                self._parts.table.forget_now(*removed.key)
            return self.standing.version

    def _edited(self, wanted: Edit) -> Standing:
        now = self.standing
        return now.succeeded_by(now.file, edit(now.file, now.overlay, wanted))

    async def _reload(self, path: Path, expected: int | None) -> int:
        async with self._lock:
            self._check(expected)
            changed = await self._take_up(lambda: self._reloaded(path), "configuration file read again")
            self._log.info("reloaded", version=self.standing.version, changed=changed)
            return self.standing.version

    def _reloaded(self, path: Path) -> Standing:
        reading = Reading()
        now, file = self.standing, load(path, examine=reading.examine)
        fixed = [key for key in FIXED if _fixed(file, key) != _fixed(now.file, key)]
        if fixed:
            raise ChangeRefusedError(f"{', '.join(fixed)} cannot change while running; restart to change it")
        return replace(now.succeeded_by(file, trimmed(file, now.overlay)), material=reading.material)

    async def _renew(self) -> int:
        async with self._lock:
            self._check(None)
            await self._take_up(self._renewed, "certificates read again")
            return self.standing.version

    def _renewed(self) -> Standing:
        reading = Reading()
        found: list[Problem] = []
        reading.examine(self.standing.file, lambda place, message: found.append(Problem(dotted(place), message)))
        if found:
            raise ConfigError(found)
        return replace(self.standing, material=reading.material)

    def _check(self, expected: int | None) -> None:
        if self.closed:
            raise ChangeRefusedError("the balancer is draining; nothing changes any more")
        if self.barred:
            raise ChangeRefusedError(f"{self.barred}; nothing changes until then")
        if expected is not None and expected != self.standing.version:
            raise StaleError(self.standing.version)

    # The path

    async def _take_up(self, decide: Callable[[], Standing], what: str) -> bool:
        """Take up what `decide` says; whether that made a difference to the configuration."""
        before = self.standing
        try:
            # Reading, the import of a user's algorithm and the disk may all take long: the loop does not wait for them.
            after = await asyncio.to_thread(self._decide_and_prepare, decide)
        except StoreError as error:
            raise NotKeptError(str(error)) from error
        try:
            acts = after.version != before.version or after.material != before.material
            if acts:
                await self._act_on(after)
            if after.state != before.state:
                await asyncio.to_thread(self._store.commit)
            if acts:
                self._publisher.settle()
        except Exception as error:
            await self._go_back(before)
            refusal = NotKeptError if isinstance(error, StoreError) else ChangeRefusedError
            raise refusal(str(error)) from error
        self.standing = after
        if after.material.warnings != before.material.warnings:
            after.material.tell(self._log)
        if after.version == before.version:
            return False
        self._log.info("changed", version=after.version, what=what)
        self._parts.events.publish("change", {"version": after.version, "what": what})
        return True

    def _decide_and_prepare(self, decide: Callable[[], Standing]) -> Standing:
        after = decide()
        if after.state != self.standing.state:
            self._store.prepare(after.state)
        return after

    async def _act_on(self, standing: Standing) -> None:
        await self._publisher.install(standing.config, standing.version, standing.material)
        problems = await self._parts.workers.acknowledged(self._publisher.publish())
        if problems:
            raise ChangeRefusedError(problems[0])

    async def _go_back(self, before: Standing) -> None:
        await self._publisher.install(before.config, before.version, before.material)
        if not await self._parts.workers.acknowledged(self._publisher.publish()):
            self._publisher.settle()
        try:
            await asyncio.to_thread(self._restore, before.state)
        except (StoreError, UnfitError) as error:
            self._log.error("a change that was refused may come back at the next start", reason=str(error))

    def _restore(self, state: State) -> None:
        # A commit that failed may have come half way.
        self._store.drop()
        if self._store.read() != state:
            self._store.prepare(state)
            self._store.commit()


def _fixed(config: Config, key: str) -> object:
    if key == "listeners":
        return [(listener.address, listener.tls is not None) for listener in config.listeners]
    return getattr(config, key)
