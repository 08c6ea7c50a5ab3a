"""How many connections a client has, over all workers."""

import pytest

from equipoise.state.clients import HALF, NOBODY, ClientTable, network_of
from equipoise.state.ledger import Ledger
from tests.support.ledgers import ledgers


def tables(rows: int) -> tuple[Ledger, list[ClientTable]]:
    """The supervisor's view, and each worker's table."""
    supervisor, workers = ledgers(rows)
    supervisor.clients.set_key(1 << 62)
    return supervisor, [worker.clients for worker in workers]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_client_is_counted_over_all_workers(rows: int) -> None:
    _, workers = tables(rows)
    seat = workers[0].seat("192.0.2.1")
    counts = [int(worker.join(seat)) for worker in workers for _ in range(2)]
    assert counts == list(range(1, 2 * rows + 1))
    for worker in workers:
        worker.leave(seat)
    assert workers[0].join(seat) == rows + 1


def test_what_is_here_is_the_own_workers() -> None:
    _, (one, other) = tables(2)
    seat = one.seat("192.0.2.1")
    for table in (one, one, other):
        table.join(seat)
    assert [one.here(seat), other.here(seat), one.here(NOBODY)] == [2, 1, 0]


def test_all_workers_count_a_client_in_one_place() -> None:
    _, (one, other) = tables(2)
    assert one.seat("2001:db8::1") == other.seat("2001:db8::1")


def test_clients_do_not_count_for_each_other() -> None:
    """Whoever shares one cell with many has another one: 4,000 clients, and none of them looks like two."""
    _, (table,) = tables(1)
    counts = [table.join(table.seat(f"10.0.{n >> 8}.{n & 255}")) for n in range(4_000)]
    assert sum(count > 1 for count in counts) < 0.5 * len(counts)
    assert max(counts) <= 5
    few = tables(1)[1][0]
    assert {int(few.join(few.seat(f"10.0.0.{n}"))) for n in range(100)} == {1}


def test_a_count_is_never_too_small() -> None:
    _, (table,) = tables(1)
    for n in range(2 * HALF):
        table.join(table.seat(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    seat = table.seat("192.0.2.1")
    assert [table.join(seat) >= n for n in range(1, 20)] == [True] * 19


def test_where_a_client_sits_depends_on_the_key() -> None:
    supervisor, (table,) = tables(1)
    before = [int(table.seat(f"10.0.0.{n}")) for n in range(20)]
    supervisor.clients.set_key(7)
    assert all(int(table.seat(f"10.0.0.{n}")) != before[n] for n in range(20))


def test_a_client_without_an_address_is_not_counted() -> None:
    _, (table,) = tables(1)
    assert table.seat("") == NOBODY
    assert [table.join(NOBODY), table.join(NOBODY)] == [0, 0]
    table.leave(NOBODY)


def test_a_dead_workers_connections_are_gone_and_the_others_stay() -> None:
    supervisor, (dead, alive) = tables(2)
    seat = alive.seat("192.0.2.1")
    for table in (dead, dead, alive):
        table.join(seat)
    supervisor.clear_row(0)
    assert alive.join(seat) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_addresses_of_one_network_are_one_client(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:2::1"), ("::ffff:192.0.2.1", "::ffff:192.0.2.2")],
)
def test_addresses_of_two_networks_are_two_clients(one: str, other: str) -> None:
    assert network_of(one) != network_of(other)


def test_what_is_no_address_is_a_client_all_the_same() -> None:
    assert network_of("somewhere") == b"somewhere"
