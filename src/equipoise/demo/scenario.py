"""The demo's timeline: targets, balancer and traffic start, one target is killed and comes back, all end.

Owns: the order of events, their moments, the processes' command lines and files.
Refuses to know: what the numbers mean (marks), how they are shown (view, report).

A single loop with a tick: no thread, no task. The processes write files; the loop reads what they added.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Final, Protocol

import msgspec

from equipoise.demo.lines import Tail, encode, wall_seconds
from equipoise.demo.marks import Moments
from equipoise.demo.processes import (
    Child,
    Children,
    HeldPort,
    connections_by_process,
    cpu_seconds,
    wait_until,
)
from equipoise.demo.settings import OWN_FILES, DemoSettings
from equipoise.demo.traffic_child import START_TIMEOUT, TrafficChild

HOST: Final = "127.0.0.1"
TICK: Final = 0.05
# What the report takes from the lines with which the balancer starts.
TOLD: Final = frozenset({"address", "compiled", "version"})


class TargetView(msgspec.Struct):
    """What is known of a target while the demo runs."""

    name: str
    address: str
    delay_ms: float
    state: str = "starting"
    in_flight: int = 0
    requests: int = 0


class Now(msgspec.Struct):
    """What is known of the demo while it runs. `rate` is requests answered in the last second."""

    phase: str
    targets: list[TargetView]
    elapsed: float = 0.0
    rate: float = 0.0
    open_requests: int = 0
    answered: int = 0
    failed: int = 0

    def take(self, traffic: TrafficChild) -> None:
        """What the traffic says of itself."""
        self.elapsed, self.rate = traffic.elapsed, traffic.rate
        self.open_requests, self.answered, self.failed = traffic.open_requests, traffic.answered, traffic.failed


class View(Protocol):
    """Whoever watches the demo run."""

    def show(self, now: Now) -> None:
        """Called several times a second."""

    def say(self, text: str) -> None:
        """Something happened."""


class Facts(msgspec.Struct, frozen=True):
    """What the run leaves behind besides its files. None is what was not to be seen from where the demo ran."""

    moments: Moments
    balancer: dict[str, object]
    connections: list[int]
    cpu_seconds: float | None
    cpu_window: float
    balancer_exit: int | None
    in_flight_left: dict[str, int]


class TargetChild:
    """One target: its port, its process, what its files say."""

    def __init__(self, settings: DemoSettings, number: int, children: Children) -> None:
        name = settings.names[number]
        self._children = children
        self._settings = settings
        self._number = number
        self.port = HeldPort(HOST)
        self.view = TargetView(name, f"{HOST}:{self.port.number}", settings.delay_of(number))
        self.child: Child | None = None
        self.listening_ms = 0
        self._log = Tail(settings.file(f"target-{name}.log"))
        self._samples = Tail(settings.file(f"target-{name}.samples"))
        self._requests_before = 0

    def start(self) -> None:
        """Starts its process, the first time or again."""
        name = self.view.name
        file = self._settings.file
        self.listening_ms = 0
        self._requests_before = self.view.requests
        self.view.state = "starting"
        arguments = [
            *("-m", "equipoise", "target", "--host", HOST, "--port", str(self.port.number), "--reuse-port"),
            *("--name", name, "--delay", str(self.view.delay_ms), "--jitter", "lognormal"),
            *("--log-every", str(self._settings.log_every), "--samples", str(file(f"target-{name}.samples"))),
            *("--seed", str(self._settings.seed * 1000 + self._number + self._requests_before)),
            *(["--grpc"] if self._settings.grpc else []),
        ]
        out, errors = file(f"target-{name}.log"), file(f"target-{name}.err")
        self.child = self._children.start(f"target {name}", arguments, out, errors)

    def kill(self) -> None:
        """Ends its process as a crash would."""
        assert self.child is not None
        self.child.kill()
        self.child = None
        self.read()
        self.view.state = "killed"
        self.view.in_flight = 0

    def read(self) -> bool:
        """Takes in what its process wrote; true once the process listens."""
        for line in self._log.read():
            if line.get("event") == "listening":
                self.listening_ms = round(datetime.fromisoformat(line["time"]).timestamp() * 1000)
                self.view.state = "up"
        for line in self._samples.read():
            self.view.in_flight = int(line["in_flight"])
            self.view.requests = self._requests_before + int(line["requests"])
        return self.listening_ms > 0

    def close(self) -> None:
        """Lets go of its files and its port."""
        self._log.close()
        self._samples.close()
        self.port.close()


class Scenario:
    """One run."""

    def __init__(self, settings: DemoSettings, view: View, children: Children) -> None:
        self._settings = settings
        self._view = view
        self._children = children
        self._targets = [TargetChild(settings, number, children) for number in range(settings.targets)]
        self._now = Now("starting", [target.view for target in self._targets])
        self._traffic = TrafficChild(settings, children)

    def run(self) -> Facts:
        """From the first process to the last one's end.

        Raises:
            DemoError: a process does not start, or ends by itself.
        """
        settings = self._settings
        killed = next(target for target in self._targets if target.view.name == settings.killed)
        self._start_targets()
        balancer, told = self._start_balancer()
        port = int(str(told["address"]).rpartition(":")[2])
        self._traffic.start(f"http://{HOST}:{port}/")
        self._view.say(f"traffic: {self._traffic.says}")
        started = round(wall_seconds() * 1000)
        cpu_start = cpu_seconds(balancer.pid)

        self._now.phase = "all targets up"
        self._go_on_until(settings.kill_at, balancer)
        connections = sorted(connections_by_process(balancer.pid, port).values(), reverse=True)
        killed_at = round(wall_seconds() * 1000)
        killed.kill()
        self._view.say(f"target {killed.view.name} killed (SIGKILL)")
        self._now.phase = f"without {killed.view.name}"
        self._go_on_until(settings.restart_at, balancer)
        restarted_at = round(wall_seconds() * 1000)
        killed.start()
        self._view.say(f"target {killed.view.name} started again")
        self._wait_for_target(killed)
        self._view.say(f"target {killed.view.name} listens again")
        self._now.phase = f"{killed.view.name} is back"
        self._go_on_until(settings.duration, balancer)

        ended = round(wall_seconds() * 1000)
        cpu = cpu_seconds(balancer.pid) - cpu_start
        self._now.phase = "finishing"
        self._traffic.finish()
        self._now.take(self._traffic)
        balancer_exit = balancer.end()
        for target in self._targets:
            if target.child is not None:
                target.child.end()
            target.read()
        self._now.phase = "done"
        self._view.show(self._now)
        return Facts(
            moments=Moments(started, killed_at, restarted_at, killed.listening_ms, ended),
            balancer=told,
            connections=connections,
            cpu_seconds=cpu,
            cpu_window=(ended - started) / 1000,
            balancer_exit=balancer_exit,
            in_flight_left={target.view.name: target.view.in_flight for target in self._targets},
        )

    def close(self) -> None:
        """Lets go of files and ports."""
        self._traffic.close()
        for target in self._targets:
            target.close()

    def _start_targets(self) -> None:
        for target in self._targets:
            target.start()
        for target in self._targets:
            self._wait_for_target(target)
        self._view.say(f"{len(self._targets)} targets listen")

    def _wait_for_target(self, target: TargetChild) -> None:
        def ready() -> bool:
            if target.child is not None:
                target.child.check()
            return target.read()

        wait_until(ready, START_TIMEOUT, f"the start of target {target.view.name}")

    def _start_balancer(self) -> tuple[Child, dict[str, object]]:
        settings = self._settings
        file = settings.file
        config = file("balancer.toml")
        config.write_text(balancer_config(settings, [target.view for target in self._targets]), encoding="utf-8")
        arguments = ["-m", "equipoise", "run", "-c", str(config)]
        child = self._children.start("the balancer", arguments, file("balancer.out"), file("balancer.log"))
        told: dict[str, object] = {}
        with Tail(file("balancer.log")) as log:

            def ready() -> bool:
                child.check()
                for line in log.read():
                    if line.get("event") in {"starting", "listening"}:
                        told.update({key: value for key, value in line.items() if key in TOLD})
                return "address" in told

            wait_until(ready, START_TIMEOUT, "the start of the balancer")
        self._view.say(f"the balancer listens on {told['address']} with {settings.workers} worker(s)")
        return child, told

    def _go_on_until(self, elapsed: float, balancer: Child) -> None:
        """Watches until this many seconds after the start of the traffic."""
        while True:
            self._look(balancer)
            left = elapsed - self._traffic.elapsed
            if left <= 0:
                return
            sleep(min(TICK, left))

    def _look(self, balancer: Child) -> None:
        balancer.check()
        for target in self._targets:
            if target.child is not None:
                target.child.check()
                target.read()
        self._traffic.read()
        self._now.take(self._traffic)
        self._view.show(self._now)


def balancer_config(settings: DemoSettings, targets: list[TargetView]) -> str:
    """The balancer's configuration file for this run."""

    def text(value: object) -> str:
        return encode({"": value})[4:-2]  # a JSON string is a TOML basic string

    lines = [
        "# Written by `equipoise demo`.",
        f'listen = "{HOST}:0"',
        f"workers = {settings.workers}",
        # Of its own: no change that was made to another balancer may count here.
        f"state_dir = {text(str(settings.file('state').absolute()))}",
        "",
        "[pools.default]",
        f"algorithm = {text(settings.algorithm)}",
        "",
        "[pools.default.health]",
        *(['type = "grpc"'] if settings.grpc else ['type = "http"', 'path = "/healthz"']),
        "",
    ]
    scheme = "h2c" if settings.grpc else "http"
    for target in targets:
        lines += [
            "[[pools.default.targets]]",
            f"name = {text(target.name)}",
            f'url = "{scheme}://{target.address}"',
            "",
        ]
    lines += ["[access_log]", f"path = {text(str(settings.file('access.log').absolute()))}", ""]
    lines += ["[admin]", "enabled = false", ""]
    return "\n".join(lines)


def prepare(directory: Path) -> None:
    """Makes the report's directory, without the files of an earlier demo; files of others stay."""
    directory.mkdir(parents=True, exist_ok=True)
    for pattern in OWN_FILES:
        for path in directory.glob(pattern):
            path.unlink()


def play(settings: DemoSettings, view: View) -> Facts:
    """Runs the timeline; every process is ended however it goes.

    Raises:
        DemoError: a process does not start, or ends by itself.
    """
    prepare(settings.report)
    with unwinding(), Children() as children:
        scenario = Scenario(settings, view, children)
        try:
            return scenario.run()
        finally:
            scenario.close()


@contextmanager
def unwinding() -> Iterator[None]:
    """SIGTERM and SIGHUP end what runs within as Ctrl-C does, through the same clean-up."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
