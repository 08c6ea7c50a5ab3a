"""What an exchange needs of its worker: ids, stamps, and the count of what was refused."""

import pytest

from equipoise.errors import client_failed
from equipoise.proxy.client import Client
from equipoise.proxy.downstream_http1 import DownstreamHttp1
from equipoise.proxy.services import LogPort, Services, call_now, format_second
from tests.support.dialogue import KeptLog
from tests.support.ledgers import ledgers, no_report
from tests.support.transport import Clock, ScriptedLoop, Transport


@pytest.fixture
def services() -> Services:
    return Services(ledgers(1)[1][0], lambda: 1_000, no_report)


def test_request_ids_are_unique_and_tell_their_worker(services: Services) -> None:
    services.id_prefix = b"abcd0123"
    ids = [services.new_request_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert {len(each) for each in ids} == {16}
    assert {each[:8] for each in ids} == {b"abcd0123"}


def test_request_ids_count_on_over_their_blocks(services: Services) -> None:
    numbers = [int(services.new_request_id(), 16) for _ in range(0x2002)]
    assert numbers == list(range(0x2002))


@pytest.mark.parametrize(
    ("ns", "stamp"),
    [
        (0, "2024-02-29T23:59:59.000Z"),
        (999_999_999, "2024-02-29T23:59:59.999Z"),
        (1_000_000_000, "2024-03-01T00:00:00.000Z"),
    ],
)
def test_a_stamp_is_the_wall_clocks_at_that_moment(services: Services, ns: int, stamp: str) -> None:
    services.set_wall_clock(5_000, 1_709_251_199_000_000_000 + 5_000)
    assert services.stamp(ns) == stamp


def test_a_stamp_follows_a_corrected_wall_clock(services: Services) -> None:
    services.set_wall_clock(0, 1_709_251_199_000_000_000)
    services.stamp(0)
    services.set_wall_clock(0, 1_709_251_200_500_000_000)
    assert services.stamp(0) == "2024-03-01T00:00:00.500Z"


def test_a_stamp_of_an_earlier_second_is_right_too(services: Services) -> None:
    services.set_wall_clock(0, 1_709_251_199_000_000_000)
    assert [services.stamp(n * 1_000_000_000)[17:19] for n in (0, 1, 0)] == ["59", "00", "59"]


def test_seconds_are_formatted_in_utc() -> None:
    assert format_second(0) == "1970-01-01T00:00:00."


def test_a_refusal_is_counted_and_logged(services: Services) -> None:
    log = KeptLog()
    services.log = LogPort(log, 0, ())
    downstream = DownstreamHttp1(services)
    downstream.client = Client(client_at("192.0.2.7"))
    services.refused(downstream, client_failed("head_timeout", 408, "Too slow."))
    assert services.ledger.worker(0)["own_4xx"] == 1
    (record,) = log.records
    assert (record.status, record.client, record.error) == (408, "192.0.2.7", "head_timeout (downstream): Too slow.")


def client_at(address: str) -> Transport:
    loop = ScriptedLoop(Clock())
    loop.close()
    return Transport(loop, None, (address, 50_000))


def test_a_refusal_without_a_log_is_counted(services: Services) -> None:
    services.refused(DownstreamHttp1(services), client_failed("head_timeout", 408, "Too slow."))
    assert services.ledger.worker(0)["own_4xx"] == 1


def test_before_there_is_a_loop_soon_is_now() -> None:
    called: list[int] = []
    call_now(lambda: called.append(1))
    assert called == [1]
