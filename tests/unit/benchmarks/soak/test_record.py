import pytest
from benchmarks.soak.record import UNKNOWN, Loss, Record, number_of


@pytest.mark.parametrize(
    ("request_id", "number"), [("soak-0", 0), ("soak-12", 12), ("12", -1), ("soak-", -1), ("soak--1", -1), ("", -1)]
)
def test_a_request_id_gives_the_number_of_a_request_of_this_run_only(request_id: str, number: int) -> None:
    assert number_of(request_id) == number


def test_each_request_has_an_id_of_its_own_that_leads_back_to_it() -> None:
    record = Record()
    requests = [record.begin("HTTP/1", "web", safe=True, connected=0.0) for _ in range(3)]
    assert [number_of(request.request_id) for request in requests] == [0, 1, 2]


def test_a_good_answer_is_kept_with_its_status_and_counted_by_client() -> None:
    record = Record()
    record.good(record.begin("WebSocket", "sockets", safe=False, connected=0.0), 101)
    assert list(record.statuses) == [101]
    assert record.answered == {"WebSocket": 1}


def test_what_the_client_gave_up_on_has_no_known_status_and_is_no_failure() -> None:
    record = Record()
    record.left(record.begin("HTTP/1", "web", safe=True, connected=0.0))
    assert list(record.statuses) == [UNKNOWN]
    assert record.failures == []
    assert record.abandoned == {"HTTP/1": 1}


def test_the_status_of_an_error_is_expected_in_the_log() -> None:
    record = Record()
    record.failed(record.begin("HTTP/1", "web", safe=False, connected=0.0), Loss.STATUS, "", 502)
    assert list(record.statuses) == [502]


def test_the_status_of_a_failed_call_is_not_since_http_says_200() -> None:
    record = Record()
    record.failed(record.begin("gRPC call", "calls", safe=False, connected=0.0), Loss.STATUS, "UNAVAILABLE", 502)
    assert list(record.statuses) == [UNKNOWN]
    assert str(record.failures[0]) == "gRPC call, pool calls, soak-0: another status 502 UNAVAILABLE"
