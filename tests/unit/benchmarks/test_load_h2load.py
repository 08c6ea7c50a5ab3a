from pathlib import Path

import pytest
from benchmarks import load_h2load
from benchmarks.load import Load, LoadFailed
from benchmarks.model import CALL, CALLS, PAGES, REQUEST_HEADERS

PRINTED = """
finished in {time}, 50000.00 req/s, 7.00MB/s
requests: 1064 total, 1064 started, {done} done, {succeeded} succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 137.00KB (140288) total, 20.51KB (21000) headers (space savings 87.79%), {data}B ({data}) data
                     min         max         mean         sd        +/- sd
time for request:      180us      3.82ms       852us       433us    75.50%
"""
LOG = "".join(f"1763790000000000\t200\t{duration}\n" for duration in range(1, 101))


def printed(**changes: object) -> str:
    good = {"time": "2.00s", "done": 1000, "succeeded": 1000, "failed": 0, "errored": 0, "data": 100_000}
    return PRINTED.format(**{**good, **changes})


def test_a_summary_and_a_log_are_read_in_seconds_and_milliseconds() -> None:
    found = load_h2load.parse(printed(), LOG, 100)

    assert found == Load(requests=1000, seconds=2.0, received_bytes=100_000, p50_ms=0.05, p99_ms=0.099, errors=())


def test_a_time_in_milliseconds_is_read() -> None:
    assert load_h2load.parse(printed(time="950.00ms"), LOG, 100).seconds == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"failed": 3}, "3 requests failed"),
        ({"errored": 2}, "2 requests broken off"),
        ({"succeeded": 990}, "10 answers that were no success"),
        ({"data": 99_999}, "99999 bytes are too few for 1000 bodies of 100"),
        ({"done": 0, "succeeded": 0}, "no request was answered"),
    ],
)
def test_anything_but_complete_good_answers_is_an_error(changes: dict[str, object], error: str) -> None:
    assert load_h2load.parse(printed(**changes), LOG, 100).errors == (error,)


def test_a_redirect_is_no_answer_that_counts() -> None:
    found = load_h2load.parse(printed(), LOG + "1763790000000000\t302\t5\n", 100)

    assert found.errors == ("1 answers with a status outside of 2xx",)


def test_a_request_that_the_end_of_the_time_cut_off_is_no_error() -> None:
    assert load_h2load.parse(printed(), LOG + "1763790000000000\t-1\t0\n", 100).errors == ()


def test_output_without_a_summary_is_a_failure() -> None:
    with pytest.raises(LoadFailed, match="no summary"):
        load_h2load.parse("could not connect to host\n", "", 100)


def test_a_call_sends_its_message_as_grpc_does() -> None:
    argv = load_h2load.arguments(CALLS, CALL, Path("message"), Path("log"))

    assert {"--data=message", "content-type: application/grpc", "te: trailers", "-c4", "-m16"} <= set(argv)


def test_a_page_is_asked_for_with_the_headers_of_a_browser_and_one_authority() -> None:
    argv = load_h2load.arguments(PAGES, "100B", Path("message"), Path("log"))

    assert ":authority: shop.example.com" in argv
    assert not any(word.lower().startswith("host:") for word in argv)
    assert argv.count("-H") == len(REQUEST_HEADERS)
    assert not any(word.startswith("--data") for word in argv)
