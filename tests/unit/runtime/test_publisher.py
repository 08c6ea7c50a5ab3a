"""From a configuration, or a flip, to the workers."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from equipoise.config.overlay import Overlay, PoolOverlay, merge
from equipoise.config.schema import Config, TargetConfig
from equipoise.model import Outcome, TargetState
from equipoise.runtime.publisher import ChangeRefusedError
from equipoise.runtime.slots import Key
from tests.unit.runtime.running import A, B, Running, play


def with_target(config: Config, name: str, url: str = "http://127.0.0.1:3") -> Config:
    return merge(config, Overlay({"p": PoolOverlay(added={name: TargetConfig(url, name)})}))


def flip(running: Running, name: str = A) -> None:
    supervisor = running.supervisor
    supervisor._publisher.flipped(supervisor.table.failed(Key("p", name), Outcome.CONNECT_FAILED, 0, 0.0))


def test_the_workers_act_on_what_was_installed_and_published(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        publisher = running.supervisor._publisher
        await publisher.install(with_target(running.supervisor.config, "c"), 5)
        assert await running.supervisor.workers.acknowledged(publisher.publish()) == []
        assert running.targets == [A, B, "c"]
        assert running.supervisor.workers.versions() == {0: 5, 1: 5}

    play(tmp_path, test)


def test_what_the_workers_know_already_is_not_sent(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        before = running.supervisor.workers.version
        assert running.supervisor._publisher.publish() == before

    play(tmp_path, test)


def test_a_configuration_that_makes_the_same_world_is_acknowledged_too(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        config = running.supervisor.config
        await running.supervisor._publisher.install(replace(config, admin=replace(config.admin, max_body=2048)), 6)
        await running.supervisor.workers.acknowledged(running.supervisor._publisher.publish())
        assert running.supervisor.workers.versions() == {0: 6, 1: 6}

    play(tmp_path, test)


def test_flips_of_one_moment_travel_together(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        before = running.supervisor.workers.version
        flip(running, A)
        flip(running, B)
        await asyncio.sleep(0)
        assert running.supervisor.workers.version == before + 1
        states = [target.state for target in running.supervisor.workers.world.pools[0].targets]
        assert states == [TargetState.DOWN] * 2

    play(tmp_path, test)


def test_a_flip_is_told_to_the_log_and_to_subscribers(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        flip(running)
        event = running.supervisor.events.recent()[-1]
        said = {key: event[key] for key in ("kind", "pool", "target", "from", "to", "reason")}
        assert said == {
            "kind": "flip", "pool": "p", "target": A, "from": "up", "to": "down", "reason": "connect failed",
        }  # fmt: skip
        assert (running.log.lines[-1]["event"], running.log.lines[-1]["level"]) == ("target down", "warning")

    play(tmp_path, test)


def test_a_flip_keeps_the_version_of_the_configuration(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        flip(running)
        await asyncio.sleep(0)
        await running.supervisor.workers.acknowledged(running.supervisor.workers.version)
        assert running.supervisor.version == 1
        assert running.supervisor.workers.versions() == {0: 1, 1: 1}

    play(tmp_path, test)


def test_more_targets_than_slots_are_refused_and_the_table_stays(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        many = {f"t{index}": TargetConfig("http://127.0.0.1:1", f"t{index}") for index in range(5000)}
        config = merge(running.supervisor.config, Overlay({"p": PoolOverlay(added=many)}))
        with pytest.raises(ChangeRefusedError, match="slots of the ledger are in use"):
            await running.supervisor._publisher.install(config, 2)
        assert [entry.key.target for entry in running.supervisor.table] == [A, B]

    play(tmp_path, test)
