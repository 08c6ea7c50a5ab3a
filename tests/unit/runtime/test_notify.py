import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.runtime.notify import Notifier, ServiceManager
from tests.unit.runtime.parts import ReadableLog


class Manager:
    """A service manager that keeps what it is told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(5)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def heard(self) -> dict[str, str]:
        lines = self._socket.recv(65536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(f"@equipoise-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_ready_carries_the_status(manager: Manager) -> None:
    assert Notifier(manager.address).ready("2 workers") == ""
    assert manager.heard() == {"READY": "1", "STATUS": "2 workers"}


def test_a_reload_is_told_with_its_moment(manager: Manager) -> None:
    Notifier(manager.address).reloading()
    heard = manager.heard()
    assert heard["RELOADING"] == "1"
    assert heard["MONOTONIC_USEC"].isdecimal()


def test_a_stop_asks_for_the_time_that_it_takes(manager: Manager) -> None:
    Notifier(manager.address).stopping(32.5, "draining")
    assert manager.heard() == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "32500000", "STATUS": "draining"}


def test_the_watchdog_hears_that_the_process_is_alive(manager: Manager) -> None:
    Notifier(manager.address).alive()
    assert manager.heard() == {"WATCHDOG": "1"}


def test_a_status_cannot_smuggle_another_line(manager: Manager) -> None:
    Notifier(manager.address).ready("one\nMAINPID=1")
    assert manager.heard() == {"READY": "1", "STATUS": "one MAINPID=1"}


def test_where_nobody_asks_nothing_is_sent() -> None:
    assert Notifier().ready("x") == ""


def test_a_manager_that_is_gone_is_told_by_the_return_value(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    assert Notifier(str(path)).ready("x") == f"{path}: No such file or directory"


def test_an_address_of_another_kind_is_refused() -> None:
    assert Notifier("vsock:2:1234").alive() == "NOTIFY_SOCKET is no path: 'vsock:2:1234'"


def test_a_manager_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "full"))
    try:
        notifier = Notifier(manager.address)
        assert any(notifier.alive() for _ in range(100_000))
    finally:
        manager.close()


def test_what_is_told_once_waits_until_the_manager_reads_on(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "full"))
    reader = threading.Timer(0.2, manager.heard)
    try:
        notifier = Notifier(manager.address)
        while not notifier.alive():
            pass
        reader.start()
        assert notifier.ready("x") == ""
    finally:
        reader.join()
        manager.close()


def test_the_environment_is_read_and_cleared() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7", "HOME": "/"}
    assert Notifier.from_environment(environment, 7) == Notifier("/run/n", 10.0)
    assert environment == {"HOME": "/"}


def test_without_a_pid_the_watchdog_is_meant_for_whoever_reads_it() -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "500000"}, 7).watchdog == 0.5


@pytest.mark.parametrize("text", ["", "-1", "1e6", "²", "soon"])
def test_a_watchdog_that_is_no_number_is_none(text: str) -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": text}, 7) == Notifier("/n")


def test_another_processes_watchdog_is_not_ours() -> None:
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}
    assert Notifier.from_environment(environment, 7) == Notifier("/n")


def test_a_watchdog_without_a_socket_is_none() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "1000000"}, 7) == Notifier()


def test_the_words_for_a_service_manager(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    told = ServiceManager(Notifier(manager.address), ReadableLog())
    try:
        told.ready(7, 1)
        assert manager.heard()["STATUS"] == "configuration 7, 1 worker"
        told.reloading()
        assert manager.heard()["RELOADING"] == "1"
        told.stopping(30)
        assert manager.heard() == {
            "STOPPING": "1",
            "EXTEND_TIMEOUT_USEC": "35000000",
            "STATUS": "draining, 30 s at most",
        }
    finally:
        manager.close()


def test_a_manager_that_cannot_be_reached_is_logged_once(tmp_path: Path) -> None:
    log = ReadableLog()
    told = ServiceManager(Notifier(str(tmp_path / "gone")), log)
    for _ in range(3):
        told.ready(1, 2)
    assert log.events == ["the service manager was not told"]


def test_the_watchdog_is_fed_again_and_again(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))

    async def run() -> None:
        feeding = asyncio.ensure_future(ServiceManager(Notifier(manager.address, 0.03), ReadableLog()).keep_informed())  # noqa: TID251 -- cancelled below
        for _ in range(3):
            assert await asyncio.to_thread(manager.heard) == {"WATCHDOG": "1"}
        feeding.cancel()

    try:
        asyncio.run(run())
    finally:
        manager.close()


def test_without_a_watchdog_nothing_is_said(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ServiceManager(Notifier(manager.address), ReadableLog()).keep_informed()
        Notifier(manager.address).ready("end")

    try:
        asyncio.run(run())
        assert "READY" in manager.heard()
    finally:
        manager.close()


def test_another_main_process_is_told_and_then_nothing_more(manager: Manager, log: ReadableLog) -> None:
    tells = ServiceManager(Notifier(manager.address, 9.0), log)
    tells.hand_over(4711)
    tells.stopping(1.0)
    tells.ready(1, 2)
    Notifier(manager.address).ready("of the other one")
    assert manager.heard() == {"MAINPID": "4711"}
    assert manager.heard()["STATUS"] == "of the other one"
    assert log.lines == []


@pytest.mark.parametrize("watchdog", [0.0, 30.0])
def test_another_process_is_told_the_way_as_this_one_was(manager: Manager, watchdog: float) -> None:
    notifier = Notifier(manager.address, watchdog)
    assert Notifier.from_environment(notifier.environment(), os.getpid() + 1) == notifier


def test_where_nobody_asks_there_is_no_way_to_tell() -> None:
    assert Notifier().environment() == {}
