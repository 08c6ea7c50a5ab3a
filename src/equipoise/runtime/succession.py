"""Who follows whom: a new process in the place of this one, new workers in the place of the old ones.

Owns: that there is one succession at a time, when none may be, what is handed over, and what is said of it.
Refuses to know: how two processes talk (`handover`), how a worker is replaced (`workers`).
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from equipoise.runtime.changes import ChangeRefusedError, Changes
from equipoise.runtime.handover import CHARGE_TIMEOUT, PREPARE_TIMEOUT, HandoverError, Heir, Legacy, Prepared
from equipoise.runtime.lasting import to_its_end
from equipoise.runtime.listen import Listener
from equipoise.runtime.notify import Notifier, ServiceManager
from equipoise.runtime.publisher import Parts
from equipoise.runtime.store import Store
from equipoise.runtime.workers import Replaced, ReplaceError

_INIT: Final = 1


@dataclass(frozen=True)
class Upgraded:
    """A process that has taken over: its process id, this one's, and the version of its configuration."""

    pid: int
    before: int
    version: int


@dataclass(frozen=True)
class Holdings:
    """What one process holds and the next one gets.

    Attributes:
        listeners: where clients connect.
        admin: where the admin API is served.
        store: the state directory.
        notifier: the way to the service manager.
    """

    listeners: tuple[Listener, ...]
    admin: Listener | None
    store: Store
    notifier: Notifier


class Succession:
    """Upgrades and replacements of one supervisor. Belongs to the event loop's thread.

    Attributes:
        patience: seconds within which a new process must be ready.
        command: how it is started; as this process was, when empty.
    """

    def __init__(
        self,
        parts: Parts,
        holdings: Holdings,
        changes: Changes,
        manager: ServiceManager,
        leave: Callable[[set[int]], None],
    ) -> None:
        """Nothing is under way.

        Args:
            parts: of this supervisor.
            holdings: what it would hand over.
            changes: barred while a process takes over.
            manager: told who is in charge.
            leave: called when another process is; given the places of the listeners that it goes on with.
        """
        self.patience = PREPARE_TIMEOUT
        self.command: Sequence[str] = ()
        self._parts = parts
        self._holdings = holdings
        self._changes = changes
        self._manager = manager
        self._leave = leave
        self._log = parts.log
        # What is under way, in words.
        self._busy = ""
        self._heir: Heir | None = None

    async def upgrade(self) -> Upgraded:
        """Start this balancer anew, from what is on the disk now, and hand over to it; who is in charge then.

        Raises:
            ChangeRefusedError: it cannot be done, or was not: this process goes on as before.
        """
        return await to_its_end(self._parts.tasks, self._upgrade())

    async def replace_workers(self, drain_timeout: float) -> list[Replaced]:
        """Replace all workers, one after the other; returns when the last of the old ones is gone.

        Args:
            drain_timeout: seconds that each may take to finish what it carries.

        Raises:
            ChangeRefusedError: one could not be replaced; it goes on.
        """
        return await to_its_end(self._parts.tasks, self._replace(drain_timeout))

    def abandon(self) -> None:
        """End a new process that is not in charge yet: this one is told to leave, and that means the whole balancer."""
        if self._heir is not None:
            self._heir.popen.kill()

    @contextmanager
    def _only(self, what: str) -> Iterator[None]:
        if self._changes.closed:
            raise ChangeRefusedError("the balancer is draining; it is too late for that")
        if self._busy:
            raise ChangeRefusedError(f"{self._busy} is under way")
        if self._changes.barred:
            raise ChangeRefusedError(self._changes.barred)
        self._busy = what
        try:
            yield
        finally:
            self._busy = ""

    async def _replace(self, drain_timeout: float) -> list[Replaced]:
        with self._only("the replacement of the workers"):
            self._log.info("workers are replaced", workers=self._parts.workers.pids)
            try:
                replaced = await self._parts.workers.replace(drain_timeout)
            except ReplaceError as error:
                self._log.error("the workers were not all replaced", reason=str(error))
                raise ChangeRefusedError(str(error)) from error
            self._log.info("workers replaced", workers=self._parts.workers.pids)
            return replaced

    async def _upgrade(self) -> Upgraded:
        with self._only("an upgrade"):
            if os.getpid() == _INIT:
                raise ChangeRefusedError(
                    "the balancer is process 1 of its container, which ends with it: start a new container instead"
                )
            self._log.info("upgrade begins", pid=os.getpid())
            await self._changes.bar("an upgrade is under way")
            try:
                heir, prepared = await self._hand_over()
            except HandoverError as error:
                self._log.error("upgrade failed; this process goes on", reason=str(error))
                raise ChangeRefusedError(str(error)) from error
            finally:
                self._heir = None
                self._changes.barred = ""
            self._changes.closed = True
            self._manager.hand_over(heir.popen.pid)
            heir.hang_up()
            self._log.info("another process has taken over", pid=heir.popen.pid, version=prepared.version)
            self._leave(set(prepared.kept))
            return Upgraded(heir.popen.pid, os.getpid(), prepared.version)

    async def _hand_over(self) -> tuple[Heir, Prepared]:
        """A process that is in charge. Raises HandoverError, and leaves none behind."""
        legacy = self._legacy()
        heir = self._heir = Heir.start(legacy.fds, self._holdings.notifier.environment(), self.command)
        try:
            prepared = await heir.prepare(legacy, self.patience)
            await heir.put_in_charge(CHARGE_TIMEOUT)
        except HandoverError:
            self._log.info("the new process is ended", pid=heir.popen.pid, **await heir.end())
            raise
        return heir, prepared

    def _legacy(self) -> Legacy:
        table, holdings = self._parts.table, self._holdings
        return Legacy(
            pid=os.getpid(),
            listeners=tuple(listener.bequest for listener in holdings.listeners),
            admin=() if holdings.admin is None else (holdings.admin.bequest,),
            lock=holdings.store.lock,
            unwell=tuple(table.unwell(asyncio.get_running_loop().time())),
            addresses=self._parts.resolver.known(),
        )
