"""Locks between processes."""

import os
import signal
from collections.abc import Iterator

import pytest

from equipoise.state.cache_lock import Locks
from tests.support.stores import fork, kill, wait


@pytest.fixture
def fd() -> Iterator[int]:
    fd = os.memfd_create("locks")
    yield fd
    os.close(fd)


def holder(fd: int, shard: int) -> int:
    """A process that holds a lock until it is killed."""
    read, write = os.pipe()

    def hold() -> None:
        Locks(fd, 100).take(shard)
        os.write(write, b"x")
        signal.pause()

    pid = fork(hold)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    return pid


def test_a_lock_that_another_process_holds_is_refused_and_not_waited_for(fd: int) -> None:
    pid = holder(fd, 3)
    assert not Locks(fd, 100).take(3)
    kill(pid)


def test_a_lock_outlives_its_holder_by_nothing(fd: int) -> None:
    kill(holder(fd, 3))
    assert Locks(fd, 100).take(3)


def test_shards_and_sections_have_locks_of_their_own(fd: int) -> None:
    pid = holder(fd, 3)
    assert Locks(fd, 100).take(2)
    assert Locks(fd, 4_096).take(3)
    kill(pid)


def test_a_lock_given_back_is_there_for_others(fd: int) -> None:
    locks = Locks(fd, 0)
    assert locks.take(1)
    assert wait(fork(lambda: os._exit(int(Locks(fd, 0).take(1))))) == 0
    locks.give(1)
    assert wait(fork(lambda: os._exit(int(Locks(fd, 0).take(1))))) == 1
