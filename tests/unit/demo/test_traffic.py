"""The traffic against one real target, both in this process."""

import asyncio
from io import StringIO
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import uvloop

from equipoise.demo.record import Record, Summary, Traffic, load
from equipoise.demo.target_http import Counts, TargetConnection
from equipoise.demo.traffic import TrafficProcess, TrafficSettings, parse


def generate(
    tmp_path: Path, *, delay_ms: float = 20.0, serve: bool = True, **settings: float
) -> tuple[Traffic, Counts]:
    """Runs the traffic to its end."""
    counts = Counts("t", lambda: delay_ms)
    file = StringIO()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(cast("Any", lambda: TargetConnection(counts)), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        if not serve:
            server.close()
            await server.wait_closed()
        told = msgspec.structs.replace(TrafficSettings(url, tmp_path / "record", seed=1, duration=1.0), **settings)
        async with asyncio.timeout(30):
            await TrafficProcess(told, Record(file)).run()
        server.close()

    uvloop.run(run())
    path = tmp_path / "record"
    path.write_text(file.getvalue())
    return load(path), counts


def summary_of(traffic: Traffic) -> Summary:
    assert traffic.summary is not None
    return traffic.summary


def test_the_closed_loop_keeps_its_requests_open(tmp_path: Path) -> None:
    traffic, _ = generate(tmp_path, concurrency=8)
    middle = traffic.buckets[2:-3]
    assert middle
    assert all(bucket.in_flight == 8 for bucket in middle)
    assert summary_of(traffic).connections == 8


def test_every_request_is_answered_and_counted_once(tmp_path: Path) -> None:
    traffic, counts = generate(tmp_path, concurrency=8)
    summary = summary_of(traffic)
    assert summary.started == summary.answered["t"] == counts.requests > 50
    assert sum(bucket.started for bucket in traffic.buckets) == summary.started
    assert sum(bucket.answered.get("t", 0) for bucket in traffic.buckets) == summary.started
    assert traffic.failures == []


def test_gets_and_posts_are_mixed(tmp_path: Path) -> None:
    traffic, _ = generate(tmp_path, concurrency=20, delay_ms=5.0, post_share=0.3)
    summary = summary_of(traffic)
    assert summary.gets + summary.posts == summary.started
    assert summary.posts / summary.started == pytest.approx(0.3, abs=0.1)


def test_the_open_loop_keeps_its_rate(tmp_path: Path) -> None:
    traffic, _ = generate(tmp_path, rate=300.0, duration=2.0)
    assert summary_of(traffic).started / 2 == pytest.approx(300, rel=0.25)


def test_the_open_loop_does_not_wait_for_answers(tmp_path: Path) -> None:
    traffic, _ = generate(tmp_path, rate=200.0, delay_ms=400.0)
    assert max(bucket.in_flight for bucket in traffic.buckets) > 40


def test_the_last_requests_are_waited_for(tmp_path: Path) -> None:
    traffic, counts = generate(tmp_path, concurrency=4, delay_ms=700.0)
    assert summary_of(traffic).answered["t"] == 8
    assert counts.in_flight == 0


def test_without_a_listener_each_request_fails_and_the_loop_does_not_spin(tmp_path: Path) -> None:
    traffic, _ = generate(tmp_path, serve=False, concurrency=2)
    summary = summary_of(traffic)
    assert summary.answered == {}
    assert summary.failed == {"connect": len(traffic.failures)}
    assert 2 <= len(traffic.failures) <= 44


def test_the_command_line_becomes_settings() -> None:
    settings = parse(["--url", "http://127.0.0.1:1/", "--record", "r", "--rate", "10", "--seed", "3"])
    assert (settings.rate, settings.seed, settings.record) == (10.0, 3, Path("r"))


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["--url", "http://127.0.0.1:1/"])
    assert "--record" in capsys.readouterr().err
