from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from equipoise.demo.processes import Children, DemoError, wait_until
from equipoise.demo.settings import DemoSettings
from equipoise.demo.traffic_child import TrafficChild
from tests.unit.runtime.parts import free_port


@pytest.fixture
def settings(tmp_path: Path) -> DemoSettings:
    return DemoSettings(tmp_path, concurrency=2)


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as started:
        yield started


def bucket(answered: int, failed: int = 0, in_flight: int = 0) -> str:
    counts = {"in_flight": in_flight, "answered": {"a": answered}, "failed": {"502": failed} if failed else {}}
    return msgspec.json.encode({"bucket": {"t_ms": 0, **counts}}).decode() + "\n"


def test_the_record_is_added_up_while_it_grows(settings: DemoSettings, children: Children) -> None:
    traffic = TrafficChild(settings, children)
    with settings.file("traffic.record").open("w") as record:
        record.write(bucket(10, failed=1, in_flight=5) + '{"failure":{}}\n')
        record.flush()
        traffic.read()
        assert (traffic.answered, traffic.failed, traffic.open_requests) == (10, 1, 5)
        record.write(bucket(20, in_flight=7))
        record.flush()
        traffic.read()
    assert (traffic.answered, traffic.failed, traffic.open_requests) == (30, 1, 7)
    traffic.close()


def test_the_rate_is_that_of_the_last_second(settings: DemoSettings, children: Children) -> None:
    traffic = TrafficChild(settings, children)
    settings.file("traffic.record").write_text(bucket(1000) + bucket(5) * 10)
    traffic.read()
    assert traffic.rate == 50
    traffic.close()


def test_it_runs_until_it_is_finished(settings: DemoSettings, children: Children) -> None:
    traffic = TrafficChild(settings, children)
    traffic.start(f"http://127.0.0.1:{free_port()}/")

    def something_failed() -> bool:
        traffic.read()
        return traffic.failed > 0

    wait_until(something_failed, 30, "a failure: nobody listens there")
    traffic.finish()
    assert traffic.open_requests == 0
    assert traffic.elapsed > 0
    traffic.close()


def test_one_that_does_not_start_is_an_error(settings: DemoSettings, children: Children) -> None:
    traffic = TrafficChild(settings, children)
    settings.file("traffic.record").mkdir()
    with pytest.raises(DemoError, match="the traffic ended with 1"):
        traffic.start("http://127.0.0.1:1/")
    traffic.close()


def test_it_says_how_much_it_is(settings: DemoSettings, children: Children) -> None:
    assert TrafficChild(settings, children).says == "2 requests open"
    assert TrafficChild(msgspec.structs.replace(settings, rate=7.5), children).says == "7.5 requests a second"
