"""What a service manager is told by the running balancer."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import fetch
from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.support.stage import Stage


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(str(path))

    def hear(self) -> dict[str, str]:
        """The next message."""
        return dict(line.split("=", 1) for line in self._socket.recv(65536).decode().split("\n"))

    def hear_no_more(self) -> list[str]:
        """What else there is."""
        self._socket.setblocking(False)
        rest = []
        while True:
            try:
                rest.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return rest

    def close(self) -> None:
        self._socket.close()

    def wrapper(self, *more: str) -> list[str]:
        """What starts a program that is to tell this manager."""
        return ["env", f"NOTIFY_SOCKET={self.path}", *more]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_it_is_told_once_requests_are_taken(stage: Stage, balance: Balance, manager: Manager) -> None:
    balancer = balance([stage.target()], Setting(workers=2), manager.wrapper())
    assert manager.hear() == {"READY": "1", "STATUS": "configuration 1, 2 workers"}
    assert fetch(balancer.port).status == 200


def test_a_reload_is_told_from_its_beginning_to_its_end(stage: Stage, balance: Balance, manager: Manager) -> None:
    targets = [stage.target(), stage.target()]
    balancer = balance(targets[:1], Setting(), manager.wrapper())
    manager.hear()
    balancer.reload(Setting().text([target.url for target in targets]))
    assert manager.hear()["RELOADING"] == "1"
    assert manager.hear() == {"READY": "1", "STATUS": "configuration 2, 1 worker"}


def test_a_refused_reload_ends_too(stage: Stage, balance: Balance, manager: Manager) -> None:
    balancer = balance([stage.target()], Setting(), manager.wrapper())
    manager.hear()
    balancer.reload("nonsense = 1\n")
    assert manager.hear()["RELOADING"] == "1"
    assert manager.hear() == {"READY": "1", "STATUS": "configuration 1, 1 worker"}


def test_the_drain_is_told_with_the_time_that_it_may_take(stage: Stage, balance: Balance, manager: Manager) -> None:
    limits = '[limits]\ndrain_timeout = "100s"'
    balancer = balance([stage.target()], Setting(more=limits), manager.wrapper())
    manager.hear()
    balancer.signal(signal.SIGTERM)
    told = manager.hear()
    assert told["STOPPING"] == "1"
    assert int(told["EXTEND_TIMEOUT_USEC"]) > 100_000_000
    assert balancer.wait_exit() == 0


def test_the_watchdog_is_fed_as_long_as_it_lives(stage: Stage, balance: Balance, manager: Manager) -> None:
    balance([stage.target()], Setting(), manager.wrapper("WATCHDOG_USEC=2000000"))
    while "READY" not in manager.hear():
        pass
    assert [manager.hear() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3


def test_workers_are_not_asked_to_tell_anything(stage: Stage, balance: Balance, manager: Manager) -> None:
    balancer = balance([stage.target()], Setting(workers=2), manager.wrapper("WATCHDOG_USEC=60000000"))
    for pid in balancer.workers:
        names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"}


def test_a_start_that_fails_is_never_ready(stage: Stage, balance: Balance, manager: Manager) -> None:
    with pytest.raises(AssertionError, match="it left"):
        balance([stage.target()], Setting(log='path = "/nowhere/access.log"'), manager.wrapper())
    assert manager.hear_no_more() == []


def test_a_manager_that_is_gone_stops_nothing(stage: Stage, balance: Balance, tmp_path: Path) -> None:
    balancer = balance([stage.target()], Setting(), ["env", f"NOTIFY_SOCKET={tmp_path / 'gone'}"])
    assert balancer.wait_for("the service manager was not told")["level"] == "warning"
    assert fetch(balancer.port).status == 200


def test_an_upgrade_makes_another_process_the_main_one(stage: Stage, balance: Balance, manager: Manager) -> None:
    balancer = balance([stage.target()], Setting(), manager.wrapper("WATCHDOG_USEC=60000000"))
    before = balancer.pid
    balancer.signal(signal.SIGUSR2)
    heard: list[dict[str, str]] = []
    while len([told for told in heard if "WATCHDOG" not in told]) < 3:
        heard.append(manager.hear())
    ready, main, again = (told for told in heard if "WATCHDOG" not in told)
    assert (ready["READY"], again["READY"]) == ("1", "1")
    assert main == {"MAINPID": str(balancer.pid)}
    assert balancer.pid != before
    assert balancer.wait_exit() == 0
    # The one that drains says no more, least of all that the service stops.
    assert not [told for told in manager.hear_no_more() if "WATCHDOG" not in told]
