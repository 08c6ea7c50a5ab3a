"""What is done to the balancer while clients ask: admin calls, reloads, kills, freezes.

Owns: the order of it, drawn from a seed; the list of what went otherwise than it should.
Refuses to know: requests of clients.

Two things go on at once: one changes the configuration again and again, one kills and freezes, waits until all is well
again, and goes on. A call of the admin API must succeed whatever is being killed.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any, Final

from benchmarks.soak.record import Incident, Record, What
from benchmarks.soak.stage import COUNTS, POOLS, Stage, StageError, Target

# Long enough for the response timeout to pass while the target is frozen.
FREEZE_S: Final = 4.0
# How long a killed target stays away.
AWAY_S: Final = 1.5
WORKER_BACK_S: Final = 5.0
TARGET_BACK_S: Final = 10.0
ALGORITHMS: Final = ("round_robin", "random", "least_in_flight", "response_time")


class Disturber:
    """Does one thing after the other until it is told to stop."""

    def __init__(self, stage: Stage, record: Record, draw: random.Random) -> None:
        self._stage = stage
        self._record = record
        self._draw = draw
        self._harm_draw = random.Random(draw.getrandbits(64))
        self._rotations = 0
        self.stopping = False
        # Kills of workers end before memory is looked at: a fresh worker's grows for a while.
        self.spare_workers = False
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        # Seconds until all targets were up again, and until a dead worker's successor was there.
        self.recoveries: dict[What, list[float]] = {what: [] for what in What}

    async def change(self) -> None:
        """Changes one thing after the other, and takes each change back."""
        steps = [
            self._algorithm,
            self._weight,
            self._drain,
            self._add_and_remove,
            self._purge,
            self._cache_settings,
            self._reload,
            self._look,
            self._reopen_log,
        ]
        while not self.stopping:
            step = self._draw.choice(steps)
            await self._try(step.__name__.strip("_").replace("_", " "), step())
            await asyncio.sleep(self._draw.random())

    async def harm(self) -> None:
        """Kills and freezes; after each it waits until all targets and workers are there."""
        draw = self._harm_draw
        deck: list[tuple[What, str]] = []
        while not self.stopping:
            # A deck, not dice: every kind of harm comes in a short run too.
            if not deck:
                deck = [(what, kind) for what in (What.TARGET_KILLED, What.TARGET_FROZEN) for kind in COUNTS]
                deck.append((What.WORKER_KILLED, ""))
                draw.shuffle(deck)
            what, kind = deck.pop()
            if what is What.WORKER_KILLED:
                if not self.spare_workers:
                    await self._try(what, self._kill_worker())
                continue
            target = draw.choice([each for each in self._stage.of(kind) if each is not self._stage.spare])
            await self._try(
                what, self._kill_target(target) if what is What.TARGET_KILLED else self._freeze_target(target)
            )
            await asyncio.sleep(0.5 + 1.5 * draw.random())

    async def _try(self, what: str | What, step: Awaitable[None]) -> None:
        name = what if isinstance(what, str) else what.value
        try:
            await step
        except StageError as error:
            self.problems.append(f"{name}: {error}")
        else:
            if isinstance(what, str):
                self.done[name] += 1

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self._stage.ask, method, path, body)

    # -- changes

    async def _algorithm(self) -> None:
        pool = self._draw.choice(sorted(set().union(*POOLS.values())))
        await self._ask("PUT", f"/v1/pools/{pool}/algorithm", {"algorithm": self._draw.choice(ALGORITHMS)})

    async def _weight(self) -> None:
        pool, target = self._any_target()
        await self._ask("PATCH", f"/v1/pools/{pool}/targets/{target.name}", {"weight": self._draw.randrange(1, 4)})
        await self._ask("PATCH", f"/v1/pools/{pool}/targets/{target.name}", {"weight": 1})

    async def _drain(self) -> None:
        pool, target = self._any_target()
        try:
            await self._ask("PATCH", f"/v1/pools/{pool}/targets/{target.name}", {"state": "draining"})
            await asyncio.sleep(self._draw.random())
        finally:
            await self._ask("PATCH", f"/v1/pools/{pool}/targets/{target.name}", {"state": "up"})

    async def _add_and_remove(self) -> None:
        spare = self._stage.spare
        for pool in ("web", "kept"):
            url = f"http://127.0.0.1:{spare.port}"
            await self._ask("POST", f"/v1/pools/{pool}/targets", {"url": url, "name": spare.name})
        await asyncio.sleep(2 * self._draw.random())
        for pool in ("web", "kept"):
            await self._ask("DELETE", f"/v1/pools/{pool}/targets/{spare.name}")

    async def _purge(self) -> None:
        which = self._draw.choice(("", "?path=/kept/bytes", "?prefix=/kept"))
        await self._ask("DELETE", f"/v1/pools/kept/cache{which}")

    async def _cache_settings(self) -> None:
        if self._draw.random() < 0.5:
            await self._ask("PUT", "/v1/pools/kept/cache", {"ttl": self._draw.choice(("1s", "3s"))})
            return
        await self._ask("PUT", "/v1/pools/kept/cache", {"enabled": False})
        await asyncio.sleep(self._draw.random())
        await self._ask("PUT", "/v1/pools/kept/cache", {"enabled": True})

    async def _reload(self) -> None:
        self._stage.write_config(f"[pools.web.retry]\nbuffer = {self._draw.randrange(64, 128) * 1024}\n")
        await self._ask("POST", "/v1/reload")

    async def _look(self) -> None:
        for path in ("/v1/status", "/v1/config", "/v1/events/recent", "/metrics"):
            await self._ask("GET", path)

    async def _reopen_log(self) -> None:
        self._rotations += 1
        self._stage.reopen_log(self._rotations)
        # Both workers begin the new file before it is moved in turn.
        await asyncio.sleep(1.0)

    def _any_target(self) -> tuple[str, Target]:
        kind = self._draw.choice(sorted(COUNTS))
        targets = [target for target in self._stage.of(kind) if target is not self._stage.spare]
        return self._draw.choice(sorted(POOLS[kind])), self._draw.choice(targets)

    # -- harm

    async def _kill_target(self, target: Target) -> None:
        began = time.monotonic()
        target.kill()
        self._note(What.TARGET_KILLED, target.name, POOLS[target.kind], began)
        await asyncio.sleep(AWAY_S * self._draw.random())
        target.start()
        await asyncio.to_thread(target.wait_listening)
        await self._recovered(What.TARGET_KILLED)

    async def _freeze_target(self, target: Target) -> None:
        began = time.monotonic()
        target.freeze()
        try:
            await asyncio.sleep(FREEZE_S)
        finally:
            target.thaw()
        self._note(What.TARGET_FROZEN, target.name, POOLS[target.kind], began)
        await self._recovered(What.TARGET_FROZEN)

    async def _kill_worker(self) -> None:
        workers = await asyncio.to_thread(self._stage.workers)
        pid = self._harm_draw.choice(workers)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self._note(What.WORKER_KILLED, str(pid), frozenset(), began)
        while pid in (now := await asyncio.to_thread(self._stage.workers)) or len(now) < len(workers):
            if time.monotonic() - began > WORKER_BACK_S:
                raise StageError(f"no successor of worker {pid} within {WORKER_BACK_S:g} s")
            await asyncio.sleep(0.02)
        self.recoveries[What.WORKER_KILLED].append(time.monotonic() - began)

    def _note(self, what: What, name: str, pools: frozenset[str], began: float) -> None:
        self._record.incidents.append(Incident(what, name, pools, began, time.monotonic()))

    async def _recovered(self, what: What) -> None:
        self.recoveries[what].append(await asyncio.to_thread(self._stage.wait_up, TARGET_BACK_S))
