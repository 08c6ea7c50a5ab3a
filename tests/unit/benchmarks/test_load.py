import json

import pytest
from benchmarks import load
from benchmarks.model import REQUEST_HEADERS

GOOD = {
    "requests": 1000,
    "duration_us": 2_000_000,
    "bytes": 300_000,
    "p50_us": 700,
    "p99_us": 2100,
    "connect": 0,
    "read": 0,
    "write": 0,
    "timeout": 0,
    "status": 0,
}


def printed(**changes: int) -> str:
    summary = json.dumps({**GOOD, **changes})
    return f"Running 2s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n\n{load.MARK}{summary}\n"


def test_a_summary_is_read_in_seconds_and_milliseconds() -> None:
    found = load.parse(printed(), 100)

    assert found == load.Load(requests=1000, seconds=2.0, received_bytes=300_000, p50_ms=0.7, p99_ms=2.1, errors=())


@pytest.mark.parametrize("kind", ["connect", "read", "write", "timeout"])
def test_every_kind_of_socket_error_is_reported(kind: str) -> None:
    assert load.parse(printed(**{kind: 3}), 100).errors == (f"3 socket errors ({kind})",)


def test_a_status_of_400_or_more_is_an_error() -> None:
    assert load.parse(printed(status=7), 100).errors == ("7 answers with a status of 400 or more",)


def test_answers_shorter_than_their_bodies_are_an_error() -> None:
    assert load.parse(printed(bytes=99_999), 100).errors == ("99999 bytes are too few for 1000 bodies of 100",)


def test_a_load_without_an_answer_is_an_error() -> None:
    assert "no request was answered" in load.parse(printed(requests=0), 100).errors


def test_output_without_a_summary_is_a_failure() -> None:
    with pytest.raises(load.LoadFailed):
        load.parse("unable to connect\n", 100)


def test_the_script_sets_each_of_the_eleven_headers() -> None:
    script = load.script()

    assert len(REQUEST_HEADERS) == 11
    assert all(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" in script for name, value in REQUEST_HEADERS)
