"""The one path of a change, with real workers and a real disk."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.config.edits import AddTarget, ChangeTarget, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.load import parse
from equipoise.config.overlay import ConflictError, Overlay, UnknownNameError
from equipoise.config.problems import ConfigError
from equipoise.config.schema import TargetConfig
from equipoise.runtime.changes import ChangeRefusedError, NotKeptError, StaleError, Standing
from equipoise.runtime.store import digest_of
from tests.unit.runtime.parts import get, tiny_target
from tests.unit.runtime.running import TWO, A, B, Running, play, text

C = AddTarget("p", TargetConfig("http://127.0.0.1:3", "c"))
# It can be imported anywhere, and made by nobody.
BROKEN = """
from equipoise.policy.balance import Algorithm
class Broken(Algorithm):
    def __init__(self, loads, chance):
        raise RuntimeError("out of order")
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an algorithm that every worker refuses."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "broken_algorithm.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    yield "python:broken_algorithm:Broken"
    monkeypatch.delitem(sys.modules, "broken_algorithm", raising=False)


# Standing


def standing(pools: str) -> Standing:
    file = parse(f'listen = "127.0.0.1:0"\n{pools}', {})
    return Standing(file, Overlay(), file, 3, digest_of(file))


def test_what_makes_no_difference_has_no_version_of_its_own() -> None:
    before = standing("[pools.p]\ntargets = []")
    assert before.succeeded_by(before.file, Overlay()) == before


def test_what_makes_a_difference_is_the_next_version() -> None:
    before = standing("[pools.p]\ntargets = []")
    after = before.succeeded_by(standing('[pools.p]\ntargets = ["http://a:1"]').file, Overlay())
    assert (after.version, after.digest) == (4, digest_of(after.config))


# Edits


def test_an_edit_is_in_force_everywhere_when_it_returns(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        assert await running.changes.edit(C) == 2
        assert running.targets == [A, B, "c"]
        assert running.supervisor.workers.versions() == {0: 2, 1: 2}
        assert running.supervisor.version == 2
        kept = running.store.read()
        assert kept is not None
        assert kept == running.changes.standing.state

    play(tmp_path, test)


def test_an_added_target_gets_requests_at_once(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        with tiny_target() as target:
            assert await asyncio.to_thread(get, running.port) == 503
            await running.changes.edit(AddTarget("p", TargetConfig(f"http://127.0.0.1:{target.port}")))
            assert [await asyncio.to_thread(get, running.port) for _ in range(6)] == [200] * 6

    play(tmp_path, test, file=text("[]"))


def test_an_edit_that_changes_nothing_keeps_the_version_and_tells_nobody(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        assert await running.changes.edit(ChangeTarget("p", A, weight=1)) == 1
        assert "change" not in [event["kind"] for event in running.supervisor.events.recent()]

    play(tmp_path, test)


def test_a_change_is_told_in_one_line(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(SetAlgorithm("p", "random"))
        event = running.supervisor.events.recent()[-1]
        assert (event["kind"], event["version"], event["what"]) == ("change", 2, "algorithm of pool p is random")
        assert running.log.lines[-1]["event"] == "changed"

    play(tmp_path, test)


def test_edits_at_the_same_moment_are_made_one_after_the_other(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        wanted = [AddTarget("p", TargetConfig(f"http://127.0.0.1:{port}", f"t{port}")) for port in range(10, 30)]
        versions = await asyncio.gather(*(running.changes.edit(each) for each in wanted))
        assert sorted(versions) == list(range(2, 22))
        assert len(running.targets) == 22

    play(tmp_path, test)


def test_of_two_edits_meant_for_one_version_the_second_is_stale(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        edits = [ChangeTarget("p", name, weight=2) for name in (A, B)]
        results = await asyncio.gather(
            *(running.changes.edit(each, expected=1) for each in edits), return_exceptions=True
        )
        assert results[0] == 2
        assert isinstance(results[1], StaleError)
        assert results[1].current == 2

    play(tmp_path, test)


def test_an_edit_that_is_refused_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        with pytest.raises(UnknownNameError):
            await running.changes.edit(RemoveTarget("p", "nobody"))
        with pytest.raises(ConflictError):
            await running.changes.edit(AddTarget("p", TargetConfig("http://127.0.0.1:9", A)))
        with pytest.raises(ConfigError):
            await running.changes.edit(AddTarget("p", TargetConfig("ftp://127.0.0.1:9")))
        assert (running.supervisor.version, running.targets) == (1, [A, B])
        assert running.store.read() is None

    play(tmp_path, test)


def test_a_change_that_a_worker_refuses_is_undone_and_never_kept(tmp_path: Path, broken: str) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(ChangeTarget("p", A, weight=5))
        kept = running.store.read()
        with pytest.raises(ChangeRefusedError, match="out of order"):
            await running.changes.edit(SetAlgorithm("p", broken))
        assert running.store.read() == kept
        assert running.supervisor.config.pools["p"].algorithm == "least_in_flight"
        assert running.supervisor.workers.world.pools[0].algorithm == "least_in_flight"
        assert running.supervisor.workers.versions() == {0: 2, 1: 2}
        assert await running.changes.edit(SetAlgorithm("p", "random")) == 3

    play(tmp_path, test)


def test_a_change_that_cannot_be_kept_is_refused_before_any_worker_hears_of_it(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        before = running.supervisor.workers.version
        (tmp_path / "state").rename(tmp_path / "moved")
        with pytest.raises(NotKeptError, match="the state cannot be kept"):
            await running.changes.edit(C)
        assert (running.targets, running.supervisor.workers.version) == ([A, B], before)
        (tmp_path / "moved").rename(tmp_path / "state")
        assert await running.changes.edit(C) == 2

    play(tmp_path, test)


def test_a_change_that_cannot_be_committed_is_undone(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        running.store.path.mkdir()  # nothing can be renamed to it
        with pytest.raises(NotKeptError, match="the state cannot be kept"):
            await running.changes.edit(C)
        assert (running.supervisor.version, running.targets) == (1, [A, B])
        running.store.path.rmdir()
        assert await running.changes.edit(C) == 2

    play(tmp_path, test)


def test_a_change_whose_caller_gives_up_is_made_all_the_same(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        caller = asyncio.get_running_loop().create_task(running.changes.edit(C))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await running.changes.edit(ChangeTarget("p", "c", weight=2)) == 3

    play(tmp_path, test)


def test_when_it_is_closed_nothing_changes_any_more(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        running.changes.closed = True
        with pytest.raises(ChangeRefusedError, match="draining"):
            await running.changes.edit(C)
        with pytest.raises(ChangeRefusedError, match="draining"):
            await running.changes.reload(running.path)

    play(tmp_path, test)


def test_without_a_disk_changes_are_made_and_not_kept(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        assert await running.changes.edit(C) == 2
        assert not (tmp_path / "state").exists()

    play(tmp_path, test, writable=False)


# Restart


def test_a_restart_has_the_same_version_and_the_same_targets(tmp_path: Path) -> None:
    async def first(running: Running) -> None:
        await running.changes.edit(C)
        await running.changes.edit(RemoveTarget("p", A))
        await running.changes.edit(ChangeTarget("p", B, state="draining"))

    async def second(running: Running) -> None:
        assert (running.supervisor.version, running.targets) == (4, [B, "c"])
        entry = running.supervisor.table.get("p", B)
        assert entry is not None
        assert entry.state == "draining"

    play(tmp_path, first)
    play(tmp_path, second)


# Removal


def request_at(listener: socket.socket) -> socket.socket:
    """The connection of the first request there."""
    while True:
        connection, _ = listener.accept()
        if connection.recv(65536):
            return connection
        connection.close()


def test_what_is_in_flight_at_a_removed_target_ends_in_peace(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:
        url = f"http://127.0.0.1:{slow.getsockname()[1]}"

        async def test(running: Running) -> None:
            answered = asyncio.get_running_loop().create_task(asyncio.to_thread(get, running.port))
            with await asyncio.to_thread(request_at, slow) as connection:
                assert await running.changes.edit(RemoveTarget("p", "a")) == 2
                status = running.supervisor.target("p", "a")
                assert (status["health"], status["in_flight"]) == ("draining", 1)
                # Removing it once more is no error, and changes nothing.
                assert await running.changes.edit(RemoveTarget("p", "a")) == 2
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert await answered == 200

        play(tmp_path, test, file=text(f'[{{ url = "{url}", name = "a" }}]'))


@pytest.mark.parametrize("steps", [[True], [False, True]], ids=["at once", "second thoughts"])
def test_what_is_in_flight_at_a_target_removed_by_force_is_cut(tmp_path: Path, steps: list[bool]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def test(running: Running) -> None:
            answered = asyncio.get_running_loop().create_task(asyncio.to_thread(get, running.port))
            with await asyncio.to_thread(request_at, silent):
                for force in steps:
                    assert await running.changes.edit(RemoveTarget("p", "a"), force=force) == 2
                assert await answered in {502, 503}
                with pytest.raises(UnknownNameError):
                    running.supervisor.target("p", "a")

        play(tmp_path, test, file=text(f'[{{ url = "{url}", name = "a" }}]'))


# Reload


def test_a_reload_lays_the_changes_over_the_new_file(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(C)
        await running.changes.edit(ChangeTarget("p", B, weight=9))
        running.path.write_text(text(f'["http://{A}", "http://{B}", "http://127.0.0.1:7"]'))
        assert await running.changes.reload(running.path) == 4
        assert running.targets == [A, B, "127.0.0.1:7", "c"]
        assert running.supervisor.config.pools["p"].targets[1].weight == 9

    play(tmp_path, test)


def test_a_reload_of_the_same_file_keeps_the_version(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(C)
        assert await running.changes.reload(running.path, expected=2) == 2
        assert running.log.lines[-1]["changed"] is False

    play(tmp_path, test)


def test_a_reload_meant_for_another_version_is_stale(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        with pytest.raises(StaleError):
            await running.changes.reload(running.path, expected=7)

    play(tmp_path, test)


def test_a_file_that_says_what_was_changed_takes_it_over(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(SetAlgorithm("p", "random"))
        running.path.write_text(text(TWO, 'algorithm = "random"'))
        assert await running.changes.reload(running.path) == 2
        assert running.supervisor.differences() == []
        kept = running.store.read()
        assert kept is not None
        assert (kept.version, kept.overlay) == (2, Overlay())

    play(tmp_path, test)


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        running.path.write_text("listen = 3")
        with pytest.raises(ConfigError):
            await running.changes.reload(running.path)
        assert (running.supervisor.version, running.targets) == (1, [A, B])

    play(tmp_path, test)


def test_what_needs_other_processes_cannot_be_reloaded(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        running.path.write_text(text(workers=3))
        with pytest.raises(ChangeRefusedError, match="workers cannot change while running"):
            await running.changes.reload(running.path)

    play(tmp_path, test)


def test_a_file_that_does_not_go_together_with_the_changes_is_refused(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(C)
        full = ", ".join(f'{{ url = "http://127.0.0.1:1", name = "t{index}" }}' for index in range(4095))
        running.path.write_text(text(f"[{full}]"))
        with pytest.raises(ConfigError, match="must be at most 4096 together"):
            await running.changes.reload(running.path)
        assert running.targets == [A, B, "c"]

    play(tmp_path, test)


# Caches

CACHED = '[pools.p.cache]\nenabled = true\nmax_bytes = "1MiB"\nmax_body = "4KiB"'


def sections(running: Running) -> list[tuple[int, int] | None]:
    """As the workers were told last."""
    return [pool.cache_section for pool in running.supervisor.workers.world.pools]


def test_a_cache_has_memory_for_as_long_as_it_is_switched_on(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        assert sections(running) == [None]
        await running.changes.edit(SetCache("p", {"enabled": True, "max_bytes": "1MiB", "max_body": "4KiB"}))
        assert sections(running) == [(0, 1 << 20)]
        await running.changes.edit(SetCache("p", {"ttl": "5m"}))
        assert sections(running) == [(0, 1 << 20)]
        await running.changes.edit(SetCache("p", {"enabled": False}))
        assert (sections(running), running.supervisor.caches.counts()) == ([None], {})

    play(tmp_path, test)


def test_memory_is_given_to_the_next_once_all_workers_have_let_go(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        await running.changes.edit(SetCache("p", {"max_bytes": "2MiB"}))
        assert sections(running) == [(1 << 20, 2 << 20)]
        await running.changes.edit(SetCache("p", {"max_bytes": "1MiB"}))
        assert sections(running) == [(0, 1 << 20)]

    play(tmp_path, test, file=text(more=CACHED))


def test_a_refused_change_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        running.supervisor.caches._memory = None  # type: ignore[assignment]  # there is none left
        with pytest.raises(ChangeRefusedError):
            await running.changes.edit(SetCache("p", {"max_bytes": "2MiB"}))
        assert (sections(running), running.supervisor.version) == ([(0, 1 << 20)], 1)

    play(tmp_path, test, file=text(more=CACHED))


def test_a_change_of_a_cache_that_cannot_be_had_is_refused_with_every_place(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        with pytest.raises(ConfigError, match=r"pools\.p\.cache\.max_body"):
            await running.changes.edit(SetCache("p", {"max_body": "1MiB"}))
        assert running.supervisor.version == 1

    play(tmp_path, test, file=text(more=CACHED))
