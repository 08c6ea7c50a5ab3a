"""Listening sockets, on the real system."""

import os
import socket
import sys

import pytest

from equipoise.runtime.listen import ListenError, open_alone, open_listener


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
