"""When renewed certificates are tried, with real workers and real files."""

import asyncio
import ssl
from pathlib import Path

import pytest

from equipoise.runtime.renewal import Renewal
from tests.support.certificates import Authority, Pair
from tests.unit.runtime.running import Running, play

CA = Authority()
FILE = """workers = 1
[[listeners]]
address = "127.0.0.1:0"
[listeners.tls]
certificate_file = "a.pem"
key_file = "a.key"
[access_log]
enabled = false
[pools.p]
targets = ["http://127.0.0.1:1"]
"""


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.chdir(tmp_path)
    return CA.issue("a.example", "first.example").write(tmp_path, "a")


async def names(port: int) -> set[str]:
    """For whom the certificate is that a new client gets."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="a.example")
    found = writer.get_extra_info("peercert")["subjectAltName"]
    writer.transport.abort()
    return {name for _, name in found}


@pytest.mark.usefixtures("first")
def test_a_pair_that_changed_is_used_once_it_lies_still(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        renewal = Renewal(running.changes, running.log)
        await renewal.look()
        version = running.supervisor.version
        CA.issue("a.example", "second.example").write(tmp_path, "a")
        await renewal.look()
        assert "first.example" in await names(running.port)
        await renewal.look()
        assert "second.example" in await names(running.port)
        assert running.supervisor.version == version
        assert running.log.events.count("certificates renewed") == 1

    play(tmp_path, test, file=FILE)


@pytest.mark.usefixtures("first")
def test_half_a_pair_is_told_once_and_the_old_one_stays(tmp_path: Path) -> None:
    second = CA.issue("a.example", "second.example")

    async def test(running: Running) -> None:
        renewal = Renewal(running.changes, running.log)
        (tmp_path / "a.pem").write_bytes(second.certificate)
        for _ in range(5):
            await renewal.look()
        assert "first.example" in await names(running.port)
        lines = [line for line in running.log.lines if line["event"] == "certificates not renewed, the old ones stay"]
        assert [(line["path"], line["reason"]) for line in lines] == [
            ("listeners[0].tls.key_file", "a.key holds a key that does not belong to the certificate")
        ]
        (tmp_path / "a.key").write_bytes(second.key)
        for _ in range(2):
            await renewal.look()
        assert "second.example" in await names(running.port)

    play(tmp_path, test, file=FILE)


@pytest.mark.usefixtures("first")
def test_a_successor_has_the_certificates_that_were_good(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        (tmp_path / "a.pem").unlink()
        workers = running.supervisor.workers
        [before] = workers.pids
        await workers.acknowledged(workers.version)
        workers._alive[0].popen.kill()
        async with asyncio.timeout(20):
            while workers.pids in ([], [before]) or workers.count()[0] == 0:  # noqa: ASYNC110  nothing tells it
                await asyncio.sleep(0.01)
        assert "first.example" in await names(running.port)

    play(tmp_path, test, file=FILE)


def test_a_file_that_was_only_touched_is_no_renewal(first: Pair, tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        renewal = Renewal(running.changes, running.log)
        first.write(tmp_path, "a")
        for _ in range(3):
            await renewal.look()
        assert "certificates renewed" not in running.log.events

    play(tmp_path, test, file=FILE)


@pytest.mark.usefixtures("first")
def test_a_balancer_that_leaves_renews_nothing(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        renewal = Renewal(running.changes, running.log)
        running.changes.closed = True
        CA.issue("a.example", "second.example").write(tmp_path, "a")
        for _ in range(3):
            await renewal.look()
        assert running.log.events.count("certificates not renewed, the old ones stay") == 0

    play(tmp_path, test, file=FILE)
