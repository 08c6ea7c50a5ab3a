"""The demo against targets and a balancer that run elsewhere, each in a container or on a host of its own.

Owns: the traffic, the moment from which the others' schedules count, what the run leaves behind.
Refuses to know: how targets and balancer are started, killed and ended; what the numbers mean (marks).

All it shares with them is the network and a folder: targets write their logs and samples there, the balancer its access
log, and this process the clock that the target's keeper reads.
"""

import shutil
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from urllib.parse import urlsplit

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from equipoise.demo.keeper import write_mark
from equipoise.demo.lines import Tail, wall_seconds
from equipoise.demo.marks import Moments
from equipoise.demo.processes import Children, DemoError, wait_until
from equipoise.demo.scenario import TICK, Facts, Now, TargetView, View, prepare, unwinding
from equipoise.demo.settings import DemoSettings
from equipoise.demo.traffic_child import TrafficChild

# Containers are started one after the other.
START_TIMEOUT: Final = 120.0
ASK_TIMEOUT: Final = 5.0
# After the traffic: how long counts may take to reach 0 and the access log to be whole.
SETTLE_TIMEOUT: Final = 5.0
STILL: Final = 0.5
CLOCK: Final = "started"
SHARED_FILES: Final = ("access.log", "target-*.log", "target-*.samples")


class Elsewhere(msgspec.Struct, frozen=True):
    """Where the others are.

    Attributes:
        url: where the balancer listens.
        shared: the folder.
        admin: where the balancer's admin API is; empty when it need not be asked what it is.
    """

    url: str
    shared: Path
    admin: str = ""


class RemoteTarget:
    """One target, as far as its files tell."""

    def __init__(self, name: str, delay_ms: float, shared: Path) -> None:
        self.view = TargetView(name, "", delay_ms)
        # Moments of the wall clock, milliseconds; 0 for what has not happened.
        self.killed_ms = 0
        self.restarted_ms = 0
        self.listening_ms = 0
        self._log = Tail(shared / f"target-{name}.log")
        self._samples = Tail(shared / f"target-{name}.samples")
        self._requests_before = 0

    def read(self) -> bool:
        """Takes in what it wrote; true once it listens."""
        view = self.view
        for line in self._samples.read():
            view.in_flight = int(line["in_flight"])
            view.requests = self._requests_before + int(line["requests"])
        for line in self._log.read():
            moment = round(datetime.fromisoformat(line["time"]).timestamp() * 1000)
            match line["event"]:
                case "listening":
                    self.listening_ms = moment
                    view.address, view.state = str(line["address"]), "up"
                    self._requests_before = view.requests
                case "killed":
                    self.killed_ms = moment
                    view.state, view.in_flight = "killed", 0
                case "started again":
                    self.restarted_ms = moment
                    view.state = "starting"
                case _:  # its count of every ten seconds, for people
                    pass
        return view.state == "up"

    def close(self) -> None:
        """Lets go of its files."""
        self._log.close()
        self._samples.close()


class RemoteScenario:
    """One run."""

    def __init__(self, settings: DemoSettings, elsewhere: Elsewhere, view: View, children: Children) -> None:
        self._settings = settings
        self._elsewhere = elsewhere
        self._view = view
        self._targets = [
            RemoteTarget(name, settings.delay_of(number), elsewhere.shared)
            for number, name in enumerate(settings.names)
        ]
        self._killed = next(target for target in self._targets if target.view.name == settings.killed)
        self._now = Now("starting", [target.view for target in self._targets])
        self._traffic = TrafficChild(settings, children)

    def run(self) -> Facts:
        """From the moment that all targets listen to the end of the traffic.

        Raises:
            DemoError: a target does not listen in time, or the one that is to be killed is not.
        """
        for target in self._targets:
            wait_until(target.read, START_TIMEOUT, f"the start of target {target.view.name}")
        self._view.say(f"{len(self._targets)} targets listen")
        balancer = about(self._elsewhere.admin)
        self._traffic.start(self._elsewhere.url)
        started = wall_seconds()
        write_mark(self._elsewhere.shared / CLOCK, started)
        self._view.say(f"traffic: {self._traffic.says}")
        self._watch()
        ended = wall_seconds()
        self._now.phase = "finishing"
        self._traffic.finish()
        self._now.take(self._traffic)
        self._settle()
        self._now.phase = "done"
        self._view.show(self._now)
        killed = self._killed
        if not killed.killed_ms < killed.restarted_ms < killed.listening_ms:
            raise DemoError(
                f"target {killed.view.name} was not killed and started again while the traffic ran: "
                "does it run with --stop-at, --start-at and --clock?"
            )
        return Facts(
            moments=Moments(
                round(started * 1000), killed.killed_ms, killed.restarted_ms, killed.listening_ms, round(ended * 1000)
            ),
            balancer=balancer,
            connections=[],
            cpu_seconds=None,
            cpu_window=ended - started,
            balancer_exit=None,
            in_flight_left={target.view.name: target.view.in_flight for target in self._targets},
        )

    def close(self) -> None:
        """Lets go of files."""
        self._traffic.close()
        for target in self._targets:
            target.close()

    def _watch(self) -> None:
        name, state = self._killed.view.name, "up"
        self._now.phase = "all targets up"
        while self._traffic.elapsed < self._settings.duration:
            self._look()
            now = self._killed.view.state
            if now != state:
                state = now
                said = {"killed": "killed (SIGKILL)", "starting": "started again", "up": "listens again"}
                self._view.say(f"target {name} {said[now]}")
                self._now.phase = f"{name} is back" if now == "up" else f"without {name}"
            sleep(TICK)

    def _look(self) -> None:
        for target in self._targets:
            target.read()
        self._traffic.read()
        self._now.take(self._traffic)
        self._view.show(self._now)

    def _settle(self) -> None:
        """Waits until nothing is in flight any more and the access log is written; not for ever."""
        log = self._elsewhere.shared / "access.log"
        deadline = monotonic() + SETTLE_TIMEOUT
        size, still_since = -1, monotonic()
        while monotonic() < deadline:
            for target in self._targets:
                target.read()
            if (now := log.stat().st_size if log.exists() else 0) != size:
                size, still_since = now, monotonic()
            if monotonic() - still_since > STILL and not any(target.view.in_flight for target in self._targets):
                return
            sleep(TICK)


def about(admin: str) -> dict[str, object]:
    """What a balancer tells of itself in its metrics: version, compiled or not, workers; nothing when it is not asked.

    Raises:
        DemoError: it does not answer.
    """
    if not admin:
        return {}
    try:
        where = urlsplit(admin)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=ASK_TIMEOUT)
        connection.request("GET", f"{where.path.rstrip('/')}/metrics")
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
    except (OSError, HTTPException, ValueError) as error:
        raise DemoError(f"{admin} does not tell its metrics: {error}") from error
    if response.status != 200:
        raise DemoError(f"{admin} does not tell its metrics: {response.status}")
    told: dict[str, object] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "equipoise_build_info":
                told |= {"version": sample.labels["version"], "compiled": sample.labels["compiled"] == "true"}
            elif sample.name == "equipoise_workers":
                told["workers"] = int(sample.value)
    return told


def play_elsewhere(settings: DemoSettings, elsewhere: Elsewhere, view: View) -> Facts:
    """Runs the traffic and gathers what all left behind in the report's folder.

    Raises:
        DemoError: as `RemoteScenario.run`.
    """
    prepare(settings.report)
    with unwinding(), Children() as children:
        scenario = RemoteScenario(settings, elsewhere, view, children)
        try:
            return scenario.run()
        finally:
            scenario.close()
            for pattern in SHARED_FILES:
                for path in elsewhere.shared.glob(pattern):
                    shutil.copyfile(path, settings.file(path.name))
