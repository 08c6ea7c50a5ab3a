import os
import socket
from collections import Counter

import pytest
from benchmarks.soak.watch import (
    CLIENTS,
    TARGETS,
    Memory,
    Samples,
    descriptors,
    kind_of,
    lasting,
    parse_connections,
    parse_memory,
    slope,
)

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 30 10 -1
   2: 0100007F:D432 0100007F:2329 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 30 10 -1
"""


def test_memory_is_read_in_bytes() -> None:
    assert parse_memory("Name:\tx\nVmRSS:\t   200 kB\nRssAnon:\t   150 kB\n") == Memory(150 * 1024, 200 * 1024)


def test_a_process_without_memory_has_none() -> None:
    assert parse_memory("Name:\tx\nState:\tZ (zombie)\n") == Memory(0, 0)


def test_connections_are_told_apart_by_the_ports_of_the_listeners() -> None:
    assert parse_connections(TABLE, {8080}) == {"11": "listeners", "12": CLIENTS, "13": TARGETS}


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        ("socket:[12]", CLIENTS),
        ("socket:[99]", "other sockets"),
        ("pipe:[1]", "pipe"),
        ("anon_inode:[eventpoll]", "anon_inode"),
        ("/var/log/access.log", "files"),
    ],
)
def test_a_descriptor_is_known_by_its_link(link: str, kind: str) -> None:
    assert kind_of(link, {"12": CLIENTS}) == kind


def test_descriptors_of_a_real_process_are_counted() -> None:
    before = descriptors(os.getpid(), set())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0]:
            now = descriptors(os.getpid(), {port})
    assert now["listeners"] == before["listeners"] + 1
    assert now[CLIENTS] == before[CLIENTS] + 1
    assert now[TARGETS] == before[TARGETS] + 1


def test_connections_to_targets_come_and_go() -> None:
    assert lasting(Counter({TARGETS: 5, "files": 2, "pipe": 0})) == {"files": 2}


def test_samples_of_a_process_are_taken_while_it_lives() -> None:
    samples = Samples()
    samples.take([os.getpid(), 2**30], 1.0)
    samples.take([os.getpid()], 2.0)
    assert list(samples.points) == [os.getpid()]
    [(when, own)] = samples.own_since(os.getpid(), 1.5)
    assert when == 2.0
    assert own > 0


def test_a_series_has_some_of_the_samples_from_the_beginning_on() -> None:
    samples = Samples()
    samples.points[7] = [(100.0 + second, Memory(second, 2 * second)) for second in range(5)]
    assert samples.series(7, 100.0, 2) == [(0.0, 0, 0), (2.0, 2, 4), (4.0, 4, 8)]
    assert samples.series(8, 100.0, 2) == []


def test_a_straight_line_has_its_own_slope() -> None:
    assert slope([(0.0, 5.0), (1.0, 8.0), (2.0, 11.0)]) == pytest.approx(3.0)


def test_noise_around_a_level_has_next_to_none() -> None:
    assert slope([(float(x), 100.0 + (-1) ** x) for x in range(101)]) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("points", [[], [(1.0, 5.0)], [(1.0, 5.0), (1.0, 6.0)]])
def test_fewer_than_two_moments_have_none(points: list[tuple[float, float]]) -> None:
    assert slope(points) == 0.0
