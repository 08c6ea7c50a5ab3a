"""Parts that several tests of the admin API need: a supervisor without processes, and calls without a socket.

Owns: `Board`, which edits configurations by the real rules and counts nothing, and `Api`, a client of the ASGI app.
Refuses to know: any test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from equipoise.admin.app import make_app
from equipoise.admin.auth import Grant, Role, make_token
from equipoise.admin.gate import Clocks
from equipoise.config.decode import plain
from equipoise.config.edits import Edit
from equipoise.config.load import parse
from equipoise.config.overlay import Overlay, UnknownNameError, check_whole, differences, edit, merge
from equipoise.config.schema import Config, TargetConfig
from equipoise.runtime.caches import Caches
from equipoise.runtime.changes import StaleError
from equipoise.runtime.events import Events
from equipoise.runtime.succession import Upgraded
from equipoise.runtime.supervisor import Supervisor
from equipoise.runtime.workers import Replaced
from tests.unit.runtime.parts import ReadableLog

POOL = '[pools.default]\ntargets = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]\n'


def admin_config(folder: Path, more: str = "") -> Config:
    """Two targets, the admin API, and a state directory of its own."""
    return parse(f'listen = "127.0.0.1:0"\nstate_dir = "{folder / "state"}"\n{POOL}{more}\n', {})


class Board:
    """What the admin API sees of a supervisor. Edits follow the real rules; nothing carries traffic."""

    def __init__(self, config: Config) -> None:
        self.file = self.config = config
        self.overlay = Overlay()
        self.version = 1
        self.events = Events()
        self.log = ReadableLog()
        self.reason: str | None = None
        self.edits: list[tuple[Edit, bool]] = []
        # Raised instead of doing what is asked.
        self.failure: Exception | None = None
        self.next_file = config
        # What is still in flight at targets that were removed.
        self.leaving: dict[str, int] = {}
        self.caches = Caches(1)
        self.caches.install(config)
        self.purges: list[tuple[str, str, bool]] = []

    def status(self) -> dict[str, Any]:
        pools = {
            name: {
                "algorithm": pool.algorithm,
                "spread": 0,
                "cache": self.caches.stats(name, pool.cache),
                "targets": [target_status(target) for target in pool.targets],
            }
            for name, pool in self.config.pools.items()
        }
        worker = {"row": 0, "pid": 1, "connections": 0, "requests": 0, "version": self.version, "draining": False}
        return {
            "version": self.version,
            "time": "2026-01-31T09:30:00.125+00:00",
            "uptime_s": 1.5,
            "compiled": False,
            "pid": 1,
            "draining": False,
            "workers": [worker],
            "pools": pools,
        }

    def target(self, pool: str, name: str) -> dict[str, Any]:
        if pool not in self.config.pools:
            raise UnknownNameError("pool", pool)
        for target in self.config.pools[pool].targets:
            if target.name == name:
                return target_status(target)
        if name in self.leaving:
            return {"name": name, "in_flight": self.leaving[name]}
        raise UnknownNameError("target", name)

    def cache(self, pool: str) -> dict[str, Any]:
        if pool not in self.config.pools:
            raise UnknownNameError("pool", pool)
        config = self.config.pools[pool].cache
        return {**self.caches.stats(pool, config), "settings": plain(config)}

    async def purge(self, pool: str, path: str = "", *, is_prefix: bool = False) -> int:
        if pool not in self.config.pools:
            raise UnknownNameError("pool", pool)
        self.purges.append((pool, path, is_prefix))
        return await self.caches.purge(pool, path, is_prefix=is_prefix)

    def configuration(self) -> dict[str, Any]:
        return {"version": self.version, "config": plain(self.config)}

    def differences(self) -> list[dict[str, Any]]:
        found = differences(self.file, self.config)
        return [{"place": place, "file": file, "running": running} for place, file, running in found]

    async def edit(self, wanted: Edit, expected: int | None = None, *, force: bool = False) -> int:
        self._check(expected)
        overlay = edit(self.file, self.overlay, wanted)
        config = merge(self.file, overlay)
        check_whole(config)
        self.edits.append((wanted, force))
        self.overlay = overlay
        return self._take_up(config)

    async def reload(self, expected: int | None = None) -> int:
        self._check(expected)
        self.file = self.next_file
        return self._take_up(merge(self.file, self.overlay))

    async def upgrade(self) -> Upgraded:
        self._check(None)
        return Upgraded(pid=2, before=1, version=self.version)

    async def replace_workers(self) -> list[Replaced]:
        self._check(None)
        return [Replaced(before=1, after=2)]

    def ready(self) -> str | None:
        return self.reason

    def _check(self, expected: int | None) -> None:
        if self.failure is not None:
            raise self.failure
        if expected is not None and expected != self.version:
            raise StaleError(self.version)

    def _take_up(self, config: Config) -> int:
        if config != self.config:
            self.config = config
            self.version += 1
            self.caches.install(config)
            self.caches.settle()
        return self.version


def target_status(target: TargetConfig) -> dict[str, Any]:
    """A target as in status, idle."""
    return {
        "name": target.name,
        "url": target.url,
        "weight": target.weight,
        "max_in_flight": target.max_in_flight,
        "state": target.state,
        "addresses": ["127.0.0.1"],
        "health": "up",
        "reason": None,
        "since": "2026-01-31T09:30:00.125+00:00",
        "in_flight": 0,
        "requests": 0,
        "failures": 0,
        "retries": 0,
        "ejections": 0,
        "mean_response_ms": 0.0,
    }


@dataclass
class Answer:
    """What a call was answered."""

    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """One field; None when there is none."""
        return next((value.decode() for key, value in self.fields if key.decode().lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """What a refusal says, once it is known to be one."""
        assert self.get("content-type") == "application/problem+json"
        assert self.json["status"] == self.status
        return str(self.json["detail"])


App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """One request; `fields` are those of HTTP, `pieces` the body as it comes."""

    method: str
    path: str
    fields: Sequence[tuple[str, str]] = (("host", "localhost:8081"),)
    pieces: Sequence[bytes] = ()
    client: str = "127.0.0.1"

    def scope(self) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in self.fields],
            "client": (self.client, 50000),
            "server": ("127.0.0.1", 8081),
            "state": {},
        }


async def perform(app: App, call: Call, *, leaves: bool = False) -> Answer:
    """One call of an ASGI app by a client that stays to the end, or leaves with the first piece of the answer."""
    pieces = list(call.pieces) or [b""]
    answer, ended = Answer(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert answer.status == 0
            answer.status, answer.fields = message["status"], list(message["headers"])
            return
        answer.body += message.get("body", b"")
        if leaves or not message.get("more_body", False):
            ended.set()

    await app(call.scope(), receive, send)
    assert ended.is_set() or leaves, "the answer has no end"
    return answer


class Api:
    """The app in front of a board, and calls of it with a token."""

    def __init__(self, folder: Path, more: str = "", clocks: Clocks | None = None) -> None:
        self.config = admin_config(folder, more)
        self.board = Board(self.config)
        self.app = make_app(cast("Supervisor", self.board), clocks)

    def token(self, role: str = "admin", ttl: float = 60.0) -> str:
        return make_token(self.config, Grant(cast("Role", role), ttl, "test"), create=True)

    def ask(self, method: str, path: str, body: object = None, role: str = "admin", **fields: str) -> Answer:
        """A call with a token of the role ("" for none); a body that is not bytes is sent as JSON."""
        named = [("host", "localhost:8081")] if "host" not in fields else []
        if role:
            named.append(("authorization", f"Bearer {self.token(role)}"))
        pieces = []
        if body is not None:
            pieces = [body if isinstance(body, bytes) else json.dumps(body).encode()]
            fields.setdefault("content_type", "application/json")
        named += [(name.replace("_", "-"), value) for name, value in fields.items()]
        return self.perform(Call(method, path, named, pieces))

    def call(self, method: str, path: str, fields: Sequence[tuple[str, str]], *pieces: bytes) -> Answer:
        """A call with these fields and no others."""
        return self.perform(Call(method, path, fields, pieces))

    def perform(self, call: Call) -> Answer:
        """Any call."""
        return asyncio.run(perform(self.app, call))


async def collected(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    """The first pieces of a stream."""
    found = [await anext(stream) for _ in range(count)]
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    return found
