"""What happens once, before anything runs."""

import resource
import socket

import pytest

from equipoise.config.load import parse
from equipoise.config.schema import Config
from equipoise.runtime.startup import (
    UnfitError,
    announce,
    check_surroundings,
    is_compiled,
    make_memory,
    open_admin,
    open_listeners,
    raise_file_limit,
)
from equipoise.state.ledger import Ledger
from tests.unit.runtime.parts import ReadableLog


def config_listening_on(*addresses: str) -> Config:
    listen = ", ".join(f'"{address}"' for address in addresses)
    return parse(f"listen = [{listen}]\nworkers = 2\n[pools.p]\ntargets = []\n[admin]\nenabled = false", {})


def test_this_installation_is_fit() -> None:
    check_surroundings()


def test_an_old_event_loop_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.22.1")
    with pytest.raises(UnfitError, match=r"uvloop 0\.22\.1 is too old"):
        check_surroundings()


def test_the_mode_is_announced_and_the_slow_one_loudly(log: ReadableLog, compiled: bool) -> None:
    announce(log, config_listening_on("127.0.0.1:0"))
    assert log.lines[0]["compiled"] is compiled is is_compiled()
    assert [line["level"] for line in log.lines] == (["info"] if compiled else ["info", "warning"])
    assert compiled or "INTERPRETED" in log.events[1]


def test_a_worker_and_the_supervisor_see_the_same_ledger() -> None:
    memory = make_memory(rows=3)
    worker = Ledger(memory.map(), 3, memory.slots, 2)
    worker.take(17)
    assert memory.ledger.in_flight(17) == 1
    memory.close()


def test_every_listener_is_opened_once_for_each_worker() -> None:
    listeners = open_listeners(config_listening_on("127.0.0.1:0", "127.0.0.1:0"))
    assert [len(listener.sockets) for listener in listeners] == [2, 2]
    for listener in listeners:
        listener.close()


def test_when_one_address_is_taken_none_is_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = int(probe.getsockname()[1])
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UnfitError, match="another process"):
        open_listeners(config_listening_on(f"127.0.0.1:{free}", f"127.0.0.1:{other.getsockname()[1]}"))
    socket.create_server(("127.0.0.1", free)).close()


def test_as_many_files_as_the_system_grants_may_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit()
    after = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert after == (before[1], before[1])


def with_admin(text: str) -> Config:
    return parse(f'listen = "127.0.0.1:0"\n[pools.p]\ntargets = []\n[admin]\n{text}', {})


def test_the_admin_api_gets_a_socket_of_its_own() -> None:
    listener = open_admin(with_admin('listen = "127.0.0.1:0"'))
    assert listener is not None
    assert len(listener.sockets) == 1
    listener.close()


def test_an_admin_api_that_is_off_gets_none() -> None:
    assert open_admin(with_admin("enabled = false")) is None


def test_an_address_of_the_admin_api_that_is_taken_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(UnfitError, match=rf"the admin API cannot listen on .*:{taken}: .*set \[admin\] listen"):
            open_admin(with_admin(f'listen = "127.0.0.1:{taken}"'))
