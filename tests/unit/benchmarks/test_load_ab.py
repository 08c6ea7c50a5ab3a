import pytest
from benchmarks import load_ab
from benchmarks.load import Load, LoadFailed
from benchmarks.model import HANDSHAKES

PRINTED = """Concurrency Level:      16
Time taken for tests:   2.001 seconds
Complete requests:      1000
Failed requests:        0
Total transferred:      400000 bytes
HTML transferred:       100000 bytes
Requests per second:    499.75 [#/sec] (mean)

Percentage of the requests served within a certain time (ms)
  50%     14
  66%     15
  99%     20
 100%     25 (longest request)
"""


def test_a_summary_is_read_in_seconds_and_milliseconds() -> None:
    found = load_ab.parse(PRINTED, 100)

    assert found == Load(requests=1000, seconds=2.001, received_bytes=100_000, p50_ms=14.0, p99_ms=20.0, errors=())


@pytest.mark.parametrize(
    ("good", "bad", "error"),
    [
        ("Failed requests:        0", "Failed requests:        7", "7 requests failed"),
        ("Requests per", "Non-2xx responses:      16\nRequests per", "16 answers with a status outside of 2xx"),
        (
            "HTML transferred:       100000",
            "HTML transferred:       99999",
            "99999 bytes are too few for 1000 bodies of 100",
        ),
        ("Complete requests:      1000", "Complete requests:      0", "no request was answered"),
    ],
)
def test_anything_but_complete_good_answers_is_an_error(good: str, bad: str, error: str) -> None:
    assert load_ab.parse(PRINTED.replace(good, bad), 100).errors == (error,)


def test_output_without_a_summary_is_a_failure() -> None:
    with pytest.raises(LoadFailed, match="no summary"):
        load_ab.parse("SSL handshake failed\n", 100)


def test_a_connection_carries_one_request() -> None:
    assert "-k" not in load_ab.arguments(HANDSHAKES)
