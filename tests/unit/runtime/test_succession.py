"""Who follows whom, with a real balancer in the old one's place and a script in the new one's."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from equipoise.config.edits import SetAlgorithm
from equipoise.runtime.changes import ChangeRefusedError
from tests.unit.runtime.running import Running, play, text

BEGIN = """
import asyncio, os, sys, time
from equipoise.runtime.handover import Ancestor, Prepared
ancestor = Ancestor.from_environment(os.environ)
"""
ONE_WORKER = text(workers=1)


def becomes(running: Running, script: str) -> None:
    """What an upgrade starts."""
    running.supervisor._succession.command = [sys.executable, "-c", BEGIN + script]


def test_an_upgrade_that_fails_says_why_and_changes_nothing(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        becomes(running, 'ancestor.fail("the file is bad")')
        before = running.supervisor.workers.pids
        with pytest.raises(ChangeRefusedError, match="the new process cannot start: the file is bad"):
            await running.supervisor.upgrade()
        assert running.supervisor.workers.pids == before
        assert await running.supervisor.edit(SetAlgorithm("p", "random")) == 2
        assert "upgrade failed; this process goes on" in running.log.events
        assert not running.supervisor.draining

    play(tmp_path, test, file=ONE_WORKER)


def test_a_new_process_gets_sockets_lock_and_what_is_known(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        becomes(running, "ancestor.fail(repr([os.fstat(fd).st_ino for fd in ancestor.legacy.fds]))")
        listeners = [fd for each in running.listeners for fd in each.bequest.fds]
        assert running.store.lock is not None
        inodes = [os.fstat(fd).st_ino for fd in (running.store.lock, *listeners)]
        with pytest.raises(ChangeRefusedError) as refused:
            await running.supervisor.upgrade()
        assert str(refused.value).endswith(str(inodes))

    play(tmp_path, test, file=ONE_WORKER)


def test_while_it_runs_nothing_else_begins_and_nothing_changes(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        becomes(running, "time.sleep(60)")
        supervisor = running.supervisor
        supervisor._succession.patience = 1.0
        upgrade = asyncio.get_running_loop().create_task(supervisor.upgrade())
        while "upgrade begins" not in running.log.events:  # noqa: ASYNC110 -- the log has no event to wait for
            await asyncio.sleep(0.01)
        for other in (supervisor.upgrade(), supervisor.replace_workers()):
            with pytest.raises(ChangeRefusedError, match=r"^an upgrade is under way$"):
                await other
        for change in (supervisor.edit(SetAlgorithm("p", "random")), supervisor.reload()):
            with pytest.raises(ChangeRefusedError, match="an upgrade is under way; nothing changes until then"):
                await change
        with pytest.raises(ChangeRefusedError, match="was not ready within 1 s"):
            await upgrade
        assert await supervisor.reload() == 1

    play(tmp_path, test, file=ONE_WORKER)


def test_a_new_process_in_charge_makes_the_old_one_leave(tmp_path: Path) -> None:
    script = """
async def main():
    await ancestor.wait_for_order(Prepared(9, (0,)))
    await ancestor.tell_in_charge()
asyncio.run(main())
"""

    async def test(running: Running) -> None:
        becomes(running, script)
        upgraded = await running.supervisor.upgrade()
        assert (upgraded.before, upgraded.version) == (os.getpid(), 9)
        assert running.supervisor.draining
        assert running.supervisor.ready() == "draining"
        with pytest.raises(ChangeRefusedError, match="too late"):
            await running.supervisor.upgrade()
        await asyncio.to_thread(os.waitpid, upgraded.pid, 0)
        await running.supervisor.workers._all_gone.wait()

    play(tmp_path, test, file=ONE_WORKER)


def test_process_1_of_a_container_is_not_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(running: Running) -> None:
        monkeypatch.setattr("equipoise.runtime.succession.os.getpid", lambda: 1)
        with pytest.raises(ChangeRefusedError, match="start a new container instead"):
            await running.supervisor.upgrade()

    play(tmp_path, test, file=ONE_WORKER)


def test_replaced_workers_are_told(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        before = running.supervisor.workers.pids
        replaced = await running.supervisor.replace_workers()
        assert [each.before for each in replaced] == before
        assert [each.after for each in replaced] == running.supervisor.workers.pids
        workers = running.supervisor.status()["workers"]
        assert [(each["pid"], each["draining"]) for each in workers] == [(replaced[0].after, False)]

    play(tmp_path, test, file=ONE_WORKER)
