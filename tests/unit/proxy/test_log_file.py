"""Batches of lines to a file: in order, and honest about what was lost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.proxy.log_file import BatchWriter


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def no_trouble(what: str) -> None:
    pytest.fail(what)


def test_batches_are_written_in_order(tmp_path: Path) -> None:
    writer = BatchWriter(str(tmp_path / "log"), no_trouble)
    for number in range(1_000):
        writer.put(b"%d\n" % number, 1)
    writer.close()
    assert (tmp_path / "log").read_bytes() == b"".join(b"%d\n" % number for number in range(1_000))
    assert (writer.written, writer.dropped) == (1_000, 0)


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"old\n")
    writer = BatchWriter(str(tmp_path / "log"), no_trouble)
    writer.put(b"new\n", 1)
    writer.close()
    assert (tmp_path / "log").read_bytes() == b"old\nnew\n"


def test_a_new_file_is_not_for_others_to_read(tmp_path: Path) -> None:
    BatchWriter(str(tmp_path / "log"), no_trouble).close()
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_writer_that_is_closed_leaves_no_descriptor(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names are all that is needed)
    writer = BatchWriter(str(tmp_path / "log"), no_trouble)
    writer.reopen()
    writer.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_a_reopened_writer_keeps_the_old_file_when_the_new_one_cannot_be_opened(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = BatchWriter(str(folder / "log"), said.append)
    folder.rename(tmp_path / "moved")
    writer.reopen()
    wait_for(lambda: bool(said))
    writer.put(b"still here\n", 1)
    writer.close()
    assert (tmp_path / "moved" / "log").read_bytes() == b"still here\n"
    assert "cannot reopen" in said[0]


def test_a_full_disk_is_said_once_and_costs_lines_only_when_the_writer_closes() -> None:
    said: list[str] = []
    writer = BatchWriter("/dev/full", said.append)
    writer.put(b"one\n", 1)
    wait_for(lambda: bool(said))
    writer.put(b"two\nthree\n", 2)
    writer.close()
    assert (writer.written, writer.dropped) == (0, 3)
    assert len(said) == 1
    assert "No space left" in said[0]


def test_lines_wait_for_the_disk_and_then_none_is_missing(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    writer = BatchWriter(str(path), said.append)
    writer.put(b"one\n", 1)
    wait_for(lambda: bool(said))
    path.unlink()
    # The file that is full is left for a new one while the batch waits.
    replace_descriptor(writer, tmp_path / "other")
    writer.put(b"two\n", 1)
    wait_for(lambda: writer.written == 2)
    writer.close()
    assert (tmp_path / "other").read_bytes() == b"one\ntwo\n"
    assert "writing works again; 0 lines were dropped" in said[1]


def test_a_queue_that_is_full_drops_what_comes_and_counts_it() -> None:
    said: list[str] = []
    writer = BatchWriter("/dev/full", said.append, most=100)
    writer.put(b"first\n", 1)
    wait_for(lambda: bool(said))
    writer.put(b"x" * 40, 4)
    writer.put(b"y" * 70, 7)
    assert writer.dropped == 7
    writer.close()
    assert (writer.written, writer.dropped) == (0, 12)


# The limit on the size of a file makes a write fail after some of its bytes; it holds for a whole process, hence one of
# its own.
LIMITED = """
import resource, signal, sys, time
from equipoise.proxy.log_file import BatchWriter

def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = []
writer = BatchWriter(sys.argv[1], said.append, most=100)
limit(10)
"""
# What a batch that was given up in its middle leaves behind.
TORN = """
writer.put(b"first\\nsecond\\n", 2)
wait_for(lambda: said)
writer.put(b"x" * 59 + b"\\n", 1)
wait_for(lambda: writer.dropped == 2)
limit(resource.RLIM_INFINITY)
wait_for(lambda: writer.written == 1)
writer.put(b"third\\n", 1)
writer.close()
"""
# Three batches in one call, of which the file takes one and a half.
HALF = """
for batch in (b"first\\n", b"second\\n", b"third\\n"):
    writer.put(batch, 1, soon=False)
writer.hurry()
wait_for(lambda: said)
assert (writer.written, writer.dropped) == (1, 0)
limit(resource.RLIM_INFINITY)
wait_for(lambda: writer.written == 3)
writer.close()
"""


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", LIMITED + TORN, str(path)], check=True, timeout=50)
    assert path.read_bytes() == b"first\nseco\n" + b"x" * 59 + b"\nthird\n"


def test_what_one_call_left_over_is_written_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", LIMITED + HALF, str(path)], check=True, timeout=50)
    assert path.read_bytes() == b"first\nsecond\nthird\n"


def replace_descriptor(writer: BatchWriter, path: Path) -> None:
    """As when the disk has room again, which no test can arrange."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, writer.descriptor)
    os.close(descriptor)


def test_lines_of_two_writers_into_one_slow_pipe_stay_whole() -> None:
    """As two workers would: in processes of their own, since the lock between them belongs to a process."""
    code = (
        "import sys\n"
        "from equipoise.proxy.log_file import BatchWriter\n"
        "writer = BatchWriter('-', lambda what: None)\n"
        "for number in range(60):\n"
        "    writer.put((sys.argv[1] * 300 + '\\n').encode() * 40, 40)\n"
        "writer.close()\n"
    )
    reading, writing = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", code, letter], stdout=writing) for letter in "ab"]
    os.close(writing)
    pieces = []
    while piece := os.read(reading, 4_000):
        pieces.append(piece)
    os.close(reading)
    assert [writer.wait(20) for writer in writers] == [0, 0]
    lines = b"".join(pieces).splitlines()
    assert len(lines) == 2 * 60 * 40
    assert set(lines) == {b"a" * 300, b"b" * 300}
