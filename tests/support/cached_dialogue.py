"""A dialogue with a worker whose pool has a cache: the real store, over anonymous memory.

Owns: worlds with a cache in them, several workers over one memory, and an HTTP/1 answer as a test reads it.
Refuses to know: what any one dialogue shows.
"""

from dataclasses import dataclass
from typing import Any

from msgspec import structs

from equipoise.model import CacheSpec, PoolSpec, World
from equipoise.proxy.services import LogPort
from equipoise.runtime.cache_memory import CacheMemory, Section, open_store
from equipoise.state.cache_port import CachePort
from equipoise.state.cache_store import Store
from tests.support.dialogue import Dialogue, only
from tests.support.ledgers import world
from tests.support.transport import Clock, Peer

MAX_BYTES = 1 << 20


class SharedCache:
    """The supervisor's side: memory for one pool's cache, and purges."""

    def __init__(self, rows: int = 2, max_bytes: int = MAX_BYTES) -> None:
        self.memory = CacheMemory(rows)
        self.rows = rows
        self.section: Section = self.memory.take(max_bytes)
        self.supervisor = self.memory.store(self.section)
        self.used = 0

    def place(self) -> tuple[int, int]:
        return (self.section.start, self.section.max_bytes)

    def open(self, row: int) -> Store:
        return open_store(self.memory.files, self.section, self.rows, row)

    def purge_path(self, path: bytes, now: int, *, is_prefix: bool = False) -> int:
        purge = self.supervisor.purge(path, is_prefix, now)
        while not purge.step(256):
            pass
        return purge.dropped

    def __del__(self) -> None:
        self.memory.close()


class CachedDialogue(Dialogue):
    """One worker; its pools have the cache that `spec` says."""

    def __init__(
        self,
        spec: CacheSpec,
        *pools: PoolSpec,
        shared: SharedCache | None = None,
        clock: Clock | None = None,
        **more: Any,
    ) -> None:
        self.spec = spec
        self.shared = SharedCache() if shared is None else shared
        self.row = self.shared.used
        self.shared.used += 1
        self._shared_clock = clock
        super().__init__(*(pools or [only()]), **more)

    def apply(self, *pools: PoolSpec, **settings: Any) -> None:
        """A new world, with the cache as `spec` says now."""
        if self._shared_clock is not None:
            self.clock = self.loop.clock = self._shared_clock
            self.services.clock = self.clock.now
            self._shared_clock = None
        self.path.open_store = lambda _: self.shared.open(self.row)
        place = self.shared.place() if self.spec.enabled else None
        cached = [with_cache(pool, self.spec, place) for pool in pools]
        self.world: World = world(*cached, **settings)
        self.path.apply(self.world)
        self.services.log = LogPort(self.log, 16, ())

    @property
    def port(self) -> CachePort:
        """The cache of the one pool."""
        snapshot = self.services.world()
        (pool,) = snapshot.pools.values()
        assert pool.cache is not None
        return pool.cache

    def stats(self) -> dict[str, int]:
        """What the supervisor sees of this worker's cache."""
        self.port.store.flush()
        return self.shared.supervisor.stats()

    def cached(self) -> list[tuple[str, str]]:
        """Of each line of the access log: how the cache took part, and why."""
        return [(record.cache, getattr(record, "cache_reason", None) or "") for record in self.records]

    def waiting(self) -> int:
        """How many requests wait for the fetch of another."""
        flights: Any = self.port.flights
        return sum(len(flight.followers) for flight in flights._flights.values())


def with_cache(pool: PoolSpec, spec: CacheSpec, place: tuple[int, int] | None) -> PoolSpec:
    return structs.replace(pool, cache=spec, cache_section=place)


@dataclass
class Answer:
    """An HTTP/1 answer as it arrived, its body not decoded."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that stands there once."""
        values = [value for known, value in self.fields if known == name]
        assert len(values) < 2, f"{name!r} stands there {len(values)} times"
        return values[0] if values else None


def heard(peer: Peer) -> Answer:
    """What a client has heard: one answer."""
    data = peer.hears()
    assert data, "nothing has arrived"
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = []
    for line in lines[1:]:
        name, _, value = line.partition(b": ")
        fields.append((name.lower(), value))
    return Answer(int(lines[0][9:12]), fields, body)


# Words


def identical(**settings: Any) -> CacheSpec:
    """Answers are kept for a minute."""
    return CacheSpec(**{"enabled": True, "max_body": 4096} | settings)


def by_rfc9111(**settings: Any) -> CacheSpec:
    return identical(mode="rfc9111", **settings)


def get(path: bytes = b"/", *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([method + b" " + path + b" HTTP/" + version, b"Host: x", *lines, b"", b""])


def post(body: bytes, *lines: bytes, method: bytes = b"POST", path: bytes = b"/") -> bytes:
    return get(path, b"Content-Length: %d" % len(body), *lines, method=method) + body


def ok(body: bytes = b"ok", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body), b"", b""]) + body


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
