"""Listening sockets, on the real system."""

import os
import socket
import sys

import pytest

from equipoise.runtime.listen import Bequest, Estate, Listener, ListenError, open_alone, open_listener


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_port_0_becomes_one_real_port_for_all_workers() -> None:
    listener = open_listener("127.0.0.1:0", 3)
    ports = {sock.getsockname()[1] for sock in listener.sockets}
    listener.close()
    assert ports == {port_of(listener.address)}
    assert ports != {0}


def test_each_worker_gets_connections_of_its_own() -> None:
    listener = open_listener("127.0.0.1:0", 2)
    port = port_of(listener.address)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
    accepted = [count_waiting(sock) for sock in listener.sockets]
    for client in clients:
        client.close()
    listener.close()
    assert sum(accepted) == 64
    assert min(accepted) > 0


def test_connections_wait_for_a_worker_that_is_not_there_yet() -> None:
    listener = open_listener("127.0.0.1:0", 1)
    with socket.create_connection(("127.0.0.1", port_of(listener.address))):
        assert count_waiting(listener.sockets[0]) == 1
    listener.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6_is_listened_on_in_brackets() -> None:
    listener = open_listener("[::1]:0", 1)
    with socket.create_connection(("::1", port_of(listener.address))):
        assert listener.address.startswith("[::1]:")
    listener.close()


def test_a_name_may_stand_for_the_address() -> None:
    listener = open_listener("localhost:0", 1)
    assert listener.sockets[0].getsockname()[0] == "127.0.0.1"
    listener.close()


def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"cannot listen on {address}: another process"):
            open_listener(address, 2)


def test_a_port_that_another_balancer_shares_is_taken_too() -> None:
    other = open_listener("127.0.0.1:0", 2)
    with pytest.raises(ListenError, match="another process"):
        open_listener(other.address, 2)
    other.close()


def test_an_address_of_another_machine_is_an_error_that_says_so() -> None:
    with pytest.raises(ListenError, match="no such address"):
        open_listener("192.0.2.1:8080", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen everywhere")
def test_a_port_that_is_not_permitted_is_an_error_that_says_so() -> None:
    with pytest.raises(ListenError, match="not permitted"):
        open_listener("127.0.0.1:1", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_after_refuse_new_what_waits_can_be_accepted_and_nothing_comes_after() -> None:
    listener = open_listener("127.0.0.1:0", 1)
    port = port_of(listener.address)
    early = socket.create_connection(("127.0.0.1", port))
    listener.refuse_new()
    with socket.socket() as late:
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(("127.0.0.1", port))
    connection, _ = listener.sockets[0].accept()
    listener.close()
    early.sendall(b"request")
    assert connection.recv(100) == b"request"
    connection.close()
    early.close()


def count_waiting(sock: socket.socket) -> int:
    """Accept and close all that waits."""
    count = 0
    while True:
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


# Alone


def test_one_socket_listens_on_a_port_that_nobody_can_share() -> None:
    listener = open_alone("127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", port_of(listener.address))):
        assert count_waiting(listener.sockets[0]) == 1
    with pytest.raises(ListenError, match="another process listens there already"):
        open_alone(listener.address)
    with pytest.raises(ListenError, match="another process listens there already"):
        open_listener(listener.address, 1)
    listener.close()


def test_an_ipv6_address_can_be_listened_on_alone() -> None:
    listener = open_alone("[::1]:0")
    assert listener.address.startswith("[::1]:")
    listener.close()


# What another process left


def handed(listener: Listener) -> Bequest:
    """As the next process gets it: copies of the descriptors."""
    return Bequest(listener.asked, listener.address, tuple(os.dup(fd) for fd in listener.bequest.fds))


@pytest.mark.parametrize(("workers", "sockets"), [(1, 2), (2, 2), (3, 3), (4, 4)])
def test_sockets_are_taken_over_and_filled_up_until_each_worker_has_as_many(workers: int, sockets: int) -> None:
    before = open_listener("127.0.0.1:0", 2)
    estate = Estate([handed(before)])
    after = open_listener("127.0.0.1:0", workers, estate)
    try:
        assert (after.address, len(after.sockets), after.inherited) == (before.address, sockets, 2)
        assert {sock.getsockname()[1] for sock in after.sockets} == {port_of(before.address)}
        assert not any(sock.get_inheritable() for sock in after.sockets)
        assert estate.claimed == {0}
    finally:
        before.close()
        after.close()


def test_what_waits_in_a_queue_passes_over() -> None:
    before = open_listener("127.0.0.1:0", 1)
    with socket.create_connection(("127.0.0.1", port_of(before.address))):
        after = open_listener("127.0.0.1:0", 1, Estate([handed(before)]))
        before.close()
        assert count_waiting(after.sockets[0]) == 1
        after.close()


def test_a_place_is_the_same_in_other_words_too() -> None:
    before = open_listener("127.0.0.1:0", 1)
    after = open_listener(f"localhost:{port_of(before.address)}", 1, Estate([handed(before)]))
    assert after.inherited == 1
    before.close()
    after.close()


def test_another_place_is_opened_and_what_nobody_claims_is_closed() -> None:
    before = open_listener("127.0.0.1:0", 1)
    estate = Estate([handed(before)])
    after = open_listener("127.0.0.2:0", 1, estate)
    assert (after.inherited, estate.claimed) == (0, set())
    before.close()
    with pytest.raises(ListenError, match="another process listens there"):
        open_listener(before.address, 1)
    estate.give_up_rest()
    open_listener(before.address, 1).close()
    after.close()


def test_two_listeners_on_any_port_are_told_apart() -> None:
    before = [open_listener("127.0.0.1:0", 1) for _ in range(2)]
    estate = Estate([handed(each) for each in before])
    after = [open_listener("127.0.0.1:0", 1, estate) for _ in range(3)]
    assert [each.address for each in after[:2]] == [each.address for each in before]
    assert after[2].inherited == 0
    for each in (*before, *after):
        each.close()


def test_the_admin_api_keeps_its_one_socket() -> None:
    before = open_alone("127.0.0.1:0")
    after = open_alone("127.0.0.1:0", Estate([handed(before)]))
    assert (after.address, len(after.sockets)) == (before.address, 1)
    before.close()
    after.close()


def test_a_descriptor_that_is_no_socket_is_an_error() -> None:
    with open(os.devnull) as file, pytest.raises(OSError, match="socket"):  # noqa: PTH123
        Estate([Bequest("127.0.0.1:1", "127.0.0.1:1", (file.fileno(),))])


def test_sockets_that_another_process_accepts_from_stay_open_for_new_connections() -> None:
    before = open_listener("127.0.0.1:0", 1)
    before.refuse_new(shared=1)
    socket.create_connection(("127.0.0.1", port_of(before.address)), 5).close()
    assert count_waiting(before.sockets[0]) == 1
    before.close()
