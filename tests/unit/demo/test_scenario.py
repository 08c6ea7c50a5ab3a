"""The parts of the timeline; the whole of it runs in test_run."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from equipoise.config.load import load
from equipoise.demo.processes import Children, DemoError, wait_until
from equipoise.demo.scenario import TargetChild, TargetView, balancer_config, prepare
from equipoise.demo.settings import DemoSettings


@pytest.fixture
def settings(tmp_path: Path) -> DemoSettings:
    return DemoSettings(tmp_path, duration=12.0)


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as started:
        yield started


def views(*names: str) -> list[TargetView]:
    return [TargetView(name, f"127.0.0.1:{9000 + number}", 100.0) for number, name in enumerate(names)]


def test_the_balancer_accepts_its_configuration(settings: DemoSettings) -> None:
    path = settings.file("balancer.toml")
    path.write_text(balancer_config(msgspec.structs.replace(settings, workers=3), views("a", "b")))
    config = load(path)
    assert config.workers == 3
    assert not config.admin.enabled
    assert config.state_dir == str(settings.file("state"))
    assert [target.name for target in config.pools["default"].targets] == ["a", "b"]
    assert config.pools["default"].algorithm == "least_in_flight"
    assert config.access_log.path == str(settings.file("access.log"))


def test_grpc_targets_are_probed_and_called_by_grpc(settings: DemoSettings) -> None:
    path = settings.report / "balancer.toml"
    path.write_text(balancer_config(msgspec.structs.replace(settings, grpc=True), views("a")))
    pool = load(path).pools["default"]
    assert (pool.health.type, [target.url.partition(":")[0] for target in pool.targets]) == ("grpc", ["h2c"])


def test_a_path_with_quotes_stays_a_path(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path / 'a "quoted" \\ place')
    path = tmp_path / "balancer.toml"
    path.write_text(balancer_config(settings, views("a")))
    assert load(path).access_log.path == str(settings.file("access.log"))


def test_preparing_removes_the_last_runs_files_and_no_others(tmp_path: Path) -> None:
    for name in ("report.json", "target-a.samples", "access.log", "notes.txt", "report.pdf"):
        (tmp_path / name).write_text("x")
    prepare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "report.pdf"}


def test_preparing_makes_the_directory(tmp_path: Path) -> None:
    prepare(tmp_path / "deep" / "report")
    assert (tmp_path / "deep" / "report").is_dir()


def test_a_target_is_killed_and_returns_on_its_port(settings: DemoSettings, children: Children) -> None:
    target = TargetChild(settings, 1, children)
    try:
        target.start()
        wait_until(target.read, 30, "the start")
        first = target.listening_ms
        assert target.view.state == "up"
        target.kill()
        assert target.view.state == "killed"
        target.start()
        assert target.view.state == "starting"
        wait_until(target.read, 30, "the second start")
        assert target.listening_ms > first
        log = settings.file("target-b.log").read_text()
        assert log.count(f'"address":"{target.view.address}"') == 2
    finally:
        target.close()


def test_a_target_that_cannot_start_is_an_error(settings: DemoSettings, children: Children) -> None:
    target = TargetChild(msgspec.structs.replace(settings, report=settings.report / "missing"), 0, children)
    try:
        with pytest.raises((DemoError, FileNotFoundError)):
            target.start()
    finally:
        target.close()
