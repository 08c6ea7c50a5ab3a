"""All targets as the supervisor knows them.

Owns: for each target its slot, its addresses and its health; from these and the configuration, its state and the world.
It remembers removed targets for as long as something is in flight there.
Refuses to know: sockets, processes, who reports and who is told.

It decides synchronously and returns what flipped; the caller logs and publishes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import structs

from equipoise.config.addresses import parse_url
from equipoise.config.schema import Config, HealthConfig, TargetConfig
from equipoise.config.world import build_world
from equipoise.model import Outcome, TargetSpec, TargetState, TargetTlsSpec, World
from equipoise.policy.health import Health, HealthRules, elapse, is_failed_answer, observe
from equipoise.runtime.slots import Key, NoSlotError, Slots
from equipoise.runtime.tls_files import Material

LEAVING: Final = "removed; waiting for requests in flight"
_CAUSES: Final = {
    Outcome.CONNECT_FAILED: "connect failed",
    Outcome.PROBE_FAILED: "health probe failed",
    Outcome.RESET: "answers failed: connection reset",
    Outcome.TIMEOUT: "answers failed: no response in time",
    Outcome.BAD_STATUS: "answers failed: bad status",
    Outcome.MALFORMED: "answers failed: malformed response",
}


@dataclass(frozen=True)
class Flip:
    """A target that takes requests now and did not before, or the other way."""

    key: Key
    before: TargetState
    after: TargetState
    reason: str


class Unwell(msgspec.Struct, frozen=True):
    """A target that is down by its health, as another process is told of it.

    Attributes:
        pool: its pool.
        target: its name.
        url: its place; what is elsewhere is another target.
        cause: the value of the `Outcome` that took it down.
        left: seconds until its ejection ends; 0 when a good probe brings it back at once.
        ejections: as in `Health`.
    """

    pool: str
    target: str
    url: str
    cause: str
    left: float = 0.0
    ejections: int = 0


@dataclass
class Entry:
    """One target. Changed by `TargetTable` only."""

    key: Key
    host: str
    port: int
    slot: int
    config: TargetConfig
    health_config: HealthConfig
    rules: HealthRules
    addresses: tuple[str, ...] = ()
    health: Health = field(default_factory=Health)
    # The cumulative count of good answers at the last failure: if it moved, the failures are not in a row.
    ok_seen: int = 0
    state: TargetState = TargetState.UP
    reason: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    # How often its health took it out while it was up.
    ejections: int = 0
    scheme: str = "http"
    # How it is spoken to; None unless the scheme is "https".
    tls: TargetTlsSpec | None = None


class TargetTable:
    """The targets of all pools."""

    def __init__(
        self, slots: Slots, good_answers: Callable[[int], int], resolve: Callable[[str], tuple[str, ...]]
    ) -> None:
        """Empty.

        Args:
            slots: gives each pool and target its slot.
            good_answers: cumulative count of good answers at a slot, over all workers.
            resolve: the addresses of a host, as known now.
        """
        self._slots = slots
        self._good_answers = good_answers
        self._resolve = resolve
        self._entries: dict[Key, Entry] = {}
        # Removed targets as they were, and since when.
        self._leaving: dict[Key, tuple[Entry, datetime]] = {}
        self._pools: set[Key] = set()
        self._material = Material()
        # What another process knew of targets that are not there yet.
        self._remembered: dict[Key, Unwell] = {}

    def __iter__(self) -> Iterator[Entry]:
        """All targets of the configuration, pool by pool."""
        return iter(list(self._entries.values()))

    def shown(self) -> list[Entry]:
        """All targets that people may want to see: the removed ones too, until nothing is in flight there.

        A removed one is a copy with the state `DRAINING` and the reason `LEAVING`.
        """
        return [*self._entries.values(), *(_as_leaving(*gone) for gone in self._leaving.values())]

    def get(self, pool: str, target: str) -> Entry | None:
        """One target of the configuration, or None when there is none of that name."""
        return self._entries.get(Key(pool, target))

    def leaving(self, pool: str, target: str) -> Entry | None:
        """One removed target with requests in flight, as `shown` has it; None when there is none of that name."""
        gone = self._leaving.get(Key(pool, target))
        return None if gone is None else _as_leaving(*gone)

    def hosts(self) -> set[str]:
        """The hosts of all targets."""
        return {entry.host for entry in self._entries.values()}

    def unwell(self, now: float) -> list[Unwell]:
        """The targets that are down by their health, for another process."""
        return [
            Unwell(
                *entry.key,
                entry.config.url,
                entry.health.cause.value,
                max(0.0, entry.health.until - now),
                entry.health.ejections,
            )
            for entry in self._entries.values()
            if entry.health.cause is not None
        ]

    def remember(self, unwell: Iterable[Unwell]) -> None:
        """Take such a target for down when it is installed: it was, in the process before this one."""
        self._remembered = {Key(each.pool, each.target): each for each in unwell}

    def install(self, config: Config, now: float, material: Material | None = None) -> list[Flip]:
        """Make the table that of `config`. Targets that stay keep their slot and their health.

        Args:
            config: what is to be in force.
            now: the clock.
            material: the certificates and keys that belong to it.

        Returns:
            New targets that cannot take requests yet, and those whose ordered state is another one now.

        Raises:
            NoSlotError: there are too many targets.
        """
        entries: dict[Key, Entry] = {}
        pools = {Key(pool) for pool in config.pools}
        material = material or Material()
        try:
            for pool, pool_config in config.pools.items():
                near = self._slots.take(Key(pool), self._slots.next_pool())
                for target in pool_config.targets:
                    key = Key(pool, target.name)
                    near = self._slots.take(key, near + 1)
                    entries[key] = self._entry(key, target, pool_config.health, near)
                    self._recall(entries[key], now)
                    entries[key].tls = _tls(entries[key], material.pools.get(pool, TargetTlsSpec()))
        except NoSlotError:
            self._slots.retain(self._pools | self._entries.keys(), now)
            raise
        self._slots.retain(pools | entries.keys(), now)
        since = datetime.now(UTC)
        self._leaving |= {key: (entry, since) for key, entry in self._entries.items() if key not in entries}
        for key in self._leaving.keys() & entries.keys():
            del self._leaving[key]
        self._pools = pools
        self._entries = entries
        self._material = material
        self._remembered.clear()
        return [flip for entry in entries.values() for flip in self._settle(entry)]

    def world(self, config: Config) -> World:
        """What the workers are to act on. `config` is the one that was installed last."""
        world = build_world(config, self._spec, lambda pool: self._slots.take(Key(pool), 0))
        return structs.replace(world, listeners=self._material.listeners, files=self._material.files)

    def failed(self, key: Key, outcome: Outcome, good: int, now: float) -> list[Flip]:
        """Take in that a request failed.

        Args:
            key: the target.
            outcome: how it failed.
            good: how many good answers the target had given by then.
            now: the clock.
        """
        entry = self._entries.get(key)
        if entry is None:
            return []
        # Reports of different workers may overtake each other, so an older count is no news.
        if good > entry.ok_seen:
            entry.ok_seen = good
            entry.health, _ = observe(entry.health, Outcome.OK, now, entry.rules)
        health, flipped = observe(entry.health, outcome, now, entry.rules)
        if flipped and is_failed_answer(outcome) and self._is_last(entry):
            # A target that fails some of its answers is better than none. Its count stays one short of the threshold,
            # so the next failure takes it down if another has come up.
            return []
        entry.health = health
        return self._settle(entry)

    def probed(self, key: Key, outcome: Outcome, detail: str, now: float) -> list[Flip]:
        """Take in what a probe showed; `detail` says why it failed."""
        entry = self._entries.get(key)
        if entry is None:
            return []
        entry.health, _ = observe(entry.health, outcome, now, entry.rules)
        return self._settle(entry, detail)

    def elapse(self, now: float) -> list[Flip]:
        """Take in that time has passed."""
        flips = []
        for entry in self._entries.values():
            entry.health, flipped = elapse(entry.health, now, entry.rules)
            if flipped:
                flips += self._settle(entry)
        return flips

    def resolved(self, host: str, addresses: tuple[str, ...]) -> list[Flip]:
        """Take in that a name leads elsewhere now."""
        flips = []
        for entry in self._entries.values():
            if entry.host == host:
                entry.addresses = addresses
                flips += self._settle(entry)
        return flips

    def forget(self, is_idle: Callable[[int], bool]) -> None:
        """Let go of the removed targets whose slot is idle."""
        for key, (entry, _) in list(self._leaving.items()):
            if is_idle(entry.slot):
                del self._leaving[key]

    def forget_now(self, pool: str, target: str) -> None:
        """Let go of a removed target, whatever is in flight there."""
        self._leaving.pop(Key(pool, target), None)

    def reap(self, now: float) -> None:
        """Free the slots of targets that were removed long ago."""
        self._slots.reap(now)

    def _entry(self, key: Key, config: TargetConfig, health: HealthConfig, slot: int) -> Entry:
        scheme, (host, port), _ = parse_url(config.url)
        # One that was removed a moment ago, or whose removal is undone, is known as well.
        entry = self._entries.get(key) or self._leaving.get(key, (None,))[0]
        if entry is None or (entry.scheme, entry.host, entry.port) != (scheme, host, port):
            # Another place is another target, whatever it is called: nothing is known of its health.
            fresh = Entry(key, host, port, slot, config, health, rules_of(health), self._resolve(host), scheme=scheme)
            fresh.ok_seen = self._good_answers(slot)
            return fresh
        # A changed copy and not a changed entry: an install that fails half way leaves the table as it was.
        fresh = replace(entry, config=config, health_config=health, rules=rules_of(health), slot=slot)
        if key not in self._entries:  # its name may have gone unwatched meanwhile
            fresh.addresses = self._resolve(host) or entry.addresses
        return fresh

    def _recall(self, entry: Entry, now: float) -> None:
        known = self._remembered.get(entry.key)
        if known is not None and known.url == entry.config.url and known.cause in _CAUSES:
            entry.health = Health(
                up=False,
                cause=Outcome(known.cause),
                until=now + known.left,
                ejections=known.ejections,
                well_since=now,
            )

    def _is_last(self, entry: Entry) -> bool:
        return not any(
            other.state is TargetState.UP
            for other in self._entries.values()
            if other.key.pool == entry.key.pool and other is not entry
        )

    def _settle(self, entry: Entry, detail: str = "") -> list[Flip]:
        """Draw the state from the order in the configuration, addresses and health."""
        before = entry.state
        state, reason = _state(entry, detail)
        if state is before:
            entry.reason = reason
            return []
        if before is TargetState.UP and state is TargetState.DOWN and entry.config.state == "up":
            entry.ejections += 1
        entry.state, entry.reason, entry.since = state, reason, datetime.now(UTC)
        return [Flip(entry.key, before, state, reason or "well again")]

    def _spec(self, pool: str, config: TargetConfig) -> TargetSpec:
        entry = self._entries[Key(pool, config.name)]
        return TargetSpec(
            name=config.name,
            url=config.url,
            host=entry.host,
            port=entry.port,
            slot=entry.slot,
            addresses=entry.addresses,
            weight=config.weight,
            max_in_flight=config.max_in_flight,
            state=entry.state,
            scheme=entry.scheme,
            tls=entry.tls,
        )


def rules_of(health: HealthConfig) -> HealthRules:
    """The rules that a pool's configuration sets."""
    passive = health.passive
    return HealthRules(
        connect_failures=passive.connect_failures if passive.enabled else 0,
        failures=passive.failures if passive.enabled else 0,
        unhealthy_after=health.unhealthy_after,
        healthy_after=health.healthy_after,
        probes=health.type != "none",
        ejection=passive.eject_min,
        ejection_max=passive.eject_max,
    )


def _tls(entry: Entry, spec: TargetTlsSpec) -> TargetTlsSpec | None:
    if entry.scheme != "https":
        return None
    # A name with a final dot is the same name, and no certificate has it (RFC 6066 3).
    return structs.replace(spec, server_name=spec.server_name or entry.host.removesuffix("."))


def _as_leaving(entry: Entry, since: datetime) -> Entry:
    return replace(entry, state=TargetState.DRAINING, reason=LEAVING, since=since)


def _state(entry: Entry, detail: str) -> tuple[TargetState, str | None]:
    if entry.config.state != "up":
        return TargetState(entry.config.state), "ordered"
    if not entry.addresses:
        return TargetState.DOWN, "name does not resolve"
    if entry.health.cause is not None:
        cause = _CAUSES[entry.health.cause]
        seen_by_probe = entry.health.cause in (Outcome.PROBE_FAILED, Outcome.CONNECT_FAILED)
        return TargetState.DOWN, f"{cause}: {detail}" if detail and seen_by_probe else cause
    return TargetState.UP, None
