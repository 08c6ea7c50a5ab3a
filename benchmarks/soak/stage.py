"""The processes of a run: the balancer and its targets, and what is done to them.

Owns: their life, the configuration under test, the admin API's calls.
Refuses to know: requests of clients, when anything happens.
"""

import contextlib
import http.client
import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from benchmarks import certificate
from benchmarks.process import Process, free_ports
from benchmarks.soak.client import HOST, NAME, Side
from benchmarks.soak.rules import RESPONSE_TIMEOUT_S
from benchmarks.soak.traffic import Sides

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = 2
# Targets by kind; the last one of `web` is no target at first: the admin API adds and removes it.
COUNTS: Final = {"web": 5, "calls": 3, "sockets": 3}
# This one speaks TLS.
SECURE: Final = "web-0"
POOLS: Final = {
    "web": frozenset({"web", "kept"}),
    "calls": frozenset({"calls"}),
    "sockets": frozenset({"sockets"}),
}
DEADLINE_S: Final = 60.0

_CONFIG: Final = """\
workers = {workers}
state_dir = "state"
[[listeners]]
address = "127.0.0.1:{plain}"
[[listeners]]
address = "127.0.0.1:{secure}"
tls = {{ certificate_file = "{certificate}", key_file = "{key}" }}
[admin]
listen = "127.0.0.1:{admin}"
[limits]
response_timeout = "{response_timeout}s"
idle_timeout = "{idle_timeout}s"
[access_log]
path = "access.log"
body_limit = 64
[pools.web]
targets = [{web}]
[pools.kept]
targets = [{web}]
cache = {{ enabled = true, ttl = "2s", max_bytes = "4MiB", max_body = "64KiB" }}
[pools.calls]
targets = [{calls}]
[pools.sockets]
targets = [{sockets}]
{tls}{health}
[[routes]]
path = "/web/"
pool = "web"
[[routes]]
path = "/kept/"
pool = "kept"
[[routes]]
path = "/soak.Calls/"
pool = "calls"
[[routes]]
path = "/sockets"
pool = "sockets"
"""
_TLS: Final = """\
[pools.{pool}.tls]
ca_file = "{ca}"
server_name = "{name}"
"""
_HEALTH: Final = """\
[pools.{pool}.health]
interval = "500ms"
down_interval = "200ms"
timeout = "500ms"
[pools.{pool}.health.passive]
eject_max = "2s"
"""


class StageError(Exception):
    """Something that must work before and between incidents does not."""


@dataclass
class Target:
    """A target and its process."""

    kind: str
    name: str
    port: int
    folder: Path
    pair: certificate.Certificate | None = None
    process: Process | None = None

    @property
    def url(self) -> str:
        """For the configuration; a target with a certificate speaks TLS."""
        scheme = "h2c" if self.kind == "calls" else "http" if self.pair is None else "https"
        return f"{scheme}://{HOST}:{self.port}"

    def start(self) -> None:
        """Starts it, again if need be, and returns at once."""
        argv = [sys.executable, "-m", f"benchmarks.soak.target_{self.kind}", str(self.port)]
        argv.append(str(self.folder.parent / "seen"))
        if self.pair is not None:
            argv += [str(self.pair.certificate), str(self.pair.key)]
        self.process = Process(self.name, argv, self.folder, {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"})

    def wait_listening(self) -> None:
        """Returns when it accepts connections. Raises ProcessFailed."""
        assert self.process is not None
        self.process.wait_listening(self.port)

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop()

    def freeze(self) -> None:
        """Stops it; see `thaw`."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Has it go on. Harmless when it was not frozen."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGCONT)


class Stage:
    """Everything that runs; a context manager that ends all of it."""

    def __init__(self, folder: Path, command: str, environment: dict[str, str], idle_timeout: int = 75) -> None:
        """Starts targets, then the balancer, and waits until all of it answers.

        Args:
            folder: for all files.
            command: how Equipoise is called.
            environment: what is added to its environment.
            idle_timeout: of the balancer, seconds.

        Raises:
            StageError, ProcessFailed: something does not start.
        """
        self.folder = folder
        self._command = shlex.split(command)
        self._environment = environment
        self._idle_timeout = idle_timeout
        self._ends = contextlib.ExitStack()
        self._token = ""
        self.targets: list[Target] = []
        self.balancer: Process
        try:
            self._start_targets()
            self._start_balancer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, whatever state they are in."""
        for target in self.targets:
            target.thaw()
        self._ends.close()
        self.stop_targets()

    def of(self, kind: str) -> list[Target]:
        """The targets of a kind."""
        return [target for target in self.targets if target.kind == kind]

    def stop_targets(self) -> None:
        """Ends the targets."""
        for target in self.targets:
            if target.process is not None:
                target.process.stop()
                target.process = None

    # -- the balancer

    def config(self, lines: str = "") -> str:
        """The file, with more lines in the first pool's table of retries."""
        urls = {
            kind: ", ".join(
                f'{{ name = "{target.name}", url = "{target.url}" }}'
                for target in self.of(kind)
                if target is not self.spare
            )
            for kind in COUNTS
        }
        health = "".join(_HEALTH.format(pool=pool) for pool in ("web", "kept", "calls", "sockets"))
        return _CONFIG.format(
            workers=WORKERS,
            plain=self._ports[0],
            secure=self._ports[1],
            admin=self._ports[2],
            certificate=self._pair.certificate,
            key=self._pair.key,
            response_timeout=int(RESPONSE_TIMEOUT_S),
            idle_timeout=self._idle_timeout,
            tls="".join(_TLS.format(pool=pool, ca=self._pair.certificate, name=NAME) for pool in POOLS["web"]),
            health=health + lines,
            **urls,
        )

    def write_config(self, lines: str = "") -> None:
        """Writes the file; see `config`."""
        (self.folder / "equipoise.toml").write_text(self.config(lines), encoding="utf-8")

    @property
    def spare(self) -> Target:
        """The target that the file does not name."""
        return self.of("web")[-1]

    @property
    def ports(self) -> frozenset[int]:
        """Those of the listeners for clients."""
        return frozenset(self._ports[:2])

    @property
    def log(self) -> Path:
        """The access log."""
        return self.folder / "access.log"

    @property
    def app_log(self) -> str:
        """What the balancer said of itself."""
        return self.balancer.stderr_path.read_text(encoding="utf-8", errors="replace")

    def sides(self) -> Sides:
        """For clients."""
        context = ssl.create_default_context(cafile=self._pair.certificate)
        secure = ssl.create_default_context(cafile=self._pair.certificate)
        secure.set_alpn_protocols(["h2"])
        return Sides(
            plain=Side(self._ports[0]),
            tls=Side(self._ports[1], context),
            tls_http2=Side(self._ports[1], secure),
            certificate=self._pair.certificate.read_bytes(),
        )

    def workers(self) -> list[int]:
        """Process ids of the workers, as the status has them."""
        return [int(worker["pid"]) for worker in self.ask("GET", "/v1/status")["workers"]]

    def end_balancer(self) -> int:
        """Asks it to leave; returns its exit code. Raises TimeoutExpired."""
        os.kill(self.balancer.pid, signal.SIGTERM)
        return self.balancer.wait(DEADLINE_S)

    def reopen_log(self, number: int) -> None:
        """Moves the access log aside, and has the balancer begin another."""
        self.log.rename(self.folder / f"access.log.{number}")
        os.kill(self.balancer.pid, signal.SIGUSR1)

    def logs(self) -> list[Path]:
        """All files of the access log."""
        return sorted(self.folder.glob("access.log*"))

    # -- the admin API

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One call of the admin API; the status and what came. Raises OSError."""
        headers = {"Authorization": f"Bearer {self._token}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        with contextlib.closing(http.client.HTTPConnection(HOST, self._ports[2], timeout=DEADLINE_S)) as connection:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
            is_json = "json" in (response.headers["content-type"] or "")
            return response.status, json.loads(text) if is_json else text

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """A call that must succeed. Raises StageError."""
        try:
            status, answer = self.call(method, path, body)
        except OSError as error:
            raise StageError(f"{method} {path}: {type(error).__name__} {error}") from error
        if status not in {200, 201}:
            raise StageError(f"{method} {path}: {status} {answer!r}")
        return answer

    def wait_up(self, within: float = DEADLINE_S) -> float:
        """Returns when every target is up; the seconds that took. Raises StageError."""
        began = time.monotonic()
        while True:
            pools = self.ask("GET", "/v1/status")["pools"]
            missing = [
                f"{pool}/{target['name']} ({target['reason'] if 'reason' in target else target['health']})"
                for pool, status in pools.items()
                for target in status["targets"]
                if target["health"] == "down" and target["state"] == "up"
            ]
            if not missing:
                return time.monotonic() - began
            if time.monotonic() - began > within:
                raise StageError(f"not up within {within:g} s: {', '.join(missing)}")
            time.sleep(0.05)

    # -- beginning

    def _start_targets(self) -> None:
        self._pair = certificate.make(self.folder)
        ports = free_ports(sum(COUNTS.values()) + 3)
        self._ports = [ports.pop() for _ in range(3)]
        for kind, count in COUNTS.items():
            for number in range(count):
                name = f"{kind}-{number}"
                (self.folder / name).mkdir()
                target = Target(kind, name, ports.pop(), self.folder / name)
                if name == SECURE:
                    target.pair = self._pair
                self.targets.append(target)
                target.start()
        for target in self.targets:
            target.wait_listening()

    def _start_balancer(self) -> None:
        self.write_config()
        options = ["-c", str(self.folder / "equipoise.toml")]
        self.balancer = self._ends.enter_context(
            Process("equipoise", [*self._command, "run", *options], self.folder, self._environment)
        )
        self._wait_ready()
        self._token = self._ask_command(["token", *options, "--role", "admin", "--ttl", "24h"])
        self.wait_up()

    def _wait_ready(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while '"ready"' not in self.app_log:
            self.balancer.check_alive()
            if time.monotonic() > end:
                raise StageError("the balancer is not ready")
            time.sleep(0.02)

    def _ask_command(self, words: Sequence[str]) -> str:
        done = subprocess.run(
            [*self._command, *words],
            env={**os.environ, **self._environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        if done.returncode:
            raise StageError(f"equipoise {words[0]}: {done.stderr}")
        return done.stdout.strip()
