"""The balancer as a process, driven from outside: its file, its signals, its log lines, its ledger.

Owns: the life of `equipoise run`, and the view into its shared memory.
Refuses to know: what is asked of it.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import equipoise.errors
from equipoise.config.schema import MAX_SLOTS
from equipoise.runtime.workers import SPARE_ROWS
from equipoise.state.ledger import Ledger
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Target

PACKAGE_PARENT = Path(equipoise.errors.__file__).parent.parent
COMPILED = not equipoise.errors.__file__.endswith(".py")
# How long a balancer may drain at the end of a test before it is told a second time, which cuts what is left.
DRAIN_S = 1.5


def environment() -> dict[str, str]:
    """What a process of ours needs to run the very modules that this test run imports."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT), "PYTHONWARNINGS": "default"}


@dataclass(frozen=True)
class Setting:
    """The parts of a configuration file that tests vary.

    State is kept in the balancer's own folder. The admin API is off unless asked for; then it has a port of its own,
    see `Balancer.admin`.
    """

    workers: int = 1
    admin: bool = False
    pool: str = ""
    log: str = 'path = "access.log"'
    more: str = ""
    listen: str = "127.0.0.1:0"
    top: str = ""
    # Files that lie beside the configuration when it is read: a user's own modules, for instance.
    files: tuple[tuple[str, str], ...] = ()

    def text(self, urls: Sequence[str]) -> str:
        """The file."""
        targets = self.pool if "[[pools.default.targets]]" in self.pool else f"targets = {json.dumps(list(urls))}"
        pool = "" if targets == self.pool else self.pool
        return (
            f'{self.top}\nlisten = "{self.listen}"\nworkers = {self.workers}\nstate_dir = "state"\n'
            f'[admin]\nenabled = {str(self.admin).lower()}\nlisten = "127.0.0.1:0"\n[access_log]\n{self.log}\n'
            f"[pools.default]\n{targets}\n{pool}\n{self.more}\n"
        )


class Balancer:
    """`equipoise run`, in a folder of its own."""

    def __init__(self, folder: Path, text: str, wrapper: Sequence[str] = ()) -> None:
        """Starts, as an argument of the command `wrapper`; see `wait_ready`."""
        self.folder = folder
        self.config = folder / "equipoise.toml"
        self.config.write_text(text)
        self.port = 0
        with (folder / "app.log").open("wb") as log, (folder / "stdout").open("wb") as out:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "equipoise", "run", "-c", str(self.config)],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    def __enter__(self) -> Self:
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def wait_ready(self) -> None:
        """Returns when all workers accept."""
        try:
            eventually(lambda: self.find("ready") or self.process.poll() is not None)
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.poll() is None, f"it left: {self.log_text()}"
        self.port = int(self.find("listening")[0]["address"].rpartition(":")[2])

    # What it says

    def log_text(self) -> str:
        """The application log."""
        return (self.folder / "app.log").read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """The lines of the application log."""
        lines = self.log_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def find(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of an event that have these fields."""
        return [e for e in self.events() if e["event"] == event and fields.items() <= e.items()]

    def wait_for(self, event: str, **fields: object) -> dict[str, Any]:
        """The first line of an event, once it is there."""
        return eventually(lambda: self.find(event, **fields))[0]

    @property
    def admin(self) -> str:
        """Where the admin API is served: `http://127.0.0.1:PORT`."""
        return f"http://{self.find('admin API listening')[0]['address']}"

    @property
    def state_file(self) -> Path:
        """Where changes are kept; there is none as long as the admin API is off."""
        return self.folder / "state" / "state.json"

    def access_log(self, count: int = 1, name: str = "access.log") -> list[dict[str, Any]]:
        """The lines of the access log, once there are as many."""
        path = self.folder / name

        def lines() -> list[str]:
            return path.read_text().split("\n")[:-1] if path.exists() else []

        return [json.loads(line) for line in eventually(lines, lambda seen: len(seen) >= count)]

    # What it is made of

    @property
    def pid(self) -> int:
        """The process id of the supervisor: another one after each upgrade."""
        successors = self.find("taken over")
        return int(successors[-1]["pid"]) if successors else self.process.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that live."""
        alive = []
        for event in self.find("worker started"):
            with suppress(OSError):
                fields = Path(f"/proc/{event['pid']}/stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z" and fields[1] == str(self.pid):
                    alive.append(int(event["pid"]))
        return alive

    def cells(self) -> list[list[int]]:
        """The in-flight cells of the targets in the ledger: a list for each slot, a number for each worker.

        The pool's own column, which counts picks, is the first; it is left out.
        """
        # A worker that is being replaced and its successor have a row each.
        rows = int(self.find("starting")[-1]["workers"]) + SPARE_ROWS
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):
                if "equipoise-ledger" not in str(link.readlink()):
                    continue
                with link.open("rb") as file:
                    memory = mmap.mmap(file.fileno(), Ledger.size(rows, MAX_SLOTS), prot=mmap.PROT_READ)
                cells = Ledger(memory, rows, MAX_SLOTS, -1).view[: rows * 64].tolist()
                return [cells[slot * rows : (slot + 1) * rows] for slot in range(1, 64)]
        raise AssertionError("the supervisor has no ledger")

    def in_flight(self) -> int:
        """Requests in flight at all targets; no worker's count may ever be below zero."""
        cells = self.cells()
        assert min(min(slot) for slot in cells) >= 0, f"a count below zero: {cells}"
        return sum(sum(slot) for slot in cells)

    def wait_idle(self) -> None:
        """Returns when nothing is in flight."""
        eventually(self.in_flight, lambda count: count == 0)

    def resident(self) -> int:
        """Resident bytes of the largest worker."""
        sizes = []
        for pid in self.workers:
            status = Path(f"/proc/{pid}/status").read_text()
            sizes.append(int(status.partition("VmRSS:")[2].split()[0]) * 1024)
        return max(sizes)

    # What is done to it

    def signal(self, number: signal.Signals) -> None:
        """Signals the supervisor."""
        if self.pid == self.process.pid:
            self.process.send_signal(number)
        else:
            os.kill(self.pid, number)

    def reload(self, text: str) -> dict[str, Any]:
        """Writes another file and has it read; returns what the log says of it."""
        self.config.write_text(text)
        before = len(self.find("reloaded")) + len(self.find("reload refused"))
        self.signal(signal.SIGHUP)
        events = eventually(
            lambda: self.find("reloaded") + self.find("reload refused"), lambda found: len(found) > before
        )
        return max(events, key=lambda event: str(event["time"]))

    def wait_exit(self) -> int:
        """The exit code, once it has left."""
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends it, in whatever state a test left it, and fails if something broke inside it."""
        if self.pid != self.process.pid:
            self._end_successor()
        for patience in (DRAIN_S, PATIENCE):
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        if self.process.poll() is None:
            workers = self.workers
            self.process.kill()
            self.process.wait()
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"it did not leave: {self.log_text()}")
        # A change that a user's own part refuses is told with its traceback; every other one is a defect of ours.
        broken = [
            event
            for event in self.events()
            if ("traceback" in event or "exception" in event) and event["event"] != "a change cannot be applied"
        ]
        assert not broken, f"an exception inside: {broken[0]}"
        assert "Traceback" not in "".join(line for line in self.log_text().splitlines() if not line.startswith("{")), (
            self.log_text()
        )

    def _end_successor(self) -> None:
        """Ends what has taken over from the process that was started here, and is no child of this one."""
        pid, workers = self.pid, self.workers
        try:
            for patience in (DRAIN_S, PATIENCE):
                os.kill(pid, signal.SIGTERM)
                with suppress(AssertionError):
                    eventually(lambda: is_gone(pid), within=patience)
                    return
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        for each in workers:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        raise AssertionError(f"it did not leave: {self.log_text()}")


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def urls(targets: Sequence[Target]) -> list[str]:
    """For the configuration."""
    return [target.url for target in targets]
