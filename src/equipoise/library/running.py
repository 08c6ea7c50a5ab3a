"""A balancer that runs: where it is, and what it can be asked.

Owns: the calls as methods, for threads (`Running`) and for an event loop (`AsyncRunning`).
Refuses to know: how it was started and will be ended; what a call does (the admin API says that).

Answers are the admin API's, as `docs/reference/admin-api.md` has them: dictionaries of plain data. A change returns
when every worker acts on it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from equipoise.cli.access import Access, Role, find_access
from equipoise.cli.client import Answer, Client, Refused, Unreachable
from equipoise.cli.options import CommandError
from equipoise.config.addresses import Address, parse_address
from equipoise.config.schema import Config
from equipoise.library.errors import BalancerError, CallRefusedError
from equipoise.library.process import Process
from equipoise.library.settings import Configuration

Answered = dict[str, Any]
Condition = Callable[[Answered], object]
Rewrite = Callable[[Configuration | None], None]
T = TypeVar("T")

CALL_TIMEOUT: Final = 30.0
"""Seconds to wait for an answer. The first call may meet a supervisor that loads the admin API's libraries."""
LOOK_INTERVAL: Final = 0.05
"""Seconds between two looks of `wait_until`."""
_LOOPBACK: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where this machine finds them


@dataclass(frozen=True)
class Place:
    """Where a balancer is.

    Attributes:
        url: of the first listener, such as `http://127.0.0.1:41234`.
        urls: of all listeners, in the order of the configuration.
        addresses: the same as `host:port`, as they are listened on.
        admin_url: of the admin API and the dashboard; empty where it is switched off.
        pid: of the supervisor, to which signals go.
        log: the application's log, a JSON object a line.
        access_log: where lines of requests go with `[access_log] path = "-"`, the default.
    """

    url: str
    urls: tuple[str, ...]
    addresses: tuple[str, ...]
    admin_url: str
    pid: int
    log: Path
    access_log: Path


def place(process: Process, config: Config) -> Place:
    """Where a process that is ready is found."""
    schemes = ["http"] * len(config.listen) + ["http" if each.tls is None else "https" for each in config.listeners]
    urls = tuple(_url(scheme, address) for scheme, address in zip(schemes, process.addresses, strict=True))
    return Place(
        url=urls[0],
        urls=urls,
        addresses=process.addresses,
        admin_url=_url("http", process.admin_address) if process.admin_address else "",
        pid=process.pid,
        log=process.log,
        access_log=process.access_log,
    )


def _url(scheme: str, address: str) -> str:
    host, port = parse_address(address)
    return f"{scheme}://{Address(_LOOPBACK.get(host, host), port)}"


class _Located:
    """What both faces know without asking."""

    def __init__(self, where: Place) -> None:
        self.place = where

    @property
    def url(self) -> str:
        """Of the first listener, such as `http://127.0.0.1:41234`."""
        return self.place.url

    @property
    def urls(self) -> tuple[str, ...]:
        """Of all listeners, in the order of the configuration."""
        return self.place.urls

    @property
    def addresses(self) -> tuple[str, ...]:
        """`host:port` of all listeners, as they are listened on."""
        return self.place.addresses

    @property
    def admin_url(self) -> str:
        """Of the admin API and the dashboard; empty where it is switched off."""
        return self.place.admin_url

    @property
    def pid(self) -> int:
        """Of the supervisor, to which signals go."""
        return self.place.pid

    @property
    def log(self) -> Path:
        """The application's log, a JSON object a line."""
        return self.place.log

    @property
    def access_log(self) -> Path:
        """Where lines of requests go with `[access_log] path = "-"`, the default; a line comes within 0.1 s."""
        return self.place.access_log


class Running(_Located):
    """A balancer that runs, for programs without an event loop. Any thread may call; one call is made at a time.

    All calls raise `CallRefusedError` when the balancer refuses, and `BalancerError` when there is no answer. `pool`
    may be left out where there is one.
    """

    def __init__(self, process: Process, config: Config, rewrite: Rewrite) -> None:
        """Asks nothing yet.

        Args:
            process: a balancer that is ready.
            config: what it was started with.
            rewrite: writes its file anew: from the configuration given, or from the one it has when None.
        """
        super().__init__(place(process, config))
        self._process = process
        self._rewrite = rewrite
        self._lock = Lock()
        self._client: Client | None = None

    def token(self, *, role: Role = "read") -> str:
        """A token for calls of one's own, good for a minute; `role` is `read` or `admin`."""
        access = self._access(role)
        if access.no_token:
            raise BalancerError(f"no token: {access.no_token}")
        return access.token()

    def status(self) -> Answered:
        """Pools with their targets, requests in flight, health and counters; workers."""
        return self._asked(lambda client: client.get("status"))

    def config(self) -> Answered:
        """The configuration in force, with its version."""
        return self._asked(lambda client: client.get("config"))

    def targets(self, *, pool: str = "") -> list[Answered]:
        """The targets of a pool, as in the status."""
        chosen = self._pool(pool)
        found: list[Answered] = self._asked(lambda client: client.get("pools", chosen, "targets"))["targets"]
        return found

    def add_target(self, url: str, *, pool: str = "", **settings: object) -> Answered:
        """Add a target.

        Args:
            url: such as `http://127.0.0.1:9004`.
            pool: where to.
            settings: `name`, `weight`, `max_in_flight`, `state`.
        """
        chosen = self._pool(pool)
        return self._asked(lambda client: client.post("pools", chosen, "targets", body={"url": url, **settings}))

    def change_target(self, name: str, *, pool: str = "", **settings: object) -> Answered:
        """Change `weight`, `max_in_flight` or `state` (`up`, `draining`, `down`) of a target."""
        chosen = self._pool(pool)
        return self._asked(lambda client: client.patch("pools", chosen, "targets", name, body=settings))

    def remove_target(self, name: str, *, pool: str = "", force: bool = False) -> Answered:
        """Remove a target; requests in flight there end first, unless `force` cuts them."""
        chosen = self._pool(pool)
        query = {"force": "true"} if force else {}
        return self._asked(lambda client: client.delete("pools", chosen, "targets", name, **query))

    def set_algorithm(self, algorithm: str, *, pool: str = "") -> Answered:
        """Choose targets in another way from the next request on: a known name, or `python:module:Class`."""
        chosen = self._pool(pool)
        return self._asked(lambda client: client.put("pools", chosen, "algorithm", body={"algorithm": algorithm}))

    def cache(self, *, pool: str = "") -> Answered:
        """How the cache of a pool is used, and how it is set."""
        chosen = self._pool(pool)
        return self._asked(lambda client: client.get("pools", chosen, "cache"))

    def set_cache(self, *, pool: str = "", **settings: object) -> Answered:
        """Switch or tune the cache of a pool: `enabled` and the other keys of `[pools.NAME.cache]`."""
        chosen = self._pool(pool)
        return self._asked(lambda client: client.put("pools", chosen, "cache", body=settings))

    def purge_cache(self, *, pool: str = "", **which: str) -> Answered:
        """Drop what the cache of a pool holds: all, or what `path` or `prefix` names."""
        chosen = self._pool(pool)
        return self._asked(lambda client: client.delete("pools", chosen, "cache", **which))

    def reload(self, configuration: Configuration | None = None) -> Answered:
        """Take up another configuration, or what has changed in the one it has: a file by its path, a table in place.

        Raises:
            ConfigError: it is not valid; nothing was changed.
        """
        self._rewrite(configuration)
        return self._asked(lambda client: client.post("reload"))

    def wait_until(self, condition: Condition, timeout: float = 10.0) -> Answered:
        """Ask for the status until it is as wanted.

        Args:
            condition: given the status; true ends the waiting.
            timeout: seconds.

        Raises:
            TimeoutError: it never was; the text has the last status.
        """
        deadline = monotonic() + timeout
        while not condition(status := self.status()):
            if monotonic() > deadline:
                raise TimeoutError(_never(timeout, status))
            sleep(LOOK_INTERVAL)
        return status

    def interrupt(self) -> None:
        """Let a call that waits fail; from any thread."""
        if self._client is not None:
            self._client.interrupt()

    def close(self) -> None:
        """Ends the connection; the balancer goes on."""
        if self._client is not None:
            self._client.close()

    def _pool(self, wanted: str) -> str:
        if wanted:
            return wanted
        pools = list(self.status()["pools"])
        if len(pools) != 1:
            raise ValueError(f"there are several pools; name one with pool=: {', '.join(pools)}")
        return str(pools[0])

    def _access(self, role: Role) -> Access:
        if not self.place.admin_url:
            raise BalancerError("the admin API is switched off: [admin] enabled is false in the configuration")
        try:
            return find_access(self._process.file, self.place.admin_url, "", role)
        except CommandError as error:
            raise BalancerError(str(error)) from error

    def _asked(self, call: Callable[[Client], Answer]) -> Answered:
        with self._lock:
            if self._client is None:
                self._client = Client(self._access("admin"), CALL_TIMEOUT)
            try:
                data = call(self._client).data
            except Refused as error:
                raise CallRefusedError(error.status, error.detail, error.places) from error
            except Unreachable as error:
                raise BalancerError(
                    f"the balancer at {self.place.admin_url} does not answer: {error.reason}"
                ) from error
        assert isinstance(data, dict)
        return data


class AsyncRunning(_Located):
    """A balancer that runs, for programs with an event loop: the methods of `Running`, to be awaited."""

    def __init__(self, running: Running) -> None:
        """Asks nothing yet."""
        super().__init__(running.place)
        self._running = running

    async def token(self, *, role: Role = "read") -> str:
        """See `Running.token`."""
        return await self._in_thread(lambda: self._running.token(role=role))

    async def status(self) -> Answered:
        """See `Running.status`."""
        return await self._in_thread(self._running.status)

    async def config(self) -> Answered:
        """See `Running.config`."""
        return await self._in_thread(self._running.config)

    async def targets(self, *, pool: str = "") -> list[Answered]:
        """See `Running.targets`."""
        return await self._in_thread(lambda: self._running.targets(pool=pool))

    async def add_target(self, url: str, *, pool: str = "", **settings: object) -> Answered:
        """See `Running.add_target`."""
        return await self._in_thread(lambda: self._running.add_target(url, pool=pool, **settings))

    async def change_target(self, name: str, *, pool: str = "", **settings: object) -> Answered:
        """See `Running.change_target`."""
        return await self._in_thread(lambda: self._running.change_target(name, pool=pool, **settings))

    async def remove_target(self, name: str, *, pool: str = "", force: bool = False) -> Answered:
        """See `Running.remove_target`."""
        return await self._in_thread(lambda: self._running.remove_target(name, pool=pool, force=force))

    async def set_algorithm(self, algorithm: str, *, pool: str = "") -> Answered:
        """See `Running.set_algorithm`."""
        return await self._in_thread(lambda: self._running.set_algorithm(algorithm, pool=pool))

    async def cache(self, *, pool: str = "") -> Answered:
        """See `Running.cache`."""
        return await self._in_thread(lambda: self._running.cache(pool=pool))

    async def set_cache(self, *, pool: str = "", **settings: object) -> Answered:
        """See `Running.set_cache`."""
        return await self._in_thread(lambda: self._running.set_cache(pool=pool, **settings))

    async def purge_cache(self, *, pool: str = "", **which: str) -> Answered:
        """See `Running.purge_cache`."""
        return await self._in_thread(lambda: self._running.purge_cache(pool=pool, **which))

    async def reload(self, configuration: Configuration | None = None) -> Answered:
        """See `Running.reload`."""
        return await self._in_thread(lambda: self._running.reload(configuration))

    async def wait_until(self, condition: Condition, timeout: float = 10.0) -> Answered:  # noqa: ASYNC109 -- it is told with the last status, which asyncio.timeout could not
        """See `Running.wait_until`."""
        deadline = monotonic() + timeout
        while not condition(status := await self.status()):
            if monotonic() > deadline:
                raise TimeoutError(_never(timeout, status))
            await asyncio.sleep(LOOK_INTERVAL)
        return status

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except asyncio.CancelledError:
            # The thread must not go on for half a minute: the loop waits for it when it ends.
            self._running.interrupt()
            raise


def _never(timeout: float, status: Answered) -> str:
    return f"the status was not as wanted within {timeout:g} s; the last one was {status['pools']}"
