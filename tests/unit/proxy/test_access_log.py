"""What a log line looks like, and the sinks."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

from equipoise.errors import client_failed
from equipoise.model import AccessLogSpec
from equipoise.proxy.access_log import (
    BATCH,
    AccessLog,
    JsonLog,
    NullLog,
    Record,
    body_fields,
    detailed,
    encode_text,
    make_log,
    refusal,
)


def record(**fields: Any) -> Record:
    values: dict[str, Any] = {
        "time": "2024-02-29T23:59:59.000Z",
        "request_id": "id1",
        "client": "192.0.2.1",
        "method": "GET",
        "host": "x",
        "path": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "target": "a",
        "pool": "web",
        "attempts": 1,
        "duration_ms": 1.5,
        "upstream_ms": 1.25,
        "bytes_in": 0,
        "bytes_out": 2,
        "body": None,
        "cache": "off",
        "error": None,
        "why": "least_in_flight: 0 in flight, 3 targets",
    }
    return Record(**(values | fields))


def no_trouble(what: str) -> None:
    pytest.fail(what)


def test_a_json_line_has_every_documented_field(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(AccessLogSpec(path=str(path)), no_trouble)
    log.write(record())
    log.close()
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert list(json.loads(line)) == [*Record.__struct_fields__]


def test_a_line_has_more_fields_only_when_there_is_something_in_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(AccessLogSpec(path=str(path)), no_trouble)
    log.write(detailed(record(), None, truncated=False, rest=(None, None, None)))
    log.write(detailed(record(), "AAEC", truncated=True, rest=({"accept": "*/*"}, 14, "fresh")))
    log.close()
    plain, full = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert plain.keys() == set(Record.__struct_fields__)
    assert {name: full[name] for name in full.keys() - plain.keys()} == {
        "body_base64": "AAEC",
        "body_truncated": True,
        "headers": {"accept": "*/*"},
        "grpc_status": 14,
        "cache_reason": "fresh",
    }


def test_lines_come_in_the_order_of_the_records_over_batches(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(AccessLogSpec(path=str(path)), no_trouble)
    for number in range(3 * BATCH + 5):
        log.write(record(status=number))
    log.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines] == list(range(3 * BATCH + 5))
    assert log.counts() == (3 * BATCH + 5, 0)


def test_a_hostile_path_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    hostile = '/"\n{"status": 200}\x00\x7f\x85\u2028'
    log = make_log(AccessLogSpec(path=str(path)), no_trouble)
    log.write(record(path=hostile))
    log.close()
    assert path.read_bytes().count(b"\n") == 1
    assert json.loads(path.read_bytes())["path"] == hostile


def test_a_text_line_is_one_line_of_printable_ascii_whatever_the_path() -> None:
    line = encode_text([record(path='/"\n\r\x1b[31m\x85é\u2028')])
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert line.count(b'"') == 2


def test_a_text_line_reads_like_the_combined_format() -> None:
    assert encode_text([record()]) == (
        b'192.0.2.1 2024-02-29T23:59:59.000Z "GET /a?b=c HTTP/1.1" 200 2 a 1.500ms 1 - id1\n'
    )


def test_a_text_line_says_what_is_not_there_with_a_dash() -> None:
    line = encode_text([refusal("T", "192.0.2.1", "HTTP/1.1", client_failed("malformed", 400, "bare CR"))])
    assert line == b'192.0.2.1 T "  HTTP/1.1" 400 0 - 0.000ms 0 malformed (downstream): bare CR \n'


@pytest.mark.parametrize(
    ("body", "truncated", "fields"),
    [
        (b"", False, ("", None)),
        ("grün".encode(), False, ("grün", None)),
        ("grün".encode()[:3], True, ("gr", None)),
        ("grün".encode()[:3], False, (None, "Z3LD")),
        (b"\xff\x00", True, (None, "/wA=")),
        ("€".encode()[:2], True, ("", None)),
        (b"\xe2\x82abc", True, (None, "4oJhYmM=")),
    ],
)
def test_a_body_is_text_or_base64(body: bytes, truncated: bool, fields: tuple[str | None, str | None]) -> None:
    assert body_fields(body, truncated) == fields


def test_a_log_that_is_switched_off_keeps_nothing() -> None:
    log = make_log(AccessLogSpec(enabled=False, path="/nowhere/at/all"), no_trouble)
    assert isinstance(log, NullLog)
    log.write(record())
    assert log.counts() == (0, 0)


def test_the_null_sink_keeps_nothing() -> None:
    assert isinstance(make_log(AccessLogSpec(sink="null", path="/nowhere/at/all"), no_trouble), NullLog)


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        make_log(AccessLogSpec(path=str(tmp_path / "no" / "log")), no_trouble)


@pytest.mark.parametrize("sink", ["syslog", "python:", "python:module", "python::f", "tests.support:x"])
def test_an_unknown_sink_is_an_error_that_names_it(sink: str) -> None:
    with pytest.raises(ValueError, match=sink):
        make_log(AccessLogSpec(sink=sink), no_trouble)


def test_a_reopened_log_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = make_log(AccessLogSpec(path=str(path)), no_trouble)
    assert isinstance(log, JsonLog)
    log.write(record(path="/old"))
    log.tick()
    wait_until_written(log, 1)
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write(record(path="/new"))
    log.close()
    assert b"/old" in (tmp_path / "log.1").read_bytes()
    assert b"/new" in path.read_bytes()
    assert b"/old" not in path.read_bytes()


def test_records_reach_the_standard_librarys_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "equipoise.access"):
        make_log(AccessLogSpec(sink="logging"), no_trouble).write(record())
    (line,) = [each for each in caplog.records if each.name == "equipoise.access"]
    assert line.getMessage() == "GET /a?b=c 200 a"
    assert vars(line)["access"]["request_id"] == "id1"


def test_records_reach_structlog() -> None:
    with structlog.testing.capture_logs() as lines:
        make_log(AccessLogSpec(sink="structlog"), no_trouble).write(record())
    assert [(line["event"], line["status"], line["target"]) for line in lines] == [("request", 200, "a")]


class Kept(AccessLog):
    """A user's sink."""

    def __init__(self, spec: AccessLogSpec) -> None:
        self.spec = spec
        self.lines: list[str] = []
        self.calls: list[str] = []
        self.broken = False

    def write(self, record: Record) -> None:
        if self.broken:
            raise KeyError("broken")
        self.lines.append(record.path)

    def tick(self) -> None:
        self._call("tick")

    def reopen(self) -> None:
        self._call("reopen")

    def close(self) -> None:
        self._call("close")

    def counts(self) -> tuple[int, int]:
        return len(self.lines), 0

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.broken:
            raise KeyError("broken")


made: list[Kept] = []


def factory(spec: AccessLogSpec) -> Kept:
    made.append(Kept(spec))
    return made[-1]


def wrong_factory(spec: AccessLogSpec) -> str:
    return f"not a log, for {spec}"


def test_a_users_sink_gets_the_settings_and_every_call() -> None:
    log = make_log(AccessLogSpec(sink=f"python:{__name__}:factory", path="p"), no_trouble)
    log.write(record())
    log.tick()
    log.reopen()
    log.close()
    sink = made.pop()
    assert (sink.spec.path, sink.lines, sink.calls) == ("p", ["/a?b=c"], ["tick", "reopen", "close"])
    assert log.counts() == (1, 0)


def test_a_users_factory_must_make_a_log() -> None:
    with pytest.raises(ValueError, match="made a str, not an AccessLog"):
        make_log(AccessLogSpec(sink=f"python:{__name__}:wrong_factory"), no_trouble)


def test_a_users_sink_that_raises_costs_lines_and_no_request() -> None:
    said: list[str] = []
    log = make_log(AccessLogSpec(sink=f"python:{__name__}:factory"), said.append)
    sink = made.pop()
    sink.broken = True
    for _ in range(3):
        log.write(record())
    for call in (log.tick, log.reopen, log.close):
        call()
    assert log.counts() == (0, 3)
    assert said == ["the access log's sink failed: KeyError('broken'); 1 lines lost so far"]


def test_a_users_sink_that_fails_again_after_it_worked_says_so_again() -> None:
    said: list[str] = []
    log = make_log(AccessLogSpec(sink=f"python:{__name__}:factory"), said.append)
    sink = made.pop()
    for broken in (True, False, True):
        sink.broken = broken
        log.write(record())
    assert (len(said), log.counts()) == (2, (1, 2))


def wait_until_written(log: AccessLog, lines: int) -> None:
    deadline = time.monotonic() + 10
    while log.counts()[0] < lines:
        assert time.monotonic() < deadline
        time.sleep(0.002)
