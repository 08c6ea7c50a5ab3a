from array import array
from io import StringIO
from pathlib import Path

from equipoise.demo.record import Failure, Record, load, percentiles


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "record"
    path.write_text(text)
    return path


def test_buckets_failures_and_summary_come_back_as_they_were_written(tmp_path: Path) -> None:
    file = StringIO()
    record = Record(file)
    record.start("GET")
    record.start("POST")
    record.answer("a", 12.0)
    record.close_bucket(100)
    failure = Failure("id-2", "POST", 10.0, 120.0, "502", "why")
    record.fail(failure)
    record.finish(200)
    traffic = load(written(tmp_path, file.getvalue()))
    first, second = traffic.buckets
    assert (first.t_ms, first.started, first.in_flight, first.answered) == (100, 2, 1, {"a": 1})
    assert (first.latency_sum_ms, first.latency_max_ms) == (12.0, 12.0)
    assert (second.t_ms, second.started, second.in_flight, second.failed) == (200, 0, 0, {"502": 1})
    assert traffic.failures == [failure]
    assert traffic.summary is not None
    assert (traffic.summary.gets, traffic.summary.posts, traffic.summary.answered) == (1, 1, {"a": 1})
    assert traffic.summary.failed == {"502": 1}


def test_a_record_that_broke_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = StringIO()
    record = Record(file)
    record.start("GET")
    record.close_bucket(100)
    traffic = load(written(tmp_path, file.getvalue() + '{"bucket":{"t_ms":200,'))
    assert [bucket.t_ms for bucket in traffic.buckets] == [100]
    assert traffic.summary is None


def test_percentiles_are_by_nearest_rank() -> None:
    found = percentiles(array("f", [float(number) for number in range(101)]))
    assert found == {"mean": 50.0, "p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


def test_no_latencies_have_no_percentiles() -> None:
    assert percentiles(array("f")) == {}
